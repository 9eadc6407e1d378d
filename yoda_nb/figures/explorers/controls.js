// The form: sliders, selects and checkboxes over a state, and the state itself.
//
// state = {control: index into its values, ..., view: 0 sagittal | 1 coronal | 2 axial, cursor: voxel of the
// frames, window and level on the [0,1] scale, cross: 0 | 1}. A part of the page is {node, update(state)}.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** What a spec says in this state: anything may be {by: control, values: [...]}, chosen by the control's index. */
const at = (value, state) =>
  value && typeof value === "object" && "by" in value ? at(value.values[state[value.by]], state) : value;

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const say = (node, words) => { if (node.textContent !== words) node.textContent = words; };

/** The state with every value known and in its range; what is no number stays as it was in `last`. */
function clampState(spec, state, last) {
  const number = (value, fallback, low, high) =>
    clamp(Number.isFinite(value) ? value : typeof value === "boolean" ? +value : fallback, low, high);
  const whole = (...given) => Math.round(number(...given));
  return {
    ...Object.fromEntries(spec.controls.map(({ id, values }) => [id, whole(state[id], last[id], 0, values.length - 1)])),
    view: whole(state.view, last.view, 0, 2),
    cursor: last.cursor.map((v, k) => whole(state.cursor?.[k], v, 0, spec.shape[k] - 1)),
    window: number(state.window, last.window, 0.02, 2),
    level: number(state.level, last.level, 0, 1),
    cross: whole(state.cross, last.cross, 0, 1),
  };
}

function slider(label, { name, range, value, text }, change) {
  const input = h("input", { type: "range", name }), shown = h("span", { class: "yx-value", "aria-hidden": true });
  input.addEventListener("input", () => change(Number(input.value)));
  return {
    node: h("label", { class: "yx-field" }, h("span", {}, label), input, shown),
    update(state) {
      const [min, max, step] = range(state), words = text(state);
      Object.assign(input, { min, max, step });
      if (Number(input.value) !== value(state)) input.value = value(state);
      say(shown, words);
      input.setAttribute("aria-valuetext", words);
    },
  };
}

/** A ``colour`` is shown beside the label: that of what the checkbox draws. */
function checkbox(label, id, change, colour) {
  const input = h("input", { type: "checkbox", name: id });
  input.addEventListener("change", () => change({ [id]: +input.checked }));
  const key = colour ? [h("i", { class: "yx-key", style: `background: ${colour}` })] : [];
  const node = h("label", { class: "yx-check" }, input, ...key, label);
  return { node, update: (s) => { input.checked = Boolean(s[id]); } };
}

function select(label, id, values, change) {
  const input = h("select", { name: id }, ...values.map((words, index) => h("option", { value: index }, words)));
  input.addEventListener("change", () => change({ [id]: Number(input.value) }));
  return { node: h("label", { class: "yx-field" }, h("span", {}, label), input), update: (s) => { input.value = s[id]; } };
}

/** A control of the spec, of kind "slider", "select" or "check". */
function control({ id, kind, label, values, colour }, change) {
  if (kind === "check") return checkbox(label, id, change, colour);
  if (kind === "select") return select(label, id, values, change);
  const settings = { name: id, range: () => [0, values.length - 1, 1], value: (s) => s[id], text: (s) => values[s[id]] };
  return slider(label, settings, (index) => change({ [id]: index }));
}

/** The slice of a view, which may follow the state. */
function sliceSlider(spec, label, name, viewOf, change) {
  return slider(label, {
    name, range: (s) => [0, spec.shape[viewOf(s)] - 1, 1], value: (s) => s.cursor[viewOf(s)],
    text: (s) => `${VIEWS[viewOf(s)].name} ${s.cursor[viewOf(s)] + 1} of ${spec.shape[viewOf(s)]}`,
  }, (index) => change((s) => ({ cursor: s.cursor.map((v, k) => (k === viewOf(s) ? index : v)) })));
}

/** View and slice, unless all three planes are there; window, level, cross lines: what all panels share. */
function viewBar(spec, change) {
  const radios = VIEWS.map(({ name }, view) => {
    const input = h("input", { type: "radio", name: "view", value: view });
    input.addEventListener("change", () => change({ view }));
    return { node: h("label", { class: "yx-check" }, input, name), update: (s) => { input.checked = s.view === view; } };
  });
  const number = (label, name, low, high) => slider(label, {
    name, range: () => [low, high, 0.02], value: (s) => s[name], text: (s) => s[name].toFixed(2),
  }, (value) => change({ [name]: value }));
  const slice = spec.planes ? [] : [sliceSlider(spec, "Slice", "slice", (s) => s.view, change)];
  const others = [...slice, number("Window", "window", 0.02, 2), number("Level", "level", 0, 1),
    checkbox("Cross lines", "cross", change)];
  const views = h("fieldset", { class: "yx-views" }, h("legend", {}, "View"), ...radios.map((r) => r.node));
  const reset = h("button", { type: "button" }, "Reset view");
  const { view, cursor, window, level, cross } = spec.initial;
  reset.addEventListener("click", () => change({ view, cursor, window, level, cross }));
  return {
    node: h("div", { class: "yx-bar" }, ...(spec.planes ? [] : [views]), ...others.map((p) => p.node), reset),
    update: (s) => [...radios, ...others].forEach((p) => p.update(s)),
  };
}
