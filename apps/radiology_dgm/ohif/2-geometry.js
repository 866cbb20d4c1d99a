// The displayed radiograph, and its pixels in the viewer's world. Pixels have continuous edges: (0, 0) is the outer corner
// of the first one. Cornerstone's own worldToImageCoords swaps the two spacings, which is wrong where pixels are not
// square; the image data that is drawn has them right, so it is asked instead.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});

  /** The radiograph in the active viewport, or an Error that a reader understands. */
  function displayed(services) {
    const viewportId = services.viewportGridService.getActiveViewportId();
    const viewport = viewportId && services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const imageId = viewport && viewport.getCurrentImageId && viewport.getCurrentImageId();
    const instance = imageId && window.cornerstone.metaData.get('instance', imageId);
    const drawn = instance && viewport.getImageData();
    if (!drawn) {
      throw new Error('open a radiograph first');
    }
    return { viewportId, viewport, imageId, image: instance.SOPInstanceUID, imageData: drawn.imageData };
  }

  /** Columns and rows [x, y] of a world point. */
  function toPixel(shown, point) {
    const index = shown.imageData.worldToIndex(point);
    return [index[0] + 0.5, index[1] + 0.5];
  }

  /** The world point of columns and rows. */
  function toWorld(shown, x, y) {
    return Array.from(shown.imageData.indexToWorld([x - 0.5, y - 0.5, 0]));
  }

  /** [xmin, ymin, xmax, ymax] around world points. */
  function boxAround(shown, points) {
    const pixels = points.map(point => toPixel(shown, point));
    const xs = pixels.map(pixel => pixel[0]);
    const ys = pixels.map(pixel => pixel[1]);
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  /** The corners of a box as RectangleROI holds them: upper left, upper right, lower left, lower right. */
  function corners(shown, [xmin, ymin, xmax, ymax]) {
    return [[xmin, ymin], [xmax, ymin], [xmin, ymax], [xmax, ymax]].map(([x, y]) => toWorld(shown, x, y));
  }

  dgm.geometry = { displayed, toPixel, toWorld, boxAround, corners };
})();
