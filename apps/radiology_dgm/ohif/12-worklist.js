// The worklist: the models' score, remark and readers of each case, sorted and filtered; "next" then follows its order.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const { make } = dgm;
  const KEPT = 'monaiDgm.worklist';
  const FIRST = { sort: 'score', descending: true, show: 'unread', text: '' };
  const COLUMNS = [['image', 'Case'], ['score', 'AI score'], ['uncertainty', 'Uncertainty'], ['remark', 'Remark'],
    ['readers', 'Labelled by']];
  const SHOWN = [['unread', 'waiting for you'], ['all', 'all'], ['mine', 'labelled by you'], ['refused', 'with a remark'],
    ['disputed', 'waiting for a reviewer']];

  /** The order that "next" follows in this tab; null for active learning. */
  const order = () => JSON.parse(sessionStorage.getItem(KEPT) || 'null');

  function keep(value) {
    if (value) {
      sessionStorage.setItem(KEPT, JSON.stringify(value));
    } else {
      sessionStorage.removeItem(KEPT);
    }
  }

  const number = value => (value === null || value === undefined ? '' : value.toFixed(2));

  function ownWords(own) {
    return own ? `you, ${dgm.panel.when(own.time)}: ${own.status === 'no_finding' ? 'no finding' : `${own.boxes} boxes`}` : '';
  }

  function labelledBy(row) {
    const others = row.readers.length ? row.readers.filter(name => name !== dgm.server.reader()) : [];
    const hidden = row.num_readers - row.readers.length;
    return [ownWords(row.own), others.join(', '), hidden > 0 ? `${hidden} not shown to you yet` : '',
      row.open ? 'open at another reader' : '', row.disputed ? 'readers differ' : ''].filter(Boolean).join('; ');
  }

  /** "patient, date" of a row's study where the archive tells them, else the end of its id. */
  function caseWords(row, studies) {
    const known = studies.get(row.study);
    const end = row.image.length > 18 ? `\u2026${row.image.slice(-14)}` : row.image;
    return known?.patient ? [known.patient, dgm.panel.day(known.date)].filter(Boolean).join(', ') : end;
  }

  function table(rows, studies, wanted, change, finish) {
    const head = COLUMNS.map(([name, label]) => {
      const arrow = wanted.sort === name ? (wanted.descending ? ' \u2193' : ' \u2191') : '';
      const flip = () => change({ sort: name, descending: wanted.sort === name ? !wanted.descending : true });
      return make('th', {}, make('button', { 'data-sort': name, onclick: flip }, `${label}${arrow}`));
    });
    const body = rows.map(row =>
      make('tr', { 'data-study': row.study || '', 'data-image': row.image, tabindex: 0, onclick: () => finish(row),
        onkeydown: event => event.key === 'Enter' && finish(row) },
      make('td', { title: row.image }, caseWords(row, studies)),
      make('td', {}, number(row.score)), make('td', {}, number(row.uncertainty)),
      make('td', { class: 'remark' }, row.remark), make('td', {}, labelledBy(row))));
    return make('table', {}, make('thead', {}, make('tr', {}, head)), make('tbody', {}, body));
  }

  /** Show the worklist; a case that is chosen is opened. */
  async function show() {
    const wanted = { ...(order() || FIRST) };
    const list = make('div', { 'data-cy': 'monaiDgm-worklist' });
    let finish = () => {};
    const named = dgm.server.studies().catch(() => []); // of a folder there may be none

    async function fill(more) {
      Object.assign(wanted, more);
      try {
        const [{ rows, total }, found] = await Promise.all([dgm.server.worklist(wanted), named]);
        const studies = new Map(found.map(one => [one.study, one]));
        const words = total > rows.length ? `the first ${rows.length} of ${total} cases` : `${total} cases`;
        list.replaceChildren(make('p', {}, words), table(rows, studies, wanted, fill, finish));
      } catch (error) {
        list.replaceChildren(make('p', { class: 'remark' }, error.message));
      }
    }

    const choose = make('select', { 'aria-label': 'Show', onchange: event => fill({ show: event.target.value }) },
      SHOWN.map(([value, label]) => make('option', { value, selected: value === wanted.show }, label)));
    const search = make('input', { type: 'search', placeholder: 'reader, remark or id', value: wanted.text,
      oninput: event => fill({ text: event.target.value.slice(0, 100) }) });
    const following = () => (order() ? '"Next" follows the worklist.' : '"Next" follows active learning.');
    const state = make('span', {}, following());
    const follow = value => () => {
      keep(value && { ...wanted });
      state.textContent = following();
    };
    const chosen = await dgm.dialog.show('Worklist', close => {
      finish = close;
      fill({});
      return [
        make('p', {}, 'Show ', choose, ' ', search),
        list,
        make('footer', {},
          make('button', { 'data-follow': 'worklist', onclick: follow(true) }, 'Next follows this list'),
          make('button', { 'data-follow': 'learning', onclick: follow(false) }, 'Next follows active learning'), state),
      ];
    }, true);
    if (chosen?.study && (await dgm.case.mayLeave())) {
      if (order()) {
        keep({ ...wanted });
      }
      dgm.next.open(chosen.study);
    }
  }

  dgm.worklist = { show, order };
})();
