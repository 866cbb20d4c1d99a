// Requests of the extension to the label app. Each script adds to window.monaiDgm; app-config.js is loaded last.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});

  /** The reader's name where users do not log in: ?reader=... in the address, stored for this tab. */
  function reader() {
    const given = new URLSearchParams(window.location.search).get('reader');
    if (given) {
      sessionStorage.setItem('monaiDgm.reader', given);
    }
    return given || sessionStorage.getItem('monaiDgm.reader') || '';
  }

  reader(); // stored now, since the list of studies removes it from the address

  /** The answer of the server as JSON. Throws an Error with the server's message. */
  async function ask(path, query, options) {
    const address = new URL(path, window.location.origin);
    Object.entries(query || {}).forEach(([name, value]) => value && address.searchParams.set(name, value));
    const answer = await fetch(address, options);
    const values = await answer.json().catch(() => null);
    if (!answer.ok) {
      throw new Error((values && values.detail) || `the server answered ${answer.status}`);
    }
    return values;
  }

  const send = (method, value) => ({
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(value),
  });

  dgm.server = {
    state: () => ask('/dgm/state'),
    boxes: (image, fresh) => ask('/dgm/boxes', { image, fresh: fresh ? 'true' : '', reader: reader() }),
    submit: (image, status, boxes) =>
      ask('/dgm/boxes', { image, reader: reader() }, send('PUT', { status, boxes })),
    next: () => ask('/activelearning/combined', {}, send('POST', {})),
    pictureAddress: (name, image) => `/dgm/pictures/${name}?image=${encodeURIComponent(image)}`,
  };
})();
