// Points and lines in SVG. Points that stand for a control's values are picked by mouse or by arrow keys.

const SVG = "http://www.w3.org/2000/svg";
const MARKERS = {
  o: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z", s: "M-4.5,-4.5h9v9h-9Z", D: "M0,-6L6,0L0,6L-6,0Z",
  v: "M-5.5,-4.5H5.5L0,5.5Z", "^": "M-5.5,4.5H5.5L0,-5.5Z", P: "M-2,-5.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5v-4h3.5Z",
  "*": "M0,-7 1.7,-2.2 6.7,-2.2 2.7,.9 4.1,5.7 0,2.8 -4.1,5.7 -2.7,.9 -6.7,-2.2 -1.7,-2.2Z",
};
const DASHES = { solid: null, dashed: "6 4", dotted: "1.5 3.5" };

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** About n round numbers, or whole ones, between low and high; on a log axis the 1, 2, 5 of each decade. */
function ticks({ low, high, whole }, n, log) {
  const found = [];
  if (log) {
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      for (const m of [1, 2, 5]) if (m * 10 ** e >= low * 0.999 && m * 10 ** e <= high * 1.001) found.push(m * 10 ** e);
    return found;
  }
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(power * [1, 2, 5, 10].find((m) => m * power >= raw), whole ? 1 : 0);
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}
const tickText = (value) => String(Number(value.toPrecision(3)));

/** value -> pixel over the values given, with a margin; never of zero width. */
function axis(values, from, to, log, margin = 0.07) {
  const f = log ? Math.log10 : (v) => v;
  let low = Math.min(...values.map(f)), high = Math.max(...values.map(f));
  const pad = (high - low) * margin || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - pad, high + pad];
  const scale = (v) => from + ((f(v) - low) / (high - low)) * (to - from);
  return { scale, low: log ? 10 ** low : low, high: log ? 10 ** high : high, whole: values.every(Number.isInteger) };
}

/** Label positions that do not cover points or one another: right, left, above, below, else right. */
function placeLabels(points, right) {
  const taken = points.map(({ px, py }) => [px - 6, py - 6, px + 6, py + 6]);
  const free = (box) => box[0] > 0 && box[2] < right
    && !taken.some((t) => box[0] < t[2] && box[2] > t[0] && box[1] < t[3] && box[3] > t[1]);
  return points.map(({ px, py, label }) => {
    const w = 6.3 * label.length;
    const spots = [[px + 13, py + 4], [px - 13 - w, py + 4], [px - w / 2, py - 13], [px - w / 2, py + 22],
      [px + 8, py - 9], [px + 8, py + 18], [px - 8 - w, py - 9], [px - 8 - w, py + 18]];
    const boxes = spots.map(([x, y]) => [x, y - 10, x + w, y + 2]), k = Math.max(boxes.findIndex(free), 0);
    taken.push(boxes[k]);
    return spots[k];
  });
}

/** The frame of a chart: axes with their ticks and labels, horizontal rules. */
function scaffold(spec, edge, x, y) {
  const text = (words, attributes) => svg("text", attributes, words);
  const middle = { "text-anchor": "middle" }, end = { "text-anchor": "end" };
  return [
    ...ticks(x, 5, spec.log_x).flatMap((v) => [
      svg("path", { d: `M${x.scale(v)},${edge.bottom}v4`, class: "yx-axis" }),
      text(tickText(v), { x: x.scale(v), y: edge.bottom + 17, ...middle })]),
    ...ticks(y, 4).flatMap((v) => [
      svg("path", { d: `M${edge.left},${y.scale(v)}H${edge.right}`, class: "yx-grid" }),
      text(tickText(v), { x: edge.left - 6, y: y.scale(v) + 4, ...end })]),
    svg("path", { d: `M${edge.left},${edge.top}V${edge.bottom}H${edge.right}`, class: "yx-axis" }),
    text(spec.x_label, { x: (edge.left + edge.right) / 2, y: spec.size[1] - 8, ...middle }),
    text(spec.y_label, { transform: `translate(13 ${(edge.top + edge.bottom) / 2}) rotate(-90)`, ...middle }),
    ...spec.rules.flatMap((rule) => [
      svg("path", { d: `M${edge.left},${y.scale(rule.y)}H${edge.right}`, class: "yx-rule" }),
      text(rule.label, { x: edge.right, y: y.scale(rule.y) - 4, ...end })]),
  ];
}

const colourOf = ({ colour }) => (colour === "#000000" ? "currentColor" : colour);
const lineOf = (series, d) =>
  svg("path", { d, class: "yx-line", stroke: colourOf(series), "stroke-dasharray": DASHES[series.line] });
