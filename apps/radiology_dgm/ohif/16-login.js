// The login of the reader: OHIF renews its token by itself. Where that ends, the reader is asked to log in again; changed
// boxes wait in this tab meanwhile, and come back with the case.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const KEPT = 'monaiDgm.boxes';

  let service = null; // OHIF's userAuthenticationService
  let asked = false;
  let leaving = false;

  /** Name of the login; null where users do not log in. */
  const user = () => service?.getUser()?.profile?.sub || null;

  const all = () => JSON.parse(sessionStorage.getItem(KEPT) || '{}');

  /** Keep the changed boxes of the open case in this tab. */
  function keep() {
    sessionStorage.setItem(KEPT, JSON.stringify({ user: user(), images: Object.fromEntries(dgm.case.changedBoxes()) }));
  }

  /** The boxes that wait for an image, for the user who changed them; they are given once. */
  function take(image) {
    const kept = all();
    const boxes = kept.user === user() ? kept.images?.[image] : null;
    if (boxes) {
      delete kept.images[image];
      sessionStorage.setItem(KEPT, JSON.stringify(kept));
    }
    return boxes || null;
  }

  /** The server does not take the token any more: ask to log in again. By itself it is asked once. */
  async function ended(byItself = false) {
    if (!user() || leaving || dgm.dialog.isOpen() || (byItself && asked)) {
      return;
    }
    asked = true;
    const words = dgm.case.isUnsaved() ? 'Boxes that you changed are kept, and are here again when you have logged in.' : '';
    const answer = await dgm.dialog.ask('Your login has ended', `Log in again to go on. ${words}`,
      [['login', 'Log in again'], ['stay', 'Not now']]);
    if (answer === 'login') {
      keep();
      leaving = true;
      service.handleUnauthenticated(); // to the login server, and back to this address
    }
  }

  dgm.login = {
    ended, take,
    leaving: () => leaving,
    connect: connected => {
      service = connected;
      dgm.server.login(() => service.getAuthorizationHeader());
    },
  };
})();
