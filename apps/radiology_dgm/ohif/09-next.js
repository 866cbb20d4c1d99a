// The way from one case to the next: by the worklist or by active learning, without the cases that were skipped in this tab.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const SKIPPED = 'monaiDgm.skipped';

  const skipped = () => JSON.parse(sessionStorage.getItem(SKIPPED) || '[]');

  /** Open a study. */
  function open(study) {
    const address = new URL('/ohif/viewer', window.location.origin);
    address.searchParams.set('StudyInstanceUIDs', study);
    window.location.assign(address);
  }

  /** Go to the next case; asks first where boxes are not submitted. */
  async function go() {
    if (!(await dgm.case.mayLeave())) {
      return;
    }
    const openNow = dgm.case.state.boxes ? [dgm.case.state.boxes.image] : [];
    const next = await dgm.status.during(() => dgm.server.next([...skipped(), ...openNow], dgm.worklist.order()));
    if (!next.study) {
      throw new Error(next.image ? 'the next radiograph has no study' : 'there is no other case to read');
    }
    open(next.study);
  }

  /** Go to another case and do not come back to this one. */
  async function skip() {
    const { image } = dgm.case.opened().boxes; // the server's id, which of a file is not the viewer's
    if (await dgm.case.mayLeave()) {
      sessionStorage.setItem(SKIPPED, JSON.stringify([...skipped().filter(one => one !== image), image].slice(-500)));
      await go();
    }
  }

  dgm.next = { go, skip, open };
})();
