// Requests of the extension to the label app. Each script adds to window.monaiDgm; app-config.js is loaded last.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const LOOKS_FOR_TOKEN = 30; // in six seconds

  /** The reader's name where users do not log in: ?reader=... in the address, stored for this tab. */
  function reader() {
    const given = new URLSearchParams(window.location.search).get('reader');
    if (given) {
      sessionStorage.setItem('monaiDgm.reader', given);
    }
    return given || sessionStorage.getItem('monaiDgm.reader') || '';
  }

  reader(); // stored now, since the list of studies removes it from the address

  let token = () => null; // function that gives the header with the login's token, which OHIF renews

  /** Whether the token becomes another one than `before`, as it does within seconds after a computer has slept. */
  async function renewed(before) {
    for (let look = 0; look < LOOKS_FOR_TOKEN && token()?.Authorization === before; look += 1) {
      await new Promise(resolve => setTimeout(resolve, 200));
    }
    return token()?.Authorization !== before;
  }

  /** An answer of the server. Throws an Error with the server's message. */
  async function request(path, query, options) {
    const address = new URL(path, window.location.origin);
    Object.entries(query || {}).forEach(([name, value]) => value && address.searchParams.set(name, value));
    const login = token();
    let answer = await fetch(address, { ...options, headers: { ...options?.headers, ...login } });
    if (answer.status === 401 && login && (await renewed(login.Authorization))) {
      answer = await fetch(address, { ...options, headers: { ...options?.headers, ...token() } });
    }
    if (!answer.ok) {
      const values = await answer.json().catch(() => null);
      const error = new Error((values && values.detail) || `the server answered ${answer.status}`);
      throw Object.assign(error, { status: answer.status });
    }
    return answer;
  }

  /** The answer of the server as JSON. */
  async function ask(path, query, options) {
    const answer = await request(path, query, options);
    return answer.json();
  }

  const send = (method, value) => ({
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(value),
  });

  dgm.server = {
    reader,
    /** Send the login's token from now on. */
    login: header => (token = header),
    state: () => ask('/dgm/state'),
    // stores that the reader sees the boxes; `despite`: also those of a radiograph that may be no chest
    showBoxes: (image, fresh, despite) =>
      ask('/dgm/boxes', { image, fresh: fresh ? 'true' : '', despite_remark: despite ? 'true' : '', reader: reader() },
        { method: 'POST' }),
    /** Studies in the archive, of one patient or the first thousand: [{study, patient, date, time, modalities}]. */
    studies: async patient => {
      const found = await ask('/dicom-web/studies', { PatientID: patient, limit: 1000, includefield: '00080061' });
      const values = (study, tag) => study[tag]?.Value || [];
      return found
        .map(study => ({
          study: values(study, '0020000D')[0],
          patient: values(study, '00100020')[0],
          date: values(study, '00080020')[0],
          time: values(study, '00080030')[0],
          modalities: values(study, '00080061'),
        }))
        .filter(study => !patient || study.patient === patient);
    },
    numbers: image => ask('/dgm/numbers', { image }),
    submit: (image, status, boxes) =>
      ask('/dgm/boxes', { image, reader: reader() }, send('PUT', { status, boxes })),
    next: (skipped, worklist) => ask('/dgm/next', { reader: reader() }, send('POST', { skipped, worklist })),
    prolong: image => ask('/dgm/reservation', { image, reader: reader() }, { method: 'PUT' }),
    // also while the page is being closed
    release: image => ask('/dgm/reservation', { image, reader: reader() }, { method: 'DELETE', keepalive: true }),
    worklist: order => ask('/dgm/worklist', { reader: reader() }, send('POST', order)),
    readings: image => ask('/dgm/readings', { image }),
    adjudicate: (image, status, boxes) =>
      ask('/dgm/adjudication', { image, reader: reader() }, send('PUT', { status, boxes })),
    /** Status of the training; null before the first. */
    training: () => ask('/train').catch(error => (error.status === 404 ? null : Promise.reject(error))),
    train: options => ask('/train/detect_opacities', {}, send('POST', options)),
    stopTraining: () => ask('/train', {}, { method: 'DELETE' }),
    versions: () => ask('/dgm/versions'),
    restore: number => ask(`/dgm/versions/${number}`, {}, { method: 'POST' }),
    layer: (name, image) => request(`/dgm/layers/${name}`, { image }).then(answer => answer.blob()),
  };
})();