const markerOf = (series) => svg("path", { d: MARKERS[series.marker] ?? MARKERS.o, fill: colourOf(series) });

function legendOf(series) {
  const key = (s) => svg("svg", { viewBox: "-14 -8 28 16", "aria-hidden": true },
    ...(s.line ? [lineOf(s, "M-14,0H14")] : []), ...(s.marker ? [markerOf(s)] : []));
  return h("p", { class: "yx-legend" }, ...series.map((s) => h("span", {}, key(s), s.name)));
}

const KEYS = {
  ArrowRight: ["px", 1], ArrowLeft: ["px", -1], ArrowUp: ["py", -1], ArrowDown: ["py", 1],
  Home: ["px", -Infinity], End: ["px", Infinity],
};

/** A chart as a part; pick(index) is called with a value's index of the control spec.control. */
function chart(spec, pick) {
  const [width, height] = spec.size, edge = { left: 58, right: width - 12, top: 12, bottom: height - 44 };
  const all = spec.series.flatMap((s) => s.points);
  const x = axis(all.map((p) => p[0]), edge.left, edge.right, spec.log_x);
  const y = axis([...all.map((p) => p[1]), ...spec.rules.map((r) => r.y)], edge.bottom, edge.top, false);
  const group = { viewBox: `0 0 ${width} ${height}`, role: "radiogroup", "aria-label": spec.title, class: "yx-chart" };
  const root = svg("svg", group, ...scaffold(spec, edge, x, y));
  const guide = root.appendChild(svg("path", { class: "yx-guide" })), rings = root.appendChild(svg("g"));

  const points = [];  // those that stand for a value of the control
  const taken = new Set();  // the first point of each value takes the focus; others only mark it
  for (const series of spec.series) {
    const placed = series.points.map(([a, b]) => [x.scale(a), y.scale(b)]);
    if (series.line) root.append(lineOf(series, "M" + placed.join("L")));
    if (!series.marker) continue;
    placed.forEach(([px, py], i) => {
      const index = series.picks[i], radio = !taken.has(index), name = series.names[i];
      taken.add(index);
      const role = radio ? { role: "radio", "aria-label": name, "data-pick": index } : { "aria-hidden": true };
      const node = svg("g", { transform: `translate(${px} ${py})`, class: "yx-point", ...role },
        svg("circle", { r: 11, class: "yx-target" }), markerOf(series));
      root.append(node);
      points.push({ px, py, index, node, radio, label: series.labels[i] });
    });
  }
  const labelled = points.filter((p) => p.label);
  placeLabels(labelled, width - 2).forEach(([px, py], i) =>
    root.append(svg("text", { x: px, y: py, class: "yx-label" }, labelled[i].label)));

  const radios = points.filter((p) => p.radio);
  root.addEventListener("click", (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(root.getScreenCTM().inverse());
    const far = ({ px, py }) => (spec.guide ? Math.abs(px - place.x) : Math.hypot(px - place.x, py - place.y));
    pick(points.reduce((a, b) => (far(b) < far(a) ? b : a)).index);
  });
  root.addEventListener("keydown", (event) => {
    const [along, by] = KEYS[event.key] ?? [], here = radios.find((p) => p.node === event.target);
    if (!along || !here) return;
    event.preventDefault();
    const order = [...radios].sort((a, b) => a[along] - b[along] || a.index - b.index);
    const next = order[clamp(order.indexOf(here) + by, 0, order.length - 1)];
    pick(next.index);
    next.node.focus();
  });

  let shown = null;
  function update(state) {
    const index = state[spec.control];
    if (shown === index) return;
    shown = index;
    const marked = points.filter((p) => p.index === index), focus = radios.find((p) => p.index === index) ?? radios[0];
    rings.replaceChildren(...marked.map((p) => svg("circle", { cx: p.px, cy: p.py, r: 10, class: "yx-ring" })));
    guide.setAttribute("d", spec.guide && marked.length ? `M${marked[0].px},${edge.top}V${edge.bottom}` : "");
    for (const p of radios) {
      p.node.setAttribute("aria-checked", p.index === index);
      p.node.setAttribute("tabindex", p === focus ? 0 : -1);
    }
  }
  const named = spec.series.filter((s) => s.name);
  const legend = named.length ? [legendOf(named)] : [];
  const node = h("div", { class: "yx-plot" }, h("p", { class: "yx-name" }, spec.title), root, ...legend);
  return { node, update };
}
