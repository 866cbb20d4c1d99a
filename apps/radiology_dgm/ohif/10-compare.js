// Side by side: the radiograph at the left, and at the right its normal image, or the patient's prior with the change of
// burden. OHIF's own synchronisers join zoom, pan and window.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const RIGHT = 'monai-dgm-right';
  const RADIOGRAPHS = ['CR', 'DX', 'RG'];
  const SECONDS = 30;

  const state = { kind: null, prior: null };
  let left = null; // id of the viewport of the case
  let system = null;

  /** The first result of `look` that is not null or an error; tried again for some seconds. */
  async function waitFor(look) {
    for (let i = 0; i < SECONDS * 10; i += 1) {
      try {
        const found = look();
        if (found) {
          return found;
        }
      } catch {
        // not there yet
      }
      await new Promise(resolve => window.setTimeout(resolve, 100));
    }
    throw new Error('the viewer did not show the second image');
  }

  /** Show a display set at the right of the case. */
  async function split(displaySet) {
    const { viewportGridService } = system.services;
    const { activeViewportId, viewports } = viewportGridService.getState();
    left = activeViewportId;
    const own = viewports.get(left);
    const other = {
      displaySetInstanceUIDs: [displaySet],
      displaySetOptions: [{}],
      viewportOptions: { ...own.viewportOptions, viewportId: RIGHT, viewportType: 'stack', toolGroupId: 'default' },
    };
    viewportGridService.setLayout({
      numRows: 1,
      numCols: 2,
      activeViewportId: left,
      findOrCreateViewport: position => (position === 0 ? own : other),
    });
    const shown = await waitFor(() => dgm.geometry.inViewport(system.services, RIGHT));
    viewportGridService.setActiveViewportId(left);
    return shown;
  }

  /** Join the two viewports; the window only where both images are on one scale. */
  function join(shown) {
    const { syncGroupService } = system.services;
    const mine = dgm.geometry.inViewport(system.services, left);
    const [one, other] = [mine, shown].map(({ viewport }) => viewport.getProperties().voiRange);
    const near = (a, b) => Math.abs(a - b) <= 0.02 * (one.upper - one.lower);
    const sameScale = near(one.lower, other.lower) && near(one.upper, other.upper);
    [mine, shown].forEach(({ viewport, viewportId }) => {
      const types = sameScale ? ['zoompan', 'voi'] : ['zoompan'];
      const options = { syncInvertState: true, syncColormap: false };
      syncGroupService.addViewportToSyncGroup(viewportId, viewport.renderingEngineId,
        types.map(type => ({ type, id: `monai-dgm-${type}`, source: true, target: true, options })));
    });
    return sameScale;
  }

  /** Show the case alone again. */
  function end() {
    if (!state.kind) {
      return;
    }
    const { viewportGridService, syncGroupService } = system.services;
    Object.assign(state, { kind: null, prior: null });
    dgm.layers.hide(RIGHT);
    [left, RIGHT].forEach(id => {
      const viewport = system.services.cornerstoneViewportService.getCornerstoneViewport(id);
      ['zoompan', 'voi'].forEach(type =>
        viewport && syncGroupService.removeViewportFromSyncGroup(id, viewport.renderingEngineId, `monai-dgm-${type}`));
    });
    const own = viewportGridService.getState().viewports.get(left);
    viewportGridService.setLayout({ numRows: 1, numCols: 1, activeViewportId: left, findOrCreateViewport: () => own });
  }

  /** The display set of the case. */
  function ownDisplaySet() {
    const { viewportGridService } = system.services;
    return viewportGridService.getState().viewports.get(viewportGridService.getActiveViewportId()).displaySetInstanceUIDs[0];
  }

  async function toggleNormal() {
    const was = state.kind;
    end();
    if (was !== 'normal') {
      dgm.case.opened();
      const shown = await split(ownDisplaySet());
      join(shown);
      await dgm.layers.showNormal(shown);
      state.kind = 'normal';
    }
  }

  /** The latest study of the same patient before the open one with a radiograph: {study, date}. */
  async function findPrior() {
    const { imageId } = dgm.case.opened().shown;
    const { PatientID, StudyInstanceUID, StudyDate, StudyTime } = window.cornerstone.metaData.get('instance', imageId);
    if (!PatientID) {
      throw new Error('the radiograph names no patient, so there is no prior');
    }
    const moment = (date, time) => `${date || ''}${time || ''}`;
    const found = (await dgm.server.studies(PatientID))
      .filter(one => one.study !== StudyInstanceUID && one.modalities.some(name => RADIOGRAPHS.includes(name)))
      .filter(one => moment(one.date, one.time) < moment(StudyDate, StudyTime))
      .sort((a, b) => (moment(a.date, a.time) < moment(b.date, b.time) ? 1 : -1));
    if (!found.length) {
      throw new Error('the archive has no earlier radiograph of this patient');
    }
    return found[0];
  }

  async function togglePrior() {
    const was = state.kind;
    end();
    if (was === 'prior') {
      return;
    }
    const prior = await dgm.status.during(findPrior);
    const { displaySetService } = system.services;
    const ofPrior = () => displaySetService.getDisplaySetsBy(
      set => set.StudyInstanceUID === prior.study && RADIOGRAPHS.includes(set.Modality))[0];
    if (!ofPrior()) {
      await system.commandsManager.runCommand('loadStudy', { StudyInstanceUID: prior.study });
    }
    const displaySet = await waitFor(ofPrior);
    const shown = await split(displaySet.displaySetInstanceUID);
    const sameScale = join(shown);
    const numbers = await dgm.status.during(() => dgm.server.numbers(shown.image));
    Object.assign(state, { kind: 'prior', prior: { ...prior, numbers, sameScale } });
  }

  dgm.compare = {
    toggleNormal, togglePrior, end, state,
    isRight: viewportId => viewportId === RIGHT,
    connect: connected => {
      system = connected;
      Object.assign(state, { kind: null, prior: null });
    },
  };
})();
