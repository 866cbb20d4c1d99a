// The displayed radiograph, and conversion between its pixels and the viewer's world coordinates. Pixel coordinates have
// continuous edges: (0, 0) is the outer corner of the first pixel. Cornerstone's worldToImageCoords swaps the two
// spacings, which is wrong for pixels that are not square; so the conversion of the drawn image data is used.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});

  /** The radiograph in the active viewport. Throws an Error for the reader if there is none. */
  const displayed = services => inViewport(services, services.viewportGridService.getActiveViewportId());

  /** The radiograph in a viewport; errors as displayed(). */
  function inViewport(services, viewportId) {
    const viewport = viewportId && services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
    const imageId = viewport && viewport.getCurrentImageId && viewport.getCurrentImageId();
    const instance = imageId && window.cornerstone.metaData.get('instance', imageId);
    const drawn = instance && viewport.getImageData();
    if (!drawn) {
      throw new Error('open a radiograph first');
    }
    return { viewportId, viewport, imageId, image: instance.SOPInstanceUID, imageData: drawn.imageData };
  }

  /** World point -> pixel coordinates [x, y]. */
  function toPixel(shown, point) {
    const index = shown.imageData.worldToIndex(point);
    return [index[0] + 0.5, index[1] + 0.5];
  }

  /** Pixel coordinates -> world point. */
  function toWorld(shown, x, y) {
    return Array.from(shown.imageData.indexToWorld([x - 0.5, y - 0.5, 0]));
  }

  /** The smallest box [xmin, ymin, xmax, ymax] in pixels that contains the world points. */
  function boxAround(shown, points) {
    const pixels = points.map(point => toPixel(shown, point));
    const xs = pixels.map(pixel => pixel[0]);
    const ys = pixels.map(pixel => pixel[1]);
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  /** World points of a box's corners in the order of RectangleROI: upper left, upper right, lower left, lower right. */
  function corners(shown, [xmin, ymin, xmax, ymax]) {
    return [[xmin, ymin], [xmax, ymin], [xmin, ymax], [xmax, ymax]].map(([x, y]) => toWorld(shown, x, y));
  }

  dgm.geometry = { displayed, inViewport, toPixel, toWorld, boxAround, corners };
})();
