// Adjudication: a reviewer sees the boxes of both readers, each in a colour, and decides.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const { make } = dgm;

  let readings = null; // labels of the readers of the open case, while it is adjudicated
  let image = null;

  const active = () => readings !== null && image === dgm.case.state.image;

  /** Show the readings of the open case, or end it. Without a dispute there, the list of disputed cases. */
  async function toggle() {
    if (active()) {
      end();
      return;
    }
    const { shown } = dgm.case.opened();
    readings = await dgm.status.during(() => dgm.server.readings(shown.image));
    image = shown.image;
    dgm.boxes.clear(shown);
    dgm.boxes.showOthers(shown, readings);
    dgm.case.rebase();
  }

  function end() {
    if (active()) {
      dgm.boxes.showOthers(dgm.case.state.shown, []);
    }
    readings = null;
    image = null;
  }

  /** Take the boxes of one reader as the decision so far. */
  function take(label) {
    const { shown, boxes } = dgm.case.opened();
    dgm.boxes.clear(shown);
    dgm.boxes.show(shown, label.boxes, 'own', boxes.same_box_pixels);
  }

  /** Store the decision: the rectangles, or no finding where there is none. */
  async function decide() {
    const { shown } = dgm.case.opened();
    const boxes = dgm.boxes.read(shown);
    const kept = await dgm.server.adjudicate(shown.image, boxes.length ? 'boxes' : 'no_finding', boxes);
    end();
    dgm.case.rebase();
    return kept;
  }

  /** The section of the panel. */
  function section() {
    if (!active()) {
      return null;
    }
    const words = label => `${label.reader}: ${label.status === 'no_finding' ? 'no finding' : `${label.boxes.length} boxes`}`;
    return make('section', { 'data-cy': 'monaiDgm-adjudication' },
      make('h3', {}, 'Adjudication'),
      readings.map((label, i) => make('p', {}, words(label), ' ',
        make('button', { 'data-take': i, disabled: !label.boxes.length, onclick: () => take(label) }, 'Take these'))),
      make('div', { class: 'buttons' }, dgm.panel.button('Decide', { class: 'main' })),
      make('p', {}, 'Draw, take or delete boxes, then decide. Without a box, the decision is no finding.'));
  }

  dgm.panel.add(section);
  dgm.adjudication = { toggle, decide, end };
})();
