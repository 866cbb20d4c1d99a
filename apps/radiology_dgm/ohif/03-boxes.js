// Draws boxes as RectangleROI annotations, which a reader can edit, and reads all rectangles of an image. A box has a
// source: "model", "own" (the reader's submitted label), or another reader's name, whose boxes are locked.
// Which boxes a reader changed is decided by the server; here the same rule only keeps rectangles from being drawn twice.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const TOOL = 'RectangleROI';
  const COLOURS = { model: 'rgb(255, 214, 64)', own: 'rgb(96, 230, 140)' };
  const COLOURS_OF_OTHERS = ['rgb(86, 190, 255)', 'rgb(255, 130, 200)', 'rgb(255, 165, 90)'];

  // annotationUID -> {box, source} that was drawn
  const drawn = new Map();

  /** Text at a box: "lung opacity 0.87", or the name of the reader who drew it. */
  function displayName(box, source) {
    const name = (box.label || 'lung_opacity').replaceAll('_', ' ');
    const words = box.score === null || box.score === undefined ? name : `${name} ${box.score.toFixed(2)}`;
    return !source || source === 'model' ? words : source === 'own' ? `${words}, yours` : `${words}, ${source}`;
  }

  const annotations = () => window.cornerstoneTools.annotation;

  function rectangles(shown) {
    return annotations()
      .state.getAllAnnotations()
      .filter(one => one.metadata.toolName === TOOL && one.metadata.referencedImageId === shown.imageId);
  }

  /** Whether two boxes are the same: all edges differ by less than the server's tolerance in pixels. */
  const isSame = (one, other, tolerance) => one.every((edge, i) => Math.abs(edge - other[i]) < tolerance);

  const boxOf = (shown, annotation) => dgm.geometry.boxAround(shown, annotation.data.handles.points);

  /** Whether a rectangle belongs to another reader: it is only looked at. */
  const isOthers = one => !['model', 'own', undefined].includes(drawn.get(one.annotationUID)?.source);

  /** Draw one box, with the same event as a rectangle drawn by hand, so that OHIF tracks it and adds it to reports. */
  function draw(shown, box, source, colour) {
    const locked = !(source in COLOURS);
    const added = {
      annotationUID: window.cornerstone.utilities.uuidv4(),
      highlighted: false,
      invalidated: true,
      isLocked: locked,
      isVisible: true,
      metadata: { ...shown.viewport.getViewReference(), toolName: TOOL, referencedImageId: shown.imageId },
      data: {
        label: displayName(box, source),
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
    annotations().state.addAnnotation(added, shown.viewport.element);
    const names = ['color', 'colorHighlighted', 'colorSelected', 'colorLocked', 'textBoxColor', 'textBoxColorLocked'];
    annotations().config.style.setAnnotationStyles(
      added.annotationUID,
      Object.fromEntries(names.map(name => [name, colour]))
    );
    if (locked) {
      annotations().locking.setAnnotationLocked(added.annotationUID, true);
    } else {
      window.cornerstone.triggerEvent(window.cornerstone.eventTarget, window.cornerstoneTools.Enums.Events.ANNOTATION_COMPLETED, {
        annotation: added,
      });
    }
    drawn.set(added.annotationUID, { box, source });
  }

  function render(shown) {
    window.cornerstoneTools.utilities.triggerAnnotationRenderForViewportIds([shown.viewportId]);
  }

  function remove(found) {
    found.forEach(one => {
      annotations().state.removeAnnotation(one.annotationUID);
      drawn.delete(one.annotationUID);
    });
  }

  /**
   * Replace the earlier boxes of the model and of the reader's label by these; boxes that the reader drew or moved stay.
   * source: "model" or "own".
   * tolerance: pixels by which an edge of an unchanged box may differ, as the server states it.
   */
  function show(shown, boxes, source, tolerance) {
    const unchanged = one => {
      const before = drawn.get(one.annotationUID);
      return !!before && before.source in COLOURS && isSame(before.box.box, boxOf(shown, one), tolerance);
    };
    remove(rectangles(shown).filter(unchanged));
    const there = rectangles(shown).filter(one => !isOthers(one)).map(one => boxOf(shown, one));
    boxes
      .filter(box => !there.some(one => isSame(one, box.box, tolerance))) // already drawn, for example from a report
      .forEach(box => draw(shown, box, source, COLOURS[source]));
    render(shown);
    window.setTimeout(() => render(shown), 500); // again, since the viewer draws them dashed until it tracks them
  }

  /** Draw the boxes of other readers, each reader in a colour; none of them can be changed. Earlier ones go. */
  function showOthers(shown, labels) {
    remove(rectangles(shown).filter(isOthers));
    labels.forEach((label, i) =>
      label.boxes.forEach(box => draw(shown, box, label.reader, COLOURS_OF_OTHERS[i % COLOURS_OF_OTHERS.length]))
    );
    render(shown);
  }

  /** Remove all rectangles of the image but other readers'. */
  function clear(shown) {
    remove(rectangles(shown).filter(one => !isOthers(one)));
    render(shown);
  }

  /** The rectangles of the displayed image in the form of the server; the model's boxes keep their score. */
  function read(shown) {
    return rectangles(shown)
      .filter(one => !isOthers(one))
      .map(one => {
        const before = drawn.get(one.annotationUID);
        return { box: boxOf(shown, one), label: 'lung_opacity', score: before ? before.box.score : null };
      });
  }

  /** Whether two lists of boxes hold the same boxes, in any order. */
  function equal(ones, others, tolerance) {
    const has = (list, box) => list.some(one => isSame(one.box, box.box, tolerance));
    return ones.length === others.length && ones.every(box => has(others, box)) && others.every(box => has(ones, box));
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

  dgm.boxes = { show, showOthers, clear, read, equal, label };
})();
