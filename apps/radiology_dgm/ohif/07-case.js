// The case that is open: its boxes and numbers, the reader's own label, and whether the reader changed something since.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const RADIOGRAPHS = ['CR', 'DX', 'RG'];
  const SECONDS_BETWEEN_SIGNS = 30;

  const state = empty();
  const unsaved = new Map(); // image -> state of other images of the study whose boxes are not submitted
  const reserved = new Set(); // the server's ids of the cases that this tab has opened and not given back
  let lastSign = 0; // when the server was last told that the reader works on the case
  const listeners = [];

  function empty() {
    return { shown: null, image: null, boxes: null, own: null, numbers: null, source: 'none', baseline: [], problem: '' };
  }

  const changed = () => listeners.forEach(listener => listener(state));

  /** Start with this list of rectangles: what differs from it later was changed by the reader. */
  function settle(source) {
    state.source = source;
    state.baseline = dgm.boxes.read(state.shown);
    const { boxes, own } = state;
    const count = (list, of) => `${list.length || 'no'} ${list.length === 1 ? 'box' : 'boxes'} ${of}`;
    const words = {
      model: () => count(boxes.boxes, `of ${boxes.model_version}`),
      own: () => (own.status === 'no_finding' ? 'no finding, submitted by you' : count(own.boxes, 'submitted by you')),
      none: () => (boxes?.boxes_withheld ? `${count({ length: boxes.boxes_withheld }, 'not shown')}: ${boxes.remark}` : ''),
    };
    dgm.status.note(words[source]());
    changed();
  }

  /** Whether the reader has changed rectangles that are not submitted, on this or another image of the study. */
  const isUnsaved = () => isChanged() || unsaved.size > 0;

  /** Whether the reader has changed rectangles of the open image. */
  function isChanged() {
    if (!state.shown || !state.boxes) {
      return false;
    }
    return !dgm.boxes.equal(dgm.boxes.read(state.shown), state.baseline, state.boxes.same_box_pixels);
  }

  /** The changed boxes by image, of this and other images of the study: [[image, boxes], ...]. */
  function changedBoxes() {
    const changed = [...unsaved.values(), ...(isChanged() ? [state] : [])];
    return changed.map(one => [one.image, dgm.boxes.read(one.shown)]);
  }

  /** Boxes that were changed before the reader had to log in again are changed boxes still. */
  function drawKept() {
    const kept = dgm.login.take(state.image);
    if (kept) {
      dgm.boxes.clear(state.shown);
      dgm.boxes.show(state.shown, kept, 'model', state.boxes.same_box_pixels);
      changed();
    }
  }

  /** Open the radiograph that a viewport shows: the reader's own boxes, else the model's, are drawn at once. */
  async function open(shown) {
    if (isChanged()) {
      unsaved.set(state.image, { ...state });
    }
    const before = unsaved.get(shown.image);
    unsaved.delete(shown.image);
    Object.assign(state, before || empty(), { shown, image: shown.image });
    dgm.layers.hide();
    dgm.adjudication.end();
    changed();
    if (before) {
      return; // its rectangles are still there
    }
    try {
      const boxes = await dgm.status.during(() => dgm.server.showBoxes(shown.image));
      reserved.add(boxes.image);
      if (state.image !== shown.image) {
        return;
      }
      state.boxes = boxes;
      state.own = boxes.own;
      if (state.own) {
        drawOwn();
      } else {
        drawModel();
      }
      drawKept();
      state.numbers = await dgm.status.during(() => dgm.server.numbers(shown.image));
    } catch (error) {
      state.problem = error.message;
      if (error.status === 401) {
        dgm.login.ended(true);
      }
    }
    changed();
  }

  /** Look whether the viewer shows another radiograph than the open one. */
  function watch(services) {
    let shown = null;
    try {
      shown = dgm.geometry.displayed(services);
    } catch {
      return; // nothing is displayed yet
    }
    if (dgm.compare.isRight(shown.viewportId)) {
      return; // the prior is looked at, the case stays the open one
    }
    const { Modality } = window.cornerstone.metaData.get('instance', shown.imageId);
    if (shown.image !== state.image && RADIOGRAPHS.includes(Modality)) {
      open(shown);
    } else if (shown.image === state.image && shown.viewport !== state.shown.viewport) {
      state.shown = shown; // the viewer made the viewport anew, as it does for another layout
      dgm.layers.hide(shown.viewportId);
      changed();
    }
  }

  /** From now on, the rectangles as they are count as not changed. */
  function rebase() {
    if (state.shown) {
      state.baseline = dgm.boxes.read(state.shown);
    }
  }

  /** The page is left: others may be offered its cases. */
  function release() {
    reserved.forEach(image => dgm.server.release(image).catch(() => {})); // else time runs out for them
    reserved.clear();
  }

  /** The browser shows the page again as it was left. */
  function reserveAgain() {
    if (state.boxes) {
      reserved.add(state.boxes.image);
      dgm.server.showBoxes(state.image).catch(() => {});
    }
  }

  /** The reader uses pointer, wheel or keys: the reservation of a case that is not submitted yet lasts longer. */
  async function prolong() {
    const { boxes, own } = state;
    if (!boxes?.reserved || own || Date.now() - lastSign < SECONDS_BETWEEN_SIGNS * 1000) {
      return;
    }
    lastSign = Date.now();
    const answer = await dgm.server.prolong(boxes.image).catch(() => null);
    if (answer && !answer.reserved) {
      boxes.reserved = false; // the reader was away for too long, and others have it
      changed();
    }
  }

  function close() {
    release();
    unsaved.clear();
    Object.assign(state, empty());
  }

  function drawOwn() {
    dgm.boxes.clear(state.shown);
    dgm.boxes.show(state.shown, state.own.boxes, 'own', state.boxes.same_box_pixels);
    settle('own');
  }

  function drawModel() {
    dgm.boxes.show(state.shown, state.boxes.boxes, 'model', state.boxes.same_box_pixels);
    settle(state.boxes.boxes_withheld ? 'none' : 'model');
  }

  /** The open case. Throws an Error for the reader if there is none. */
  function opened() {
    if (!state.shown || !state.boxes) {
      throw new Error(state.problem || 'open a radiograph first');
    }
    return state;
  }

  /** Show the model's boxes, those that are withheld, too; boxes that the reader drew or moved stay. */
  async function showModel(fresh = false) {
    const { shown } = opened();
    state.boxes = { ...(await dgm.status.during(() => dgm.server.showBoxes(shown.image, fresh, true))) };
    if (state.source === 'own') {
      dgm.boxes.clear(shown);
    }
    drawModel();
    return state.boxes;
  }

  /** Show the reader's submitted label again. */
  function showOwn() {
    if (!opened().own) {
      throw new Error('you have not labelled this radiograph');
    }
    drawOwn();
  }

  /** Store the rectangles, or a confirmed negative, as the reader's label. */
  async function submit(status) {
    const { shown } = opened();
    const boxes = status === 'boxes' ? dgm.boxes.read(shown) : [];
    if (status === 'boxes' && !boxes.length) {
      throw new Error('there is no rectangle on this image; press No finding if that is what you mean');
    }
    if (status === 'no_finding' && isChanged() && dgm.boxes.read(shown).length) {
      throw new Error('there are rectangles that you changed; delete them first, or submit them');
    }
    const kept = await dgm.server.submit(shown.image, status, boxes);
    state.own = { ...kept, time: new Date().toISOString() };
    drawOwn();
    dgm.status.refresh();
    return kept;
  }

  /** Submit the model's boxes as they are. */
  async function acceptAll() {
    const { shown, boxes } = opened();
    if (!boxes.boxes.length) {
      throw new Error('the model shows no box; press No finding if there is none');
    }
    dgm.boxes.clear(shown);
    dgm.boxes.show(shown, boxes.boxes, 'model', boxes.same_box_pixels);
    return submit('boxes');
  }

  /** Whether the case may be left: asks where the reader changed boxes and did not submit them. */
  async function mayLeave() {
    if (!isUnsaved()) {
      return true;
    }
    const some = isChanged() && dgm.boxes.read(state.shown).length > 0;
    const where = isChanged() ? 'this radiograph' : 'another radiograph of the study';
    const answer = await dgm.dialog.ask('Boxes are not submitted', `You changed boxes on ${where}.`, [
      ...(some ? [['submit', 'Submit and go on']] : []),
      ['discard', 'Go on without them'],
      ['stay', 'Stay here'],
    ]);
    if (answer === 'submit') {
      await submit('boxes');
    }
    if (answer === 'discard') {
      state.baseline = dgm.boxes.read(state.shown);
      unsaved.clear();
    }
    return answer === 'discard' || (answer === 'submit' && mayLeave()); // another image of the study may be left
  }

  dgm.case = {
    state, open, watch, close, opened, isUnsaved, changedBoxes, rebase, release, reserveAgain, prolong, showModel, showOwn, submit,
    acceptAll, mayLeave,
    listen: listener => listeners.push(listener),
  };
})();
