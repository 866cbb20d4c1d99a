// Runs scripts of the viewer's extension under Node, with a browser tab, a server and a viewer of the test's own; prints
// what happened as JSON. node viewer_scripts.js FOLDER_OF_SCRIPTS
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const SCRIPTS = ['01-server.js', '07-case.js', '16-login.js'];
const BOXES = [{ box: [1, 2, 3, 4], label: 'lung_opacity', score: 0.9 }];
const MOVED = [{ box: [9, 2, 30, 40], label: 'lung_opacity', score: 0.9 }];

/** Storage of a browser tab, which stays while its pages change. */
function makeStorage() {
  const kept = {};
  return { getItem: name => kept[name] ?? null, setItem: (name, value) => (kept[name] = value), kept };
}

/** A page of the viewer on an image. status: of the server's answers; user: of the login. */
function makePage(storage, given) {
  const page = { requests: [], asked: [], logins: 0, rectangles: [], now: 1e12, ...given };
  const fetch = async (address, options = {}) => {
    page.requests.push({
      request: `${options.method || 'GET'} ${address.pathname}${address.search}`,
      token: options.headers.Authorization,
      keepalive: !!options.keepalive,
    });
    const body = page.status === 200 ? { image: 'x', boxes: BOXES, own: null, same_box_pixels: 1, reserved: true } : { detail: 'no' };
    return { ok: page.status === 200, status: page.status, json: async () => body };
  };
  const window = { location: { origin: 'http://localhost', search: '' }, fetch };
  window.window = window;
  const context = vm.createContext(Object.assign(window, { fetch, sessionStorage: storage, URL, URLSearchParams, console,
    setTimeout: callback => setImmediate(() => (page.later?.(), callback())) }));
  vm.runInContext('Date', context).now = () => page.now;
  const dgm = (window.monaiDgm = {
    boxes: {
      read: () => page.rectangles,
      show: (shown, boxes) => (page.rectangles = boxes),
      clear: () => (page.rectangles = []),
      equal: (ones, others) => JSON.stringify(ones) === JSON.stringify(others),
    },
    status: { during: work => work(), note: () => {}, refresh: () => {} },
    layers: { hide: () => {} },
    adjudication: { end: () => {} },
    dialog: { isOpen: () => false, ask: async title => (page.asked.push(title), page.answer) },
  });
  const folder = process.argv[2];
  SCRIPTS.forEach(name => vm.runInContext(fs.readFileSync(path.join(folder, name), 'utf8'), context, { filename: name }));
  dgm.login.connect({
    getUser: () => page.user && { profile: { sub: page.user } },
    getAuthorizationHeader: () => ({ Authorization: page.token }),
    handleUnauthenticated: () => (page.logins += 1),
  });
  return { page, dgm };
}

async function main() {
  const found = {};
  const image = { image: 'x', viewport: {} };

  let { page, dgm } = makePage(makeStorage(), { status: 200, user: 'rita', token: 'first' });
  await dgm.case.open(image);
  page.token = 'renewed';
  dgm.case.release();
  dgm.case.release();
  found.release = page.requests;

  ({ page, dgm } = makePage(makeStorage(), { status: 200, user: 'rita', token: 'first' }));
  await dgm.case.prolong(); // nothing is open
  await dgm.case.open(image);
  for (const seconds of [0, 10, 10, 15, 3600]) {
    page.now += seconds * 1000;
    await dgm.case.prolong();
  }
  await dgm.case.submit('no_finding');
  page.now += 3600 * 1000;
  await dgm.case.prolong(); // it is submitted
  found.prolonged = page.requests.map(one => one.request).filter(request => request.includes('reservation'));

  const tab = makeStorage();
  ({ page, dgm } = makePage(tab, { status: 200, user: 'rita', token: 'first', answer: 'stay' }));
  await dgm.case.open(image);
  page.rectangles = MOVED;
  page.status = 401;
  const refused = await dgm.case.submit('boxes').catch(error => error.status);
  await dgm.login.ended(true);
  await dgm.login.ended(true); // by itself it asks once
  found.stay = { refused, asked: [...page.asked], logins: page.logins, leaving: dgm.login.leaving(), kept: { ...tab.kept } };
  page.answer = 'login';
  await dgm.login.ended();
  found.login = { asked: page.asked.length, logins: page.logins, leaving: dgm.login.leaving() };

  ({ page, dgm } = makePage(makeStorage(), { status: 200, user: 'rita', token: 'first' }));
  await dgm.case.open(image);
  page.status = 401; // the token has ended while the computer slept
  page.requests.length = 0;
  page.later = () => Object.assign(page, { status: 200, token: 'renewed' });
  const kept = await dgm.case.submit('no_finding').then(() => 'kept');
  found.slept = { kept, asked: page.asked, requests: page.requests.map(one => [one.request, one.token]) };

  for (const user of ['rolf', 'rita', 'rita']) { // another user, and the same one twice
    ({ page, dgm } = makePage(tab, { status: 200, user, token: 'second' }));
    await dgm.case.open(image);
    (found.again ||= []).push({ rectangles: page.rectangles, unsaved: dgm.case.isUnsaved() });
  }

  ({ page, dgm } = makePage(makeStorage(), { status: 401, user: null, answer: 'login' }));
  await dgm.case.open(image);
  found.without = { asked: page.asked, problem: dgm.case.state.problem };
  found.boxes = BOXES;
  found.moved = MOVED;
  process.stdout.write(JSON.stringify(found));
}

main();
