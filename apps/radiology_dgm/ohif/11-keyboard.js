// The actions with their names and keys, the keys of OHIF that are replaced by them, and the help that `?` shows.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const { make } = dgm;

  // name: [key, label, tip]; a key with Shift is "Shift+..."
  const ACTIONS = {
    ShowBoxes: ['m', "Model boxes", "Draw the model's boxes, also those of a radiograph that may be no chest"],
    ShowOwn: ['y', 'Your boxes', 'Draw your submitted label again'],
    DetectAgain: ['q', 'Detect again', 'Run the present model; boxes that you drew or moved stay'],
    AcceptAll: ['a', 'Accept all', "Submit the model's boxes as they are"],
    NoFinding: ['f', 'No finding', "Confirm that there is no opacity; the model's boxes go"],
    SubmitBoxes: ['s', 'Submit', 'Store all rectangles on this image as your label'],
    SubmitAndNext: ['Enter', 'Submit, next', 'Store all rectangles and go to the next case; without one, no finding is not assumed'],
    SkipCase: ['k', 'Skip', 'Go to another case; this one is not offered again before this tab is closed'],
    NextCase: ['n', 'Next case', 'The next case of the worklist, or the one that active learning selects'],
    ToggleMap: ['o', 'Map on, off', 'Show or hide the map over the radiograph'],
    NextMap: ['u', 'Other map', 'Residue, saliency and, where there is one, uncertainty'],
    LessOpacity: ['Shift+ArrowLeft', 'Opacity down', 'Make the map clearer'],
    MoreOpacity: ['Shift+ArrowRight', 'Opacity up', 'Make the map denser'],
    LessThreshold: ['Shift+ArrowDown', 'Threshold down', 'Show weaker values of the map, too'],
    MoreThreshold: ['Shift+ArrowUp', 'Threshold up', 'Show stronger values of the map only'],
    BesideNormal: ['g', 'Normal', 'The normal image beside the radiograph; zoom, pan and window are joined'],
    BesidePrior: ['p', 'Prior', "The patient's earlier radiograph beside this one, with the change of burden"],
    ShowWorklist: ['w', 'Worklist', 'All cases with score, remark and readers; sort, filter, and let "next" follow it'],
    ShowTraining: ['t', 'Training', 'Train the detector on the labels; versions of the detector'],
    Adjudicate: ['j', 'Adjudicate', 'For reviewers: the boxes of both readers of this case'],
    Decide: ['d', 'Decide', 'Store the decision between the readers'],
    ShowHelp: ['?', 'Keys', 'This list'],
  };
  const SYMBOLS = { ArrowLeft: '\u2190', ArrowRight: '\u2192', ArrowUp: '\u2191', ArrowDown: '\u2193', Enter: '\u21b5' };

  const pretty = key => key.replace(/Arrow\w+|Enter/, name => SYMBOLS[name]).replace('Shift+', '\u21e7');

  /** Label, tip and key of an action, for its button. */
  function action(name) {
    const [key, label, tip] = ACTIONS[name];
    return { label, tip, key: pretty(key) };
  }

  const names = () => new Map(Object.entries(ACTIONS).map(([name, [key]]) => [key, name]));
  const isTyping = target => ['INPUT', 'SELECT', 'TEXTAREA'].includes(target.tagName) && target.type !== 'range';

  /** Listen for the keys; returns a function that ends it. run: runs an action by its name. */
  function listen(run) {
    const onKey = event => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) {
        return;
      }
      if (dgm.dialog.isOpen()) {
        if (event.key === 'Escape') {
          dgm.dialog.close();
        }
        event.stopPropagation(); // the viewer's own keys do nothing behind a dialog
        return;
      }
      const shifted = event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key;
      const onButton = event.key === 'Enter' && event.target.tagName === 'BUTTON'; // then Enter presses it
      const name = names().get(shifted) || names().get(shifted.toLowerCase());
      if (name && !onButton) {
        event.preventDefault();
        event.stopPropagation(); // before the viewer's own meaning of the key
        run(name);
      }
    };
    window.addEventListener('keydown', onKey, true);
    return () => window.removeEventListener('keydown', onKey, true);
  }

  function help() {
    const row = name => {
      const { label, tip, key } = action(name);
      return make('tr', {}, make('td', {}, make('kbd', { style: 'float: none' }, key)), make('td', {}, label), make('td', {}, tip));
    };
    return dgm.dialog.show('Keys', () => make('table', {}, make('tbody', {}, Object.keys(ACTIONS).map(row))), true);
  }

  dgm.keyboard = {
    action, listen, help,
    names: () => Object.keys(ACTIONS),
    add: (name, key, label, tip) => {
      ACTIONS[name] = [key, label, tip];
    },
  };
})();
