// The OHIF extension: buttons in the toolbar, and their actions.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const ID = 'monai-dgm';
  const TITLE = 'Research software, not for diagnosis';
  const SECONDS_BETWEEN_STATES = 15;
  const BUTTONS = [
    ['ShowBoxes', 'Show boxes', "The model's opacity boxes, to be moved, deleted or added to"],
    ['DetectAgain', 'Detect again', 'Run the present model; boxes that you drew or moved stay'],
    ['ShowNormal', 'Normal', 'Synthesised normal image over the radiograph, on and off'],
    ['ShowResidue', 'Residue', 'Residue over the radiograph, on and off'],
    ['NoFinding', 'No finding', 'Confirm that there is no opacity'],
    ['SubmitBoxes', 'Submit boxes', 'Store all rectangles on this image as your label'],
    ['NextCase', 'Next case', 'The study that active learning selects to be read next'],
  ];

  function makeActions({ servicesManager, commandsManager }) {
    const { services } = servicesManager;
    const say = (type, message) =>
      services.uiNotificationService.show({ title: TITLE, message, type, duration: 8000 });

    async function showBoxes(fresh) {
      const shown = dgm.geometry.displayed(services);
      const answer = await dgm.status.during(() => dgm.server.boxes(shown.image, fresh));
      dgm.boxes.show(shown, answer.boxes, answer.same_box_pixels);
      const what = `${answer.boxes.length || 'no'} boxes of ${answer.model_version} (${answer.box_source})`;
      dgm.status.note(what);
      say('info', what);
    }

    async function togglePicture(name) {
      if (dgm.pictures.current() === name) {
        dgm.pictures.hide();
        return;
      }
      const shown = dgm.geometry.displayed(services);
      await dgm.status.during(() => dgm.pictures.show(shown, name));
    }

    async function submit(status) {
      const shown = dgm.geometry.displayed(services);
      const boxes = dgm.boxes.read(shown);
      if (status === 'boxes' && !boxes.length) {
        throw new Error('there is no rectangle on this image; press No finding if that is what you mean');
      }
      if (status === 'no_finding' && boxes.length) {
        throw new Error(`there are ${boxes.length} rectangles on this image; delete them first, or submit them`);
      }
      const kept = await dgm.server.submit(shown.image, status, boxes);
      const what = status === 'boxes' ? `${kept.boxes.length} boxes` : 'no finding';
      say('success', `Submitted: ${what}, by ${kept.reader}`);
      dgm.status.note(`submitted: ${what}`);
      dgm.status.refresh();
    }

    async function nextCase() {
      const next = await dgm.status.during(() => dgm.server.next());
      if (!next.study) {
        throw new Error(next.id ? 'the next radiograph is in a folder, not in the archive' : 'all radiographs are labelled');
      }
      const address = new URL(window.location.href);
      address.searchParams.set('StudyInstanceUIDs', next.study);
      window.location.assign(address);
    }

    // an action whose errors are shown in one line
    const withMessage = work => async () => {
      try {
        await work();
      } catch (error) {
        say('error', error.message);
      }
    };

    return {
      monaiDgmShowBoxes: withMessage(() => showBoxes(false)),
      monaiDgmDetectAgain: withMessage(() => showBoxes(true)),
      monaiDgmShowNormal: withMessage(() => togglePicture('normal')),
      monaiDgmShowResidue: withMessage(() => togglePicture('residue')),
      monaiDgmNoFinding: withMessage(() => submit('no_finding')),
      monaiDgmSubmitBoxes: withMessage(() => submit('boxes')),
      monaiDgmNextCase: withMessage(nextCase),
    };
  }

  let timer = null;
  let labels = null;

  dgm.extension = {
    id: ID,
    version: '1.0.0',

    preRegistration({ servicesManager }) {
      const { userAuthenticationService } = servicesManager.services;
      dgm.server.login(() => userAuthenticationService.getAuthorizationHeader());
    },

    getCommandsModule(system) {
      const actions = makeActions(system);
      const definitions = Object.fromEntries(Object.entries(actions).map(([name, run]) => [name, { commandFn: run }]));
      return { actions, definitions, defaultContext: 'DEFAULT' };
    },

    onModeEnter({ servicesManager }) {
      const { toolbarService } = servicesManager.services;
      const buttons = BUTTONS.map(([name, label, tooltip]) => ({
        id: `monaiDgm${name}`,
        uiType: 'ohif.toolButton',
        props: { icon: 'tool-rectangle', label, tooltip, commands: `monaiDgm${name}`, evaluate: 'evaluate.action' },
      }));
      toolbarService.register(buttons);
      toolbarService.updateSection('primary', buttons.map(button => button.id)); // adds them
      labels = dgm.boxes.label(servicesManager.services);
      dgm.status.refresh();
      timer = window.setInterval(dgm.status.refresh, SECONDS_BETWEEN_STATES * 1000);
    },

    onModeExit() {
      window.clearInterval(timer);
      labels.unsubscribe();
      dgm.pictures.hide();
      dgm.status.remove();
    },
  };
})();
