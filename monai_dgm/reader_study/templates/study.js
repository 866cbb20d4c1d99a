// The page of a reader study. It holds one pair at a time; the server keeps all answers.
"use strict";
(() => {
  const part = (id) => document.getElementById(id);
  const sides = { left: part("left"), right: part("right") };
  const keys = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right" };
  const pause = 200; // ms after a pair appears in which a key that is still pressed counts for nothing
  let reader = "";
  let pair = null; // the pair that may be answered now
  let shown = 0;
  let repeat = null; // what "Try again" does

  const say = (words, problem = false) => {
    part("status").textContent = words;
    part("status").classList.toggle("problem", problem);
  };

  const show = (id) => {
    for (const name of ["enter", "trial", "finished"]) part(name).hidden = name !== id;
  };

  const usable = (yes) => {
    for (const button of Object.values(sides)) button.setAttribute("aria-disabled", String(!yes));
  };

  const post = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const content = await answer.json();
    if (!answer.ok) throw new Error(typeof content.detail === "string" ? content.detail : "the server refused this");
    return content;
  };

  // Both are asked for in random order, and appear together.
  const load = async (wanted) => {
    const order = Math.random() < 0.5 ? ["left", "right"] : ["right", "left"];
    const images = {};
    await Promise.all(order.map((side) => {
      images[side] = new Image();
      images[side].alt = side === "left" ? "Left image" : "Right image";
      images[side].draggable = false;
      images[side].src = `/images/${wanted[side]}.png`;
      return images[side].decode();
    }));
    for (const side of ["left", "right"]) sides[side].querySelector(".image").replaceChildren(images[side]);
  };

  const attempt = async (work) => {
    part("again").hidden = true;
    repeat = null;
    try {
      await work();
    } catch (error) {
      repeat = work;
      part("again").hidden = false;
      say(`Not done: ${error.message}. What you answered before is stored.`, true);
    }
  };

  const take = async (state) => {
    pair = null;
    part("progress").max = state.total;
    part("progress").value = state.done;
    part("count").textContent = `${state.done} of ${state.total}`;
    if (!state.pair) {
      show("finished");
      say("");
      part("finished").querySelector("h1").focus();
      return;
    }
    const first = part("trial").hidden;
    await load(state.pair);
    show("trial");
    if (first) part("question").focus();
    say(`Pair ${state.done + 1} of ${state.total}`);
    pair = state.pair;
    shown = performance.now();
    usable(true);
  };

  const choose = (side) => {
    if (!pair || performance.now() - shown < pause) return;
    const body = { reader, trial: pair.trial, choice: side, seconds: (performance.now() - shown) / 1000 };
    pair = null;
    usable(false);
    attempt(async () => take(await post("/answer", body)));
  };

  part("enter").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const state = await post("/next", { reader: part("reader").value });
      reader = state.reader;
      await take(state);
    } catch (error) {
      say(`Not started: ${error.message}.`, true);
      part("reader").focus();
    }
  });

  part("again").addEventListener("click", () => {
    if (repeat) attempt(repeat);
  });

  part("stop").addEventListener("click", () => {
    pair = null;
    show("enter");
    say("Your answers are stored. Give the same code to go on.");
    part("reader").focus();
  });

  for (const side of ["left", "right"]) sides[side].addEventListener("click", () => choose(side));

  document.addEventListener("keydown", (event) => {
    const side = keys[event.key];
    if (!side || part("trial").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    choose(side);
  });

  part("reader").focus();
})();
