// Three planes through one point: of an image A, an image B or a blend, with outlines and a map of colours on top.

const TINT = 0.7;  // how much of a voxel's colour is that of the map

/** The panels and what steers them; spec.planes = {a, b, blend, cut, overlay, outlines: [{mask, colour}]}. */
function planes(spec, frames, change) {
  const { a, b, overlay, outlines } = spec.planes, scratch = document.createElement("canvas");
  const last = spec.controls.find(({ id }) => id === "blend").values.length - 1;
  const flip = h("button", { type: "button" }, "Flip A and B"), shown = h("strong", { "aria-live": "polite" });
  const swap = () => change((s) => ({ blend: s.blend < last / 2 ? last : 0 }));
  flip.addEventListener("click", swap);
  const panels = [2, 1, 0].map((view) => {
    const { name, cols, rows } = VIEWS[view], mm = (axis) => spec.shape[axis] * spec.spacing[axis], viewOf = () => view;
    const words = `${name}. Arrow keys move the point, Page Up and Page Down the slice, the space bar flips A and B.`;
    const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": words });
    canvas.style.aspectRatio = mm(cols) / mm(rows);
    followPointer(canvas, spec, viewOf, change);
    followKeys(canvas, spec, viewOf, change);
    const slice = sliceSlider(spec, "", `slice-${name}`, viewOf, change);
    slice.node.querySelector("input").setAttribute("aria-label", `${name} slice`);
    return { view, canvas, slice, node: h("div", { style: `--mm: ${mm(cols)}` }, canvas, slice.node) };
  });
  const grid = h("div", { class: "yx-planes" }, ...panels.map(({ node }) => node)), place = h("p", { class: "yx-note" });
  const stops = overlay ? overlay.colours : [[0, 0, 0], [0, 0, 0]];
  const map = Array.from({ length: 256 }, (_, level) => between(stops, level / 255));
  const scale = h("div", { class: "yx-scale" }, ...(overlay ? [
    h("span", {}, "0"), h("i", { style: `background: linear-gradient(to right, ${stops.map((c) => `rgb(${c})`)})` }),
    h("span", {}, overlay.high), h("span", {}, overlay.label)] : []));
  const node = h("div", { class: "yx-view" }, h("div", { class: "yx-flip" }, flip, shown), grid, scale, place);
  node.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target === flip) return;
    event.preventDefault();
    swap();
  });

  function update(state) {
    const [one, two] = [at(a, state), at(b, state)], [A, B] = [one, two].map(({ image }) => frames[at(image, state)]);
    const mix = state.blend / last, grey = greys(state.window, state.level), ratio = globalThis.devicePixelRatio || 1;
    const frameOf = (value) => frames[at(value, state)];
    const cut = frameOf(spec.planes.cut), tint = overlay && frameOf(overlay.image), inside = frames[spec.planes.mask];
    const lines = outlines.filter(({ mask }) => frameOf(mask)).map(({ mask, colour }) => [frameOf(mask), colour]);
    const colour = (o) => {
      if (cut && cut[o] < 128) return grey[0];
      const word = grey[Math.round(A[o] + mix * (B[o] - A[o]))];
      if (!tint || inside[o] < 128) return word;
      return rgba(...map[tint[o]].map((c) => Math.round(TINT * c + (1 - TINT) * (word & 255))));
    };
    const blend = `${Math.round(100 * (1 - mix))} % ${one.title}, ${Math.round(100 * mix)} % ${two.title}`;
    say(shown, mix === 0 ? `A: ${one.title}` : mix === 1 ? `B: ${two.title}` : blend);
    scale.hidden = !tint;
    const here = offset(state.cursor, spec.shape), voxel = state.cursor.map((v, k) => spec.origin[k] + v * spec.factor);
    const values = [[one, A], [two, B]].map(([item, frame], k) => {
      const units = at(item.units, state) ?? UNITS;
      return `${"AB"[k]} ${inUnits(frame[here] / 255, units, false)}${units[2] ? "" : " (arbitrary units)"}`;
    });
    if (tint) values.push(`spread ${Number(((tint[here] / 255) * overlay.limit).toPrecision(2))} ${overlay.unit}`);
    say(place, `Point at voxel ${voxel.join(", ")}: ${values.join(", ")}.`);
    for (const { slice } of panels) slice.update(state);
    const sizes = panels.map(({ canvas }) => [canvas.clientWidth, canvas.clientHeight]);
    panels.forEach(({ view, canvas }, k) => paint(canvas, scratch, {
      shape: spec.shape, offsets: sliceOffsets(spec.shape, view, state.cursor[view]), view, size: sizes[k], ratio, colour,
      outlines: lines, cursor: state.cross ? state.cursor : null,
    }));
  }
  return { node, update };
}
