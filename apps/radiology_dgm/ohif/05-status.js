// The status line at the lower edge: the version whose boxes are drawn, state of the models, number of labelled images.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});

  const known = { state: 'no answer', model: '', counts: '', note: '', served: '' };
  let busy = 0;

  function element() {
    let line = document.getElementById('monai-dgm-status');
    if (!line) {
      line = document.createElement('div');
      line.id = 'monai-dgm-status';
      document.body.append(line);
    }
    return line;
  }

  function write() {
    const line = element();
    line.dataset.state = busy ? 'computing' : known.state;
    line.textContent = [line.dataset.state, known.note || known.model, known.counts, 'research software, not for diagnosis']
      .filter(Boolean)
      .join('  |  ');
  }

  /** Ask the server for its state, and show it. */
  async function refresh() {
    try {
      const values = await dgm.server.state();
      known.state = values.state;
      known.served = values.models[values.box_source === 'detector' ? 'detector' : 'decomposer'] || '';
      known.model = known.served && `model ${known.served}`;
      known.counts = `${values.labelled} of ${values.images} labelled`;
    } catch (error) {
      known.state = error.status === 401 ? 'logged out' : 'no answer';
      if (error.status === 401) {
        dgm.login.ended(true);
      }
    }
    write();
  }

  /** Show a note about the boxes that are drawn, in the place of the served version. */
  function note(words) {
    known.note = words;
    write();
  }

  /** Show "computing" until a promise has ended. */
  async function during(work) {
    busy += 1;
    write();
    try {
      return await work();
    } finally {
      busy -= 1;
      write();
    }
  }

  function remove() {
    document.getElementById('monai-dgm-status')?.remove();
  }

  dgm.status = { refresh, note, during, remove, served: () => known.served };
})();
