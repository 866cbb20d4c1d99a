// A dialog of our own over the viewer, and a short way to make elements. Text is never read as HTML.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});

  /** An element: make('button', {class: 'x', onclick: f}, 'text', other). Properties that start with "on" are listeners. */
  function make(name, values = {}, ...children) {
    const made = document.createElement(name);
    Object.entries(values).forEach(([key, value]) => {
      if (key.startsWith('on')) {
        made.addEventListener(key.slice(2), value);
      } else if (value !== false && value !== null && value !== undefined) {
        made.setAttribute(key, value === true ? '' : value);
      }
    });
    made.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
    return made;
  }

  let closeOpen = null;

  /**
   * Show a dialog; Escape or a click beside it closes it with null.
   * content: called with `close(value)`; gives the elements.
   * Returns a promise of the value that it was closed with.
   */
  function show(title, content, wide = false) {
    close(null);
    return new Promise(resolve => {
      const finish = value => {
        if (closeOpen === finish) {
          closeOpen = null;
        }
        backdrop.remove();
        resolve(value);
      };
      const box = make('div', { class: wide ? 'wide' : '', role: 'dialog', 'aria-label': title },
        make('header', {}, make('h2', {}, title), make('button', { title: 'Close (Esc)', onclick: () => finish(null) }, '\u00d7')),
        ...[content(finish)].flat());
      const backdrop = make('div', { id: 'monai-dgm-dialog', onclick: event => event.target === backdrop && finish(null) }, box);
      closeOpen = finish;
      document.body.append(backdrop);
      (box.querySelector('[autofocus]') || box.querySelector('button')).focus();
    });
  }

  function close(value = null) {
    closeOpen?.(value);
  }

  const isOpen = () => closeOpen !== null;

  /** Ask a question; answers is a list of [value, words]. The first is chosen by Enter. */
  function ask(title, words, answers) {
    return show(title, finish => [
      make('p', {}, words),
      make('footer', {}, answers.map(([value, label], i) =>
        make('button', { autofocus: i === 0, 'data-answer': value, onclick: () => finish(value) }, label))),
    ]);
  }

  dgm.make = make;
  dgm.dialog = { show, close, isOpen, ask };
})();
