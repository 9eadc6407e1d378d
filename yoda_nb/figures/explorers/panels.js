// The image panels of an explorer, linked by one cursor, and the read-outs.

/** Clicks and drags on a canvas move the cursor on the slice of a view, which may follow the state. */
function followPointer(canvas, spec, viewOf, change) {
  const move = (event) =>
    change((s) => ({ cursor: pointed(event, canvas, spec.shape, { view: viewOf(s), cursor: s.cursor }) }));
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); move(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons & 1) move(event); });
}

/** Keys move the cursor on a slice and through slices. */
function followKeys(node, spec, viewOf, change) {
  node.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !moved(event.key, spec.shape, spec.initial)) return;
    event.preventDefault();
    change((s) => ({ cursor: moved(event.key, spec.shape, { view: viewOf(s), cursor: s.cursor }) }));
  });
}

/** What a click or drag means: the voxel of the current slice under the pointer. */
function pointed(event, canvas, shape, { view, cursor }) {
  const box = canvas.getBoundingClientRect(), size = extent(shape, view);
  const spot = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return toVoxel(spot.map((f, k) => clamp(Math.floor(f * size[k]), 0, size[k] - 1)), cursor, shape, view);
}

/** The cursor after a key: arrows move it on the slice, Page Up and Page Down through slices; null for other keys. */
function moved(key, shape, { view, cursor }) {
  const through = { PageUp: 1, PageDown: -1 }[key];
  if (through) return cursor.map((v, k) => (k === view ? v + through : v));
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  return step ? toVoxel(onSlice(cursor, shape, view).map((v, k) => v + step[k]), cursor, shape, view) : null;
}

const UNITS = [0, 1, ""];  // what black and white stand for, and their unit

/** A share of the grey scale in its panel's units; a difference has a sign and no offset. */
function inUnits(share, [low, high, unit], difference) {
  const found = (difference ? 0 : low) + (high - low) * share, sign = found < 0 ? "−" : difference ? "+" : "";
  return sign + (unit ? `${Math.abs(found).toFixed(0)} ${unit}` : Math.abs(found).toFixed(2));
}

function imagePanel(panel, spec, change) {
  const canvas = h("canvas"), name = h("span", { class: "yx-name" }), value = h("span", { class: "yx-value" });
  followPointer(canvas, spec, (s) => s.view, change);
  const node = h("div", { class: "yx-panel" }, h("div", { class: "yx-head" }, name, value), canvas);
  return { panel, canvas, name, value, node };
}

/** All panels; they are one tab stop. */
function images(spec, frames, change) {
  const columns = spec.columns.map((column) => column.map((panel) => imagePanel(panel, spec, change)));
  const scratch = document.createElement("canvas"), signed = differences(spec.limit);
  const keys = "Arrow keys move the cursor, Page Up and Page Down the slice.";
  const grid = h("div", { class: "yx-images", tabindex: 0, role: "application", "aria-label": `Images. ${keys}` },
    ...columns.map((column) => h("div", { class: "yx-column" }, ...column.map((item) => item.node))));
  followKeys(grid, spec, (s) => s.view, change);
  const [low, high] = [h("span"), h("span")];
  const scale = h("div", { class: "yx-scale" }, low, h("i"), high,
    h("span", {}, "difference; beyond the limits it keeps their colour"));
  scale.querySelector("i").style.background = PUOR_CSS;
  const place = h("p", { class: "yx-note" });

  function update(state) {
    const { view, cursor } = state, here = offset(cursor, spec.shape), grey = greys(state.window, state.level);
    const offsets = sliceOffsets(spec.shape, view, cursor[view]), outline = frames[at(spec.outline, state)];
    const aspect = aspectOf(spec.shape, spec.spacing, view), shown = [];
    for (const item of columns.flat()) {
      const { panel, canvas, name, value, node } = item;
      const frame = frames[at(panel.image, state)], minus = frames[at(panel.minus, state)];
      node.hidden = !frame || ("minus" in panel && !minus);
      if (node.hidden) continue;
      const units = at(panel.units, state) ?? UNITS, found = (frame[here] - (minus ? minus[here] : 0)) / 255;
      say(name, at(panel.title, state));
      say(value, inUnits(found, units, Boolean(minus)));
      if (item.view !== view) [item.view, canvas.style.aspectRatio] = [view, aspect];
      shown.push({ item, frame, minus, units });
    }
    const compared = shown.find(({ minus }) => minus);
    scale.hidden = !compared;
    [[low, -spec.limit], [high, spec.limit]].forEach(([node, edge]) => {
      if (compared) say(node, inUnits(edge, compared.units, true));
    });
    const voxel = cursor.map((v, k) => spec.origin[k] + v * spec.factor);
    const scales = new Set(shown.map(({ units }) => (units[2] ? `in ${units[2]}` : "on the [0,1] scale")));
    const where = `Cursor at voxel ${voxel.join(", ")}`;
    say(place, `${where}; beside each name the intensity there, ${[...scales].join(" or ")}.`);
    // all that changes the layout is done: measuring now costs one layout, not one for each panel
    const sizes = shown.map(({ item }) => [item.canvas.clientWidth, item.canvas.clientWidth / aspect]);
    const ratio = globalThis.devicePixelRatio || 1, { window, level, cross } = state;
    shown.forEach(({ item, frame, minus }, k) => {
      const { panel } = item, ids = [panel.image, panel.minus, spec.outline].map((value) => at(value, state));
      const drawn = [ids, view, cursor, window, level, cross, sizes[k], ratio].join();
      if (item.drawn === drawn) return;  // the picture is there already
      item.drawn = drawn;
      paint(item.canvas, scratch, {
        shape: spec.shape, offsets, view, ratio, size: sizes[k], onWhite: Boolean(minus),
        colour: minus ? (o) => signed[frame[o] - minus[o] + 255] : (o) => grey[frame[o]],
        outlines: outline ? [[outline, OUTLINE]] : [], cursor: cross ? cursor : null,
      });
    });
  }
  return { node: h("div", { class: "yx-view" }, grid, scale, place), update };
}

function readouts(spec) {
  const values = spec.readouts.map(() => h("strong"));
  const list = h("div", { class: "yx-readouts" },
    ...spec.readouts.map(({ label }, k) => h("div", {}, h("span", {}, label), values[k])));
  const live = h("p", { class: "yx-hidden", role: "status" });  // told when the reader pauses, not at every step
  let timer, before = null;
  function update(state) {
    const words = spec.readouts.map(({ value }) => at(value, state));
    values.forEach((node, k) => say(node, words[k]));
    const told = spec.readouts.map(({ label }, k) => `${label} ${words[k]}`).join(", ");
    if (told === before) return;
    clearTimeout(timer);
    if (before !== null) timer = setTimeout(() => say(live, told), 400);
    before = told;
  }
  return { node: h("div", {}, list, live), update, stop: () => clearTimeout(timer) };
}
