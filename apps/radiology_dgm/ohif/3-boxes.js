// Draws the model's boxes as RectangleROI annotations, which a reader can edit, and reads all rectangles of an image.
// Which boxes a reader changed is decided by the server; here the same rule only keeps rectangles from being drawn twice.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const TOOL = 'RectangleROI';

  // annotationUID -> the model's box that was drawn
  const drawn = new Map();

  /** Text at a box: "lung opacity 0.87". */
  function displayName(box) {
    const name = (box.label || 'lung_opacity').replaceAll('_', ' ');
    return box.score === null || box.score === undefined ? name : `${name} ${box.score.toFixed(2)}`;
  }

  function rectangles(shown) {
    return window.cornerstoneTools.annotation.state
      .getAllAnnotations()
      .filter(one => one.metadata.toolName === TOOL && one.metadata.referencedImageId === shown.imageId);
  }

  /** Whether two boxes are the same: all edges differ by less than the server's tolerance in pixels. */
  const isSame = (one, other, tolerance) => one.every((edge, i) => Math.abs(edge - other[i]) < tolerance);

  const boxOf = (shown, annotation) => dgm.geometry.boxAround(shown, annotation.data.handles.points);

  /** Draw one box, with the same event as a rectangle drawn by hand, so that OHIF tracks it and adds it to reports. */
  function draw(shown, box) {
    const { annotation, utilities, Enums } = window.cornerstoneTools;
    const added = {
      annotationUID: window.cornerstone.utilities.uuidv4(),
      highlighted: false,
      invalidated: true,
      isLocked: false,
      isVisible: true,
      metadata: { ...shown.viewport.getViewReference(), toolName: TOOL, referencedImageId: shown.imageId },
      data: {
        label: displayName(box),
        handles: {
          points: dgm.geometry.corners(shown, box.box),
          activeHandleIndex: null,
          textBox: {
            hasMoved: false,
            worldPosition: [0, 0, 0],
            worldBoundingBox: { topLeft: [0, 0, 0], topRight: [0, 0, 0], bottomLeft: [0, 0, 0], bottomRight: [0, 0, 0] },
          },
        },
        cachedStats: {},
      },
    };
    annotation.state.addAnnotation(added, shown.viewport.element);
    window.cornerstone.triggerEvent(window.cornerstone.eventTarget, Enums.Events.ANNOTATION_COMPLETED, {
      annotation: added,
    });
    drawn.set(added.annotationUID, box);
    utilities.triggerAnnotationRenderForViewportIds([shown.viewportId]);
  }

  /**
   * Replace the model's earlier boxes by these; boxes that a reader drew or moved stay.
   * tolerance: pixels by which an edge of an unchanged box may differ, as the server states it.
   */
  function show(shown, boxes, tolerance) {
    const unchanged = one => {
      const model = drawn.get(one.annotationUID);
      return !!model && isSame(model.box, boxOf(shown, one), tolerance);
    };
    rectangles(shown)
      .filter(unchanged)
      .forEach(one => {
        window.cornerstoneTools.annotation.state.removeAnnotation(one.annotationUID);
        drawn.delete(one.annotationUID);
      });
    const there = rectangles(shown).map(one => boxOf(shown, one));
    boxes
      .filter(box => !there.some(one => isSame(one, box.box, tolerance))) // already drawn, for example from a report
      .forEach(box => draw(shown, box));
    const render = () => window.cornerstoneTools.utilities.triggerAnnotationRenderForViewportIds([shown.viewportId]);
    render();
    window.setTimeout(render, 500); // again, since the viewer draws them dashed until it tracks them
  }

  /** All rectangles of the displayed image, in the form of the server; the model's boxes keep their score. */
  function read(shown) {
    return rectangles(shown).map(one => {
      const model = drawn.get(one.annotationUID);
      return { box: boxOf(shown, one), label: 'lung_opacity', score: model ? model.score : null };
    });
  }

  /** Show only the label at a rectangle; area and mean of a box are not findings. */
  function label(services) {
    const { toolGroupService } = services;
    const plain = () =>
      toolGroupService
        .getToolGroupIds()
        .map(id => toolGroupService.getToolGroup(id))
        .filter(group => group && group.hasTool(TOOL))
        .forEach(group => group.setToolConfiguration(TOOL, { getTextLines: data => [data.label || displayName({})] }));
    return toolGroupService.subscribe(toolGroupService.EVENTS.VIEWPORT_ADDED, plain);
  }

  dgm.boxes = { show, read, label };
})();
