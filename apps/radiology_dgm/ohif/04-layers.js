// One map over the radiograph and under the boxes: residue, saliency or normal image. The server sends grey levels; they
// are coloured here, so opacity and threshold change at once. The map follows zoom, pan, flips, and of the normal image
// also the window.
(function () {
  'use strict';
  const dgm = (window.monaiDgm = window.monaiDgm || {});
  const CLASS = 'monai-dgm-layer';
  // colours of levels as in the reports (monai_dgm/report/colours.py): [share of the levels, red, green, blue]
  const RESIDUE = [[0, 214, 240, 255], [0.18, 94, 186, 255], [0.36, 24, 84, 168], [0.5, 8, 9, 12], [0.64, 156, 62, 10],
    [0.82, 255, 158, 36], [1, 255, 241, 205]];
  const HEAT = [[0, 190, 20, 70], [0.35, 240, 70, 40], [0.7, 255, 170, 30], [1, 255, 247, 160]];
  const WARNING = 'SYNTHETIC, NOT FOR DIAGNOSIS';

  const settings = { name: 'residue', opacity: 0.7, threshold: 0.15 };
  const loaded = new Map(); // "name image" -> promise of levels
  const placed = new Map(); // viewport id -> {name, remove, paint}

  /** 256 colours, interpolated between anchors. */
  function palette(anchors) {
    return Array.from({ length: 256 }, (_, level) => {
      const share = level / 255;
      const next = Math.max(1, anchors.findIndex(anchor => anchor[0] >= share));
      const [low, high] = [anchors[next - 1], anchors[next]];
      const part = (share - low[0]) / (high[0] - low[0]);
      return [1, 2, 3].map(i => Math.round(low[i] + part * (high[i] - low[i])));
    });
  }

  const PALETTES = { residue: palette(RESIDUE), saliency: palette(HEAT), uncertainty: palette(HEAT) };

  /** How far a level is from "nothing", in [0, 1]: the distance from 128 for the residue, else the level. */
  const strength = (name, level) => (name === 'residue' ? Math.abs(level - 128) / 127 : level / 255);

  /** The levels of a map: {width, height, levels}. */
  function levelsOf(name, image) {
    const key = `${name} ${image}`;
    if (!loaded.has(key)) {
      const promise = dgm.server.layer(name, image).then(async blob => {
        const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none' });
        const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
        const context = canvas.getContext('2d', { willReadFrequently: true });
        context.drawImage(bitmap, 0, 0);
        const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
        const levels = Uint8Array.from({ length: data.length / 4 }, (_, i) => data[4 * i]);
        return { width: bitmap.width, height: bitmap.height, levels };
      });
      promise.catch(() => loaded.delete(key)); // asked again next time
      loaded.set(key, promise);
      while (loaded.size > 8) {
        loaded.delete(loaded.keys().next().value);
      }
    }
    return loaded.get(key);
  }

  /** RGBA of each of the 256 levels of a heat map by the present threshold. */
  function heatTable(name) {
    return PALETTES[name].map((colour, level) => [...colour, strength(name, level) > settings.threshold ? 255 : 0]);
  }

  function paint(canvas, { width, height, levels }, table) {
    const context = canvas.getContext('2d');
    const pixels = context.createImageData(width, height);
    const words = new Uint32Array(pixels.data.buffer);
    const packed = Uint32Array.from(table, ([r, g, b, a]) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0);
    for (let i = 0; i < levels.length; i += 1) {
      words[i] = packed[levels[i]];
    }
    context.putImageData(pixels, 0, 0);
  }

  /** Move the corners of the canvas to those of the radiograph. */
  function align(canvas, shown) {
    const [cols, rows] = shown.imageData.getDimensions();
    const [origin, right, down] = [[0, 0], [cols, 0], [0, rows]].map(([x, y]) =>
      shown.viewport.worldToCanvas(dgm.geometry.toWorld(shown, x, y))
    );
    const sides = [canvas.width, canvas.height];
    const along = [right, down].map((corner, i) => corner.map((value, j) => (value - origin[j]) / sides[i]));
    canvas.style.transform = `matrix(${[...along[0], ...along[1], ...origin].join(',')})`;
  }

  /** Lay a canvas over a viewport; it follows the radiograph until it is hidden or another image is shown. */
  function place(shown, name, size, repaint) {
    hide(shown.viewportId);
    const { element } = shown.viewport;
    const events = window.cornerstone.Enums.Events;
    const canvas = Object.assign(document.createElement('canvas'), { className: CLASS, width: size.width, height: size.height });
    canvas.dataset.layer = name;
    canvas.title = WARNING;
    const follow = () => align(canvas, shown);
    const update = () => repaint(canvas);
    const leave = () => shown.viewport.getCurrentImageId() !== shown.imageId && hide(shown.viewportId);
    const listeners = [[events.CAMERA_MODIFIED, follow], [events.IMAGE_RENDERED, follow], [events.STACK_NEW_IMAGE, leave],
      [events.VOI_MODIFIED, update]];
    element.querySelector('canvas').after(canvas);
    listeners.forEach(([event, listener]) => element.addEventListener(event, listener));
    placed.set(shown.viewportId, {
      name,
      repaint: update,
      remove() {
        canvas.remove();
        listeners.forEach(([event, listener]) => element.removeEventListener(event, listener));
      },
    });
    update();
    follow();
  }

  /** Remove the map of a viewport; of all viewports without an id. */
  function hide(viewportId) {
    [...placed.keys()]
      .filter(id => viewportId === undefined || id === viewportId)
      .forEach(id => {
        placed.get(id).remove();
        placed.delete(id);
      });
  }

  /** Name of the map over a viewport, or null. */
  const current = viewportId => placed.get(viewportId)?.name || null;

  /** Show a heat map over the displayed radiograph. */
  async function show(shown, name) {
    const map = await levelsOf(name, shown.image);
    place(shown, name, map, canvas => {
      canvas.style.opacity = settings.opacity;
      paint(canvas, map, heatTable(name));
    });
    settings.name = name;
  }

  /**
   * How the grey levels of the server's pictures follow from stored values of the viewer: level = gain * value + offset,
   * by least squares over pixels that are neither black nor white. So the reader's polarity and window need no rule here.
   */
  async function calibration(shown) {
    const picture = await levelsOf('radiograph', shown.image);
    const [cols, rows] = shown.imageData.getDimensions();
    const values = shown.viewport.getImageData().scalarData;
    const sums = { n: 0, x: 0, y: 0, xx: 0, xy: 0 };
    for (let i = 0; i < 4000; i += 1) {
      const [u, v] = [((i * 0.754877666) % 1), ((i * 0.569840296) % 1)]; // spread evenly
      const y = picture.levels[Math.floor(v * picture.height) * picture.width + Math.floor(u * picture.width)];
      const x = values[Math.floor(v * rows) * cols + Math.floor(u * cols)];
      if (y > 8 && y < 247) {
        sums.n += 1;
        sums.x += x;
        sums.y += y;
        sums.xx += x * x;
        sums.xy += x * y;
      }
    }
    const gain = (sums.n * sums.xy - sums.x * sums.y) / (sums.n * sums.xx - sums.x * sums.x) || 1;
    return { gain, offset: (sums.y - gain * sums.x) / sums.n };
  }

  /** Show the normal image in the place of the radiograph, through the window of the viewport. */
  async function showNormal(shown) {
    const [map, { gain, offset }] = await Promise.all([levelsOf('normal', shown.image), calibration(shown)]);
    place(shown, 'normal', map, canvas => {
      const { voiRange, invert } = shown.viewport.getProperties();
      const grey = Array.from({ length: 256 }, (_, level) => {
        const share = ((level - offset) / gain - voiRange.lower) / (voiRange.upper - voiRange.lower);
        const clipped = Math.min(1, Math.max(0, share));
        return Math.round(255 * (invert ? 1 - clipped : clipped));
      });
      canvas.style.opacity = 1;
      paint(canvas, map, grey.map(value => [value, value, value, 255]));
      const context = canvas.getContext('2d');
      context.font = `${Math.round(canvas.height / 40)}px Arial, sans-serif`;
      context.fillStyle = 'rgb(255, 214, 64)';
      context.fillText(WARNING, canvas.width / 60, canvas.height / 30);
    });
  }

  /** Change opacity or threshold, both in [0, 1]. */
  function set(values) {
    Object.entries(values).forEach(([name, value]) => {
      settings[name] = typeof value === 'number' ? Math.min(1, Math.max(0, Math.round(value * 100) / 100)) : value;
    });
    placed.forEach(one => one.repaint());
  }

  /** CSS gradient of a map's colours, from the lowest to the highest value. */
  const gradient = name =>
    `linear-gradient(90deg, ${PALETTES[name].filter((_, i) => i % 15 === 0).map(rgb => `rgb(${rgb})`).join(', ')})`;

  dgm.layers = { show, showNormal, hide, current, set, settings, gradient };
})();
