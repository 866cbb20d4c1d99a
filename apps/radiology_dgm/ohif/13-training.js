// The training in the viewer: start and stop it, its progress with the time left, the gate's verdict, the versions.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const { make } = dgm;
  const SECONDS = 2; // between two looks at the progress

  const figure = value => (value === null || value === undefined ? 'not known' : value.toFixed(3));

  /** Seconds as "3 min". */
  const span = seconds => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);

  function progress(status) {
    if (!status) {
      return [make('p', {}, 'No training has run on this server.')];
    }
    const { share, seconds_left: left } = status;
    const running = status.status === 'RUNNING';
    return [
      make('p', { 'data-cy': 'monaiDgm-training-state' }, `${status.status.toLowerCase()}: ${status.details.join(' ')}`),
      running ? make('progress', share === null || share === undefined ? {} : { max: 1, value: share }) : null,
      running && left !== null && left !== undefined ? make('p', {}, `about ${span(left)} left`) : null,
    ];
  }

  /** "AP 0.123, before 0.120": figures of the gate. */
  function verdict(version) {
    const { before, after, images } = version.validation || {};
    const words = { promoted: 'promoted', kept_aside: 'kept aside', given: 'given at the start' }[version.status] || version.status;
    const figures = after ? `AP ${figure(after.ap)}${before ? `, served before: ${figure(before.ap)}` : ''}, on ${images} images` : '';
    return [words, version.reason, figures].filter(Boolean).join('; ');
  }

  function versions(listed, restore) {
    const rows = [...listed.versions].reverse().map(version => {
      const served = version.number === listed.current;
      const { corrections } = version;
      return make('tr', { 'data-version': version.number },
        make('td', {}, `${version.number}${served ? ', served' : ''}`),
        make('td', {}, new Date(version.created).toLocaleString()),
        make('td', {}, corrections ? `${corrections.labels} labels of ${corrections.readers} readers` : ''),
        make('td', {}, verdict(version)),
        make('td', {}, served ? '' : make('button', { 'data-restore': version.number, onclick: () => restore(version.number) }, 'Serve')));
    });
    const head = ['Version', 'Made', 'Labels', 'Verdict', ''].map(label => make('th', {}, label));
    return rows.length
      ? make('table', {}, make('thead', {}, make('tr', {}, head)), make('tbody', {}, rows))
      : make('p', {}, `There are no versions yet; served is ${listed.model_version || 'no detector'}.`);
  }

  /** Show the training and the versions, until the dialog is closed. */
  async function show() {
    const body = make('div', { 'data-cy': 'monaiDgm-training' });
    const problem = make('p', { class: 'remark' });
    const epochs = make('input', { type: 'number', min: 1, max: 200, value: 10, style: 'width: 70px', 'aria-label': 'Epochs' });

    const attempt = work => async () => {
      problem.textContent = '';
      try {
        await work();
      } catch (error) {
        problem.textContent = error.message;
      }
      await fill();
    };

    async function fill() {
      try {
        const [status, listed] = await Promise.all([dgm.server.training(), dgm.server.versions()]);
        const running = status?.status === 'RUNNING';
        body.replaceChildren(...progress(status).filter(Boolean),
          make('p', {}, 'Epochs ', epochs, ' ',
            make('button', { 'data-training': 'start', disabled: running,
              onclick: attempt(() => dgm.server.train({ max_epochs: Number(epochs.value) })) }, 'Train on the labels'), ' ',
            make('button', { 'data-training': 'stop', disabled: !running, onclick: attempt(() => dgm.server.stopTraining()) }, 'Stop')),
          make('h2', {}, 'Versions of the detector'),
          versions(listed, number => attempt(() => dgm.server.restore(number))()));
      } catch (error) {
        problem.textContent = error.message;
      }
    }

    const timer = window.setInterval(() => body.contains(document.activeElement) || fill(), SECONDS * 1000);
    await dgm.dialog.show('Training', () => {
      fill();
      return [body, problem];
    }, true);
    window.clearInterval(timer);
    dgm.status.refresh();
  }

  dgm.training = { show };
})();
