// The OHIF extension: the panel, and what its actions do.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const ID = 'monai-dgm';
  const TITLE = 'Research software, not for diagnosis';
  const SECONDS_BETWEEN_STATES = 15;
  const SECONDS_BETWEEN_LOOKS = 0.3;
  const STEP = 0.05; // of a slider, by a key
  const SIGNS = ['pointerdown', 'pointermove', 'wheel', 'keydown']; // that somebody is there

  const boxes = count => `${count || 'no'} ${count === 1 ? 'box' : 'boxes'}`;

  function makeActions({ servicesManager }) {
    const { services } = servicesManager;
    const say = (type, message) =>
      services.uiNotificationService.show({ title: TITLE, message, type, duration: 8000 });

    async function showBoxes(fresh) {
      const shown = await dgm.case.showModel(fresh);
      say('info', `${boxes(shown.boxes.length)} of ${shown.model_version} (${shown.box_source})`);
    }

    async function submit(work) {
      const kept = await work();
      say('success', `Submitted: ${kept.status === 'boxes' ? boxes(kept.boxes.length) : 'no finding'}, by ${kept.reader}`);
    }

    async function noFinding() {
      const { own } = dgm.case.opened();
      const replaces = own && own.status === 'boxes' && !dgm.case.isUnsaved();
      const answer = replaces && (await dgm.dialog.ask('No finding', `Your label has ${boxes(own.boxes.length)}. Replace it?`,
        [['replace', 'Replace by no finding'], ['stay', 'Keep the boxes']]));
      if (!replaces || answer === 'replace') {
        await submit(() => dgm.case.submit('no_finding'));
      }
    }

    async function submitAndNext() {
      const { own } = dgm.case.opened();
      if (!own || dgm.case.isUnsaved()) {
        await submit(() => dgm.case.submit('boxes'));
      }
      await dgm.next.go();
    }

    async function toggleMap() {
      const { shown } = dgm.case.opened();
      const { name } = dgm.layers.settings;
      if (dgm.layers.current(shown.viewportId) === name) {
        dgm.layers.hide(shown.viewportId);
      } else {
        await dgm.status.during(() => dgm.layers.show(shown, name));
      }
    }

    async function nextMap() {
      const { shown, numbers } = dgm.case.opened();
      const names = Object.keys(numbers?.layers || {});
      if (names.length) {
        const next = names[(names.indexOf(dgm.layers.settings.name) + 1) % names.length];
        await dgm.status.during(() => dgm.layers.show(shown, next));
      }
    }

    async function decide() {
      const kept = await dgm.adjudication.decide();
      say('success', `Decided: ${kept.status === 'boxes' ? boxes(kept.boxes.length) : 'no finding'}, ${kept.reader}`);
    }

    const slide = (name, by) => dgm.layers.set({ [name]: dgm.layers.settings[name] + by });

    return {
      ShowBoxes: () => showBoxes(false),
      ShowOwn: () => dgm.case.showOwn(),
      DetectAgain: () => showBoxes(true),
      AcceptAll: () => submit(() => dgm.case.acceptAll()),
      NoFinding: noFinding,
      SubmitBoxes: () => submit(() => dgm.case.submit('boxes')),
      SubmitAndNext: submitAndNext,
      SkipCase: () => dgm.next.skip(),
      NextCase: () => dgm.next.go(),
      ToggleMap: toggleMap,
      NextMap: nextMap,
      ShowWorklist: () => dgm.worklist.show(),
      ShowTraining: () => dgm.training.show(),
      Adjudicate: () => dgm.adjudication.toggle(),
      Decide: decide,
      BesideNormal: () => dgm.compare.toggleNormal(),
      BesidePrior: () => dgm.compare.togglePrior(),
      LessOpacity: () => slide('opacity', -STEP),
      MoreOpacity: () => slide('opacity', STEP),
      LessThreshold: () => slide('threshold', -STEP),
      MoreThreshold: () => slide('threshold', STEP),
      ShowHelp: () => dgm.keyboard.help(),
      say,
    };
  }

  let stop = [];

  /** Leaving by the viewer's own way back to the list asks, too. */
  function guardWayBack(event) {
    const back = event.target.closest?.('[data-cy="return-to-work-list"]');
    if (back && dgm.case.isUnsaved()) {
      event.preventDefault();
      event.stopPropagation();
      dgm.case.mayLeave().then(may => may && back.click());
    }
  }

  function guardClosing(event) {
    if (dgm.case.isUnsaved() && !dgm.login.leaving()) {
      event.preventDefault();
    }
  }

  const guardReturning = event => event.persisted && dgm.case.reserveAgain();

  dgm.extension = {
    id: ID,
    version: '2.0.0',

    preRegistration({ servicesManager }) {
      dgm.login.connect(servicesManager.services.userAuthenticationService);
    },

    getPanelModule: () => [
      { name: 'reading', iconName: 'tab-patient-info', iconLabel: 'Reading', label: 'Reading', component: dgm.panel.component },
    ],

    onModeEnter(system) {
      const { services } = system.servicesManager;
      const actions = makeActions(system);
      const run = async name => {
        try {
          await actions[name]();
        } catch (error) {
          actions.say('error', error.message);
          if (error.status === 401) {
            await dgm.login.ended();
          }
        }
        dgm.panel.render();
      };
      dgm.panel.connect(run);
      dgm.compare.connect({ services, commandsManager: system.commandsManager });
      dgm.case.listen(dgm.panel.render);
      const labels = dgm.boxes.label(services);
      const timers = [
        window.setInterval(dgm.status.refresh, SECONDS_BETWEEN_STATES * 1000),
        window.setInterval(() => dgm.case.watch(services), SECONDS_BETWEEN_LOOKS * 1000),
      ];
      let unsaved = false;
      const onChange = () => {
        if (dgm.case.isUnsaved() !== unsaved) {
          unsaved = !unsaved;
          dgm.panel.render();
        }
      };
      timers.push(window.setInterval(onChange, SECONDS_BETWEEN_LOOKS * 1000));
      document.addEventListener('click', guardWayBack, true);
      window.addEventListener('beforeunload', guardClosing);
      window.addEventListener('pagehide', dgm.case.release);
      window.addEventListener('pageshow', guardReturning);
      SIGNS.forEach(sign => window.addEventListener(sign, dgm.case.prolong, { capture: true, passive: true }));
      dgm.status.refresh();
      stop = [
        dgm.keyboard.listen(run),
        () => timers.forEach(timer => window.clearInterval(timer)),
        () => labels.unsubscribe(),
        () => document.removeEventListener('click', guardWayBack, true),
        () => window.removeEventListener('beforeunload', guardClosing),
        () => window.removeEventListener('pagehide', dgm.case.release),
        () => window.removeEventListener('pageshow', guardReturning),
        () => SIGNS.forEach(sign => window.removeEventListener(sign, dgm.case.prolong, { capture: true })),
      ];
    },

    onModeExit() {
      stop.forEach(end => end());
      stop = [];
      dgm.layers.hide();
      dgm.dialog.close();
      dgm.case.close();
      dgm.status.remove();
    },
  };
})();
