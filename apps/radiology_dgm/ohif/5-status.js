// The status line at the lower edge: version and state of the model, number of labelled images, and a warning.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const STYLE = `
    #monai-dgm-status { position: fixed; left: 50%; bottom: 2px; transform: translateX(-50%); z-index: 40;
      padding: 1px 12px; border-radius: 4px; background: rgba(9, 12, 41, 0.85); color: #dfe4ff;
      font: 12px/18px Inter, Arial, sans-serif; pointer-events: none; white-space: nowrap; }
    #monai-dgm-status[data-state="no model"] { color: #ffb35c; }
    #monai-dgm-status[data-state="computing"] { color: #8fd3ff; }
    img.monai-dgm-picture { position: absolute; left: 0; top: 0; max-width: none; transform-origin: 0 0;
      pointer-events: none; }
    [data-cy^="monaiDgm"] button { width: auto; padding: 0 6px; }
    [data-cy^="monaiDgm"] button > * { display: none; }
    [data-cy^="monaiDgm"] button::after { content: attr(aria-label); font: 13px Inter, Arial, sans-serif; }
    [data-cy="TrackballRotate"], [data-cy="Crosshairs"] { display: none; } /* of volumes; our buttons need the room */`;

  const known = { state: 'no answer', model: '', counts: '', note: '' };
  let busy = 0;

  function element() {
    let line = document.getElementById('monai-dgm-status');
    if (!line) {
      const style = document.createElement('style');
      style.textContent = STYLE;
      document.head.append(style);
      line = document.createElement('div');
      line.id = 'monai-dgm-status';
      document.body.append(line);
    }
    return line;
  }

  function write() {
    const line = element();
    line.dataset.state = busy ? 'computing' : known.state;
    line.textContent = [line.dataset.state, known.model, known.note, known.counts, 'research software, not for diagnosis']
      .filter(Boolean)
      .join('  |  ');
  }

  /** Ask the server for its state, and show it. */
  async function refresh() {
    try {
      const values = await dgm.server.state();
      known.state = values.state;
      known.model = values.models[values.box_source === 'detector' ? 'detector' : 'decomposer'] || '';
      known.counts = `${values.labelled} of ${values.images} labelled`;
    } catch (error) {
      known.state = 'no answer';
    }
    write();
  }

  /** Show a note about the displayed radiograph. */
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

  dgm.status = { refresh, note, during, remove };
})();
