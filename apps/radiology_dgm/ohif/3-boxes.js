// The model's boxes as RectangleROI annotations that a reader can edit at once, and all rectangles of an image as boxes.
// Which boxes a reader changed is decided by the server; here the same rule only keeps rectangles from being drawn twice.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const TOOL = 'RectangleROI';

  // annotationUID -> the model's box that was drawn
  const drawn = new Map();

  /** "lung opacity 0.87" */
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

  /** Draw one box. The two events are those of a rectangle drawn by hand, so that it is tracked and reported. */
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
   * Show these boxes in the place of earlier ones of the model; what a reader drew or moved stays.
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
      .filter(box => !there.some(one => isSame(one, box.box, tolerance))) // as those of a report that was loaded
      .forEach(box => draw(shown, box));
    const render = () => window.cornerstoneTools.utilities.triggerAnnotationRenderForViewportIds([shown.viewportId]);
    render();
    window.setTimeout(render, 500); // the viewer draws them dashed until it tracks them
  }

  /** All rectangles of the displayed image as the server takes them: one that was the model's has the model's score. */
  function read(shown) {
    return rectangles(shown).map(one => {
      const model = drawn.get(one.annotationUID);
      return { box: boxOf(shown, one), label: 'lung_opacity', score: model ? model.score : null };
    });
  }

  /** A rectangle shows its label only; area and mean of a box are no findings. */
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
