// Shows the normal image or the residue over the radiograph and under the boxes; it follows zoom, pan and flips.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const CLASS = 'monai-dgm-picture';
  let stop = null; // function that removes the shown picture

  function hide() {
    if (stop) {
      stop();
      stop = null;
    }
  }

  /** Name of the shown picture, or null. */
  const current = () => (stop ? stop.picture : null);

  /** An image element with a picture, which is asked for with the login's token; an address alone has none. */
  async function load(name, image) {
    const picture = new Image();
    picture.src = URL.createObjectURL(await dgm.server.picture(name, image));
    try {
      await picture.decode();
    } finally {
      URL.revokeObjectURL(picture.src);
    }
    return picture;
  }

  /** Move the corners of the picture to those of the radiograph. */
  function align(picture, shown, cols, rows) {
    const [origin, right, down] = [[0, 0], [cols, 0], [0, rows]].map(([x, y]) =>
      shown.viewport.worldToCanvas(dgm.geometry.toWorld(shown, x, y))
    );
    const [width, height] = [picture.naturalWidth, picture.naturalHeight];
    const along = [right, down].map((corner, i) => corner.map((value, j) => (value - origin[j]) / [width, height][i]));
    picture.style.transform = `matrix(${[...along[0], ...along[1], ...origin].join(',')})`;
  }

  /** Show a picture of the displayed radiograph. */
  async function show(shown, name) {
    hide();
    const picture = await load(name, shown.image);
    const { element } = shown.viewport;
    const [cols, rows] = shown.imageData.getDimensions();
    const events = window.cornerstone.Enums.Events;
    picture.className = CLASS;
    picture.dataset.picture = name;
    picture.alt = `${name} image, synthetic - not for diagnosis`;
    const follow = () => align(picture, shown, cols, rows);
    const leave = () => shown.viewport.getCurrentImageId() !== shown.imageId && hide();
    element.querySelector('canvas').after(picture);
    element.addEventListener(events.CAMERA_MODIFIED, follow);
    element.addEventListener(events.IMAGE_RENDERED, follow);
    element.addEventListener(events.STACK_NEW_IMAGE, leave);
    stop = () => {
      picture.remove();
      element.removeEventListener(events.CAMERA_MODIFIED, follow);
      element.removeEventListener(events.IMAGE_RENDERED, follow);
      element.removeEventListener(events.STACK_NEW_IMAGE, leave);
    };
    stop.picture = name;
    follow();
  }

  dgm.pictures = { show, hide, current };
})();
