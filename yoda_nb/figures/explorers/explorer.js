// mount() draws one explorer from its spec and frames: live as a widget, and in a page without kernel or network.

/** Draw into el; frames: {id: Uint8Array}. Returns {setState, destroy}; onChange(state) tells of the reader's changes. */
export function mount(el, spec, frames, { state = {}, onChange = () => {} } = {}) {
  let current = clampState(spec, state, spec.initial), waiting = 0;
  const draw = () => { waiting = 0; parts.forEach((part) => part.update(current)); };
  const redraw = () => { waiting ||= requestAnimationFrame(draw); };  // once a frame, with the last value
  const change = (patch) => {
    current = clampState(spec, { ...current, ...(typeof patch === "function" ? patch(current) : patch) }, current);
    redraw();
    onChange(current);
  };
  const controls = spec.controls.map((item) => control(item, change));
  const charts = spec.charts.map((item) => chart(item, (index) => change({ [item.control]: index })));
  const shared = viewBar(spec, change), facts = readouts(spec);
  const pictures = (spec.planes ? planes : images)(spec, frames, change);
  const parts = [...controls, ...charts, shared, pictures, facts];

  const row = (name, items) => (items.length ? [h("div", { class: name }, ...items.map((item) => item.node))] : []);
  const words = (name, texts) => texts.filter(Boolean).map((text) => h("p", { class: name }, text));
  // a form makes a group of its own of the radio buttons
  const root = h("form", { class: "yx", "aria-label": spec.title || "Explorer" },
    ...words("yx-title", [spec.title]), ...row("yx-bar", controls), facts.node,
    h("div", { class: charts.length > 1 ? "yx-body yx-wide" : "yx-body" }, ...row("yx-charts", charts), pictures.node),
    shared.node,
    ...words("yx-note", [spec.note, spec.caption]));
  root.addEventListener("submit", (event) => event.preventDefault());
  // JupyterLab's shortcuts would take the arrow keys; it asks the very element that has the focus
  for (const node of root.querySelectorAll("input, select, button, [tabindex], [role=radio]"))
    node.setAttribute("data-lm-suppress-shortcuts", "true");
  el.replaceChildren(root);
  const sizes = new ResizeObserver(redraw);
  sizes.observe(pictures.node);
  draw();
  return {
    setState: (next) => { current = clampState(spec, next, current); redraw(); },
    destroy: () => { sizes.disconnect(); cancelAnimationFrame(waiting); facts.stop(); root.remove(); },
  };
}

/** The voxels of a frame: bytes of gzip, or a picture (WebP) of its slices side by side and below one another. */
async function inflate(bytes, shape) {
  if (new Uint8Array(bytes.buffer, bytes.byteOffset, 1)[0] === 0x52)
    return fromPicture(await createImageBitmap(new Blob([bytes], { type: "image/webp" })), shape);
  if (!("DecompressionStream" in globalThis)) throw new Error("this browser is too old (it lacks DecompressionStream)");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromPicture(picture, [deep, high, wide]) {
  const { width, height } = picture, across = width / wide, voxels = new Uint8Array(deep * high * wide);
  const pen = h("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0);
  const { data } = pen.getImageData(0, 0, width, height);
  for (let v = 0; v < voxels.length; v++) {
    const slice = Math.floor(v / (high * wide)), row = Math.floor(v / wide) % high;
    const y = Math.floor(slice / across) * high + row, x = (slice % across) * wide + (v % wide);
    voxels[v] = data[4 * (y * width + x)];
  }
  return voxels;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** Resolve {id: promise of a Uint8Array}. */
const settle = async (frames) =>
  Object.fromEntries(await Promise.all(Object.entries(frames).map(async ([id, frame]) => [id, await frame])));

/** anywidget's entry: spec, frames (gzip by id) and state are traits of the model. */
async function render({ model, el }) {
  let view, timer, gone = false;
  const onChange = (state) => {  // the kernel hears of a drag's last value, not of all
    clearTimeout(timer);
    timer = setTimeout(() => { timer = undefined; model.set("state", state); model.save_changes(); }, 60);
  };
  const show = async () => {
    const spec = model.get("spec"), packed = Object.entries(model.get("frames"));
    const frames = await settle(Object.fromEntries(packed.map(([id, bytes]) => [id, inflate(bytes, spec.shape)])));
    if (gone || spec !== model.get("spec")) return;  // a newer spec is on its way
    view?.destroy();
    view = mount(el, spec, frames, { state: model.get("state"), onChange });
  };
  const follow = () => { if (timer === undefined) view?.setState(model.get("state")); };  // not while the reader moves
  model.on("change:spec", show);
  model.on("change:state", follow);
  await show();
  return () => {
    gone = true;
    clearTimeout(timer);
    model.off("change:spec", show);
    model.off("change:state", follow);
    view?.destroy();
  };
}
export default { render };

/** In a page each static twin gives way to its explorer; where that fails the twin stays and says why. */
export async function mountPage(page) {
  const found = new Map();  // a frame is decoded once, however many explorers show it
  const read = (id, shape) => {
    const node = page.querySelector(`script[data-yx-frame="${id}"]`);
    if (!node) throw new Error("its images were left out to keep the page small");
    return inflate(fromBase64(node.textContent), shape);
  };
  for (const host of page.querySelectorAll(".yx-host")) {
    try {
      const spec = JSON.parse(host.querySelector("script[data-yx-spec]").textContent);
      for (const id of spec.frames) if (!found.has(id)) found.set(id, read(id, spec.shape));
      const frames = await settle(Object.fromEntries(spec.frames.map((id) => [id, found.get(id)])));
      const place = h("div");
      host.replaceWith(place);
      mount(place, spec, frames);
    } catch (error) {
      const words = `This picture stays still: ${error.message}. It is interactive in JupyterLab.`;
      host.append(h("p", { class: "yx-note" }, words));
    }
  }
}
