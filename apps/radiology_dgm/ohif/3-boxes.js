// The model's boxes as RectangleROI annotations that a reader can edit at once, and all rectangles of an image as boxes.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const TOOL = 'RectangleROI';
  const UNTOUCHED = 0.01; // pixels
  const SAME = 1;

  // by annotation: the model's box as it was drawn
  const drawn = new Map();

  /** "lung opacity 0.87" */
  function words(box) {
    const name = (box.label || 'lung_opacity').replaceAll('_', ' ');
    return box.score === null || box.score === undefined ? name : `${name} ${box.score.toFixed(2)}`;
  }

  function rectangles(shown) {
    return window.cornerstoneTools.annotation.state
      .getAllAnnotations()
      .filter(one => one.metadata.toolName === TOOL && one.metadata.referencedImageId === shown.imageId);
  }

  function isUntouched(shown, annotation) {
    const model = drawn.get(annotation.annotationUID);
    const now = dgm.geometry.boxAround(shown, annotation.data.handles.points);
    return !!model && model.box.every((edge, i) => Math.abs(edge - now[i]) < UNTOUCHED);
  }

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
        label: words(box),
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

  /** Show these boxes in the place of earlier ones of the model; what a reader drew or moved stays. */
  function show(shown, boxes) {
    rectangles(shown)
      .filter(one => isUntouched(shown, one))
      .forEach(one => {
        window.cornerstoneTools.annotation.state.removeAnnotation(one.annotationUID);
        drawn.delete(one.annotationUID);
      });
    const there = rectangles(shown).map(one => dgm.geometry.boxAround(shown, one.data.handles.points));
    const same = (one, other) => one.every((edge, i) => Math.abs(edge - other[i]) < SAME);
    boxes
      .filter(box => !there.some(one => same(one, box.box))) // as those of a report that was loaded
      .forEach(box => draw(shown, box));
    const render = () => window.cornerstoneTools.utilities.triggerAnnotationRenderForViewportIds([shown.viewportId]);
    render();
    window.setTimeout(render, 500); // the viewer draws them dashed until it tracks them
  }

  /** All rectangles of the displayed image as the server takes them: a moved box keeps the model's score. */
  function read(shown) {
    return rectangles(shown).map(one => {
      const model = drawn.get(one.annotationUID);
      const untouched = isUntouched(shown, one);
      return {
        box: untouched ? model.box : dgm.geometry.boxAround(shown, one.data.handles.points),
        label: 'lung_opacity',
        score: model ? model.score : null,
      };
    });
  }

  /** Rectangles say what they are and no more; area and mean of a box are no findings. */
  function label(services) {
    const { toolGroupService } = services;
    const plain = () =>
      toolGroupService
        .getToolGroupIds()
        .map(id => toolGroupService.getToolGroup(id))
        .filter(group => group && group.hasTool(TOOL))
        .forEach(group => group.setToolConfiguration(TOOL, { getTextLines: data => [data.label || words({})] }));
    return toolGroupService.subscribe(toolGroupService.EVENTS.VIEWPORT_ADDED, plain);
  }

  dgm.boxes = { show, read, label };
})();
