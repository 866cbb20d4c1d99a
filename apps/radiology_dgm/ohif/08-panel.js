// The panel at the right: what is known of the case, and the actions with their keys. OHIF's panels are React components;
// ours is one empty element, which is then filled here.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const { make } = dgm;
  const ZONES = { right: 'Right lung', left: 'Left lung' };

  let host = null; // OHIF's element for the panel, while it is shown
  let run = () => {}; // runs an action by its name

  const percent = share => (share === null || share === undefined ? 'not known' : `${(100 * share).toFixed(1)} %`);

  /** "today", "yesterday" or the date of a time, with the hour. */
  function when(time) {
    const moment = new Date(time);
    const day = date => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
    const days = Math.round((day(new Date()) - day(moment)) / 86400000);
    const hour = moment.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    return days === 0 ? `today, ${hour}` : days === 1 ? `yesterday, ${hour}` : moment.toLocaleDateString();
  }

  /** A DICOM date as 2026-03-01; "" where there is none. */
  const day = date => (date ? `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}` : '');

  function button(name, more = {}) {
    const { label, tip, key } = dgm.keyboard.action(name);
    const values = { 'data-cy': `monaiDgm-${name}`, title: tip, onclick: () => run(name), ...more };
    return make('button', values, label, make('kbd', {}, key));
  }

  /** The reader's own state: "Labelled by you yesterday, 14:05: 2 boxes". */
  function ownWords({ own }) {
    const what = own.status === 'no_finding' ? 'no finding' : `${own.boxes.length} ${own.boxes.length === 1 ? 'box' : 'boxes'}`;
    return `Labelled by you ${when(own.time)}: ${what}`;
  }

  function finding(state) {
    const { boxes, numbers } = state;
    const parts = [make('h3', {}, 'Case')];
    parts.push(make('p', { class: state.own ? 'own' : '', 'data-cy': 'monaiDgm-own' },
      state.own ? ownWords(state) : state.problem || (boxes ? 'Not labelled by you' : 'Open a radiograph')));
    if (dgm.case.isUnsaved()) {
      parts.push(make('p', { class: 'unsaved', 'data-cy': 'monaiDgm-unsaved' }, 'Changed, not submitted'));
    }
    if (boxes?.remark) {
      parts.push(make('p', { class: 'remark', 'data-cy': 'monaiDgm-remark' }, boxes.remark));
      if (boxes.boxes_withheld) {
        parts.push(make('p', {}, `${boxes.boxes_withheld} of the model's boxes are not shown.`));
      }
    }
    if (numbers) {
      const { abnormality_probability: probability, burden } = numbers;
      const where = burden.region === 'lung_mask' ? 'both lungs' : 'whole image, no lungs known';
      parts.push(
        make('dl', { 'data-cy': 'monaiDgm-numbers' },
          make('dt', {}, 'Abnormality probability'), make('dd', {}, probability === null ? 'not known' : probability.toFixed(2))),
        make('div', { class: 'bar' }, make('i', { style: `width: ${100 * (probability || 0)}%` })),
        make('dl', { title: 'Share of the area that is salient in the residue' },
          make('dt', {}, `Burden, ${where}`), make('dd', {}, percent(burden.total.salient_share)),
          ...Object.entries(burden.lungs).flatMap(([name, part]) =>
            [make('dt', {}, ZONES[name]), make('dd', {}, percent(part.salient_share))])));
    }
    return make('section', {}, parts);
  }

  function reading(state) {
    const source = { model: `Shown: boxes of ${state.boxes?.model_version}`, own: 'Shown: your boxes', none: 'No boxes are shown' };
    const older = state.source === 'model' && dgm.status.served() && state.boxes.model_version !== dgm.status.served();
    return make('section', {},
      make('h3', {}, 'Boxes'),
      make('p', { 'data-cy': 'monaiDgm-source' }, state.boxes ? source[state.source] : ''),
      older ? make('p', { class: 'unsaved' }, 'An earlier model. Detect again runs the present one.') : null,
      make('div', { class: 'buttons' },
        button('ShowBoxes'), button('ShowOwn', { disabled: !state.own }),
        button('DetectAgain'), button('AcceptAll', { disabled: !state.boxes?.boxes.length }),
        button('NoFinding'), button('SubmitBoxes'),
        button('SubmitAndNext', { class: 'main' }), button('SkipCase'),
        button('NextCase'), button('ShowWorklist'),
        button('Adjudicate', { hidden: !(state.boxes?.readers.length > 1 || state.boxes?.blinded) }), button('ShowTraining'), button('ShowHelp')),
      state.boxes && !state.boxes.reserved && !state.own
        ? make('p', { class: 'unsaved' }, 'Enough readers have read this case or have it open.') : null,
      state.boxes?.blinded ? make('p', { 'data-cy': 'monaiDgm-blinded' }, 'Others have read it; you see their labels after yours.') : null);
  }

  function slider(name, label) {
    const value = dgm.layers.settings[name];
    const shown = make('span', {}, value.toFixed(2));
    const change = event => {
      dgm.layers.set({ [name]: Number(event.target.value) });
      shown.textContent = dgm.layers.settings[name].toFixed(2);
    };
    const values = { type: 'range', min: 0, max: 1, step: 0.01, value, 'data-cy': `monaiDgm-${name}`, oninput: change };
    return make('label', {}, label, make('input', values), shown);
  }

  function overlay(state) {
    const layers = state.numbers ? Object.keys(state.numbers.layers) : [];
    if (!layers.length) {
      return null;
    }
    const { name } = dgm.layers.settings;
    const on = dgm.layers.current(state.shown.viewportId);
    const { low, high, unit } = state.numbers.layers[name] || state.numbers.layers.residue;
    return make('section', { 'data-cy': 'monaiDgm-overlay' },
      make('h3', {}, 'Map over the radiograph'),
      make('div', { class: 'buttons' },
        button('ToggleMap', { class: on && on !== 'normal' ? 'on' : '' }), button('NextMap')),
      make('p', {}, `${name}: ${on === name ? 'shown' : 'hidden'}`),
      slider('opacity', 'Opacity'), slider('threshold', 'Threshold'),
      make('div', { class: 'legend', style: `background: ${dgm.layers.gradient(name)}` }),
      make('div', { class: 'scale' }, make('span', {}, low.toFixed(2)), make('span', {}, unit), make('span', {}, high.toFixed(2))));
  }

  /** The change of burden since the prior, in percentage points. */
  function change(burden, before) {
    const points = 100 * (burden.total.salient_share - before.total.salient_share);
    return `${points > 0 ? '+' : ''}${points.toFixed(1)} points`;
  }

  function compare(state) {
    if (!state.numbers) {
      return null;
    }
    const { kind, prior } = dgm.compare.state;
    const date = day(prior?.date) || 'unknown date';
    return make('section', { 'data-cy': 'monaiDgm-compare' },
      make('h3', {}, 'Side by side'),
      make('div', { class: 'buttons' },
        button('BesideNormal', { class: kind === 'normal' ? 'on' : '' }), button('BesidePrior', { class: kind === 'prior' ? 'on' : '' })),
      prior ? make('dl', { 'data-cy': 'monaiDgm-change' },
        make('dt', {}, `Burden on ${date}`), make('dd', {}, percent(prior.numbers.burden.total.salient_share)),
        make('dt', {}, 'Change since'), make('dd', {}, change(state.numbers.burden, prior.numbers.burden))) : null,
      prior && !prior.sameScale ? make('p', {}, 'Other intensity scale: the windows are not joined.') : null);
  }

  const sections = [finding, reading, overlay, compare];

  /** Draw the panel again; the focus stays where it was. */
  function render() {
    if (!host) {
      return;
    }
    const focused = document.activeElement?.getAttribute('data-cy');
    const top = host.scrollTop;
    host.replaceChildren(...sections.map(section => section(dgm.case.state)).filter(Boolean));
    host.scrollTop = top;
    if (focused && host.querySelector(`[data-cy="${focused}"]`)) {
      host.querySelector(`[data-cy="${focused}"]`).focus();
    }
  }

  function mount(element) {
    host = element;
    render();
  }

  /** The element in the form of React 18, which OHIF 3.13 contains: React calls `mount` with it. */
  const component = () => ({
    $$typeof: Symbol.for('react.element'),
    type: 'div',
    key: null,
    ref: mount,
    props: { className: 'monai-dgm-panel', 'data-cy': 'monaiDgm-panel' },
    _owner: null,
    _store: {},
  });

  dgm.panel = {
    render, component, button, percent, when, day,
    add: section => sections.splice(1, 0, section), // below the case itself
    connect: runner => {
      run = runner;
    },
  };
})();
