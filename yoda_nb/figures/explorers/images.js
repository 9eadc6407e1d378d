// Slices of 8-bit volumes on canvases. A frame is a Uint8Array (D,H,W), axes RAS+, 0..255 = [0,1].

const VIEWS = [
  { name: "sagittal", cols: 1, rows: 2, ends: ["P", "A", "S", "I"] },
  { name: "coronal", cols: 0, rows: 2, ends: ["R", "L", "S", "I"] },
  { name: "axial", cols: 0, rows: 1, ends: ["R", "L", "A", "P"] },
];
// ColorBrewer's PuOr, as matplotlib runs it: orange below zero, purple above
const PUOR = ["7f3b08", "b35806", "e08214", "fdb863", "fee0b6", "f7f7f7", "d8daeb", "b2abd2", "8073ac", "542788", "2d004b"]
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
const PUOR_CSS = `linear-gradient(to right, ${PUOR.map((rgb) => `rgb(${rgb})`).join(",")})`;
const OUTLINE = "#f0e442";

/** The shape of a slice in voxels, [columns, rows]. */
const extent = (shape, view) => [shape[VIEWS[view].cols], shape[VIEWS[view].rows]];

/** Where a voxel lies on its slice, [column, row], and back; radiological, superior or anterior up. */
function onSlice(voxel, shape, view) {
  const { cols, rows } = VIEWS[view];
  return [cols === 0 ? shape[0] - 1 - voxel[0] : voxel[cols], shape[rows] - 1 - voxel[rows]];
}
function toVoxel([column, row], cursor, shape, view) {
  const { cols, rows } = VIEWS[view], voxel = [...cursor];
  voxel[cols] = cols === 0 ? shape[0] - 1 - column : column;
  voxel[rows] = shape[rows] - 1 - row;
  return voxel;
}

const offset = (voxel, shape) => (voxel[0] * shape[1] + voxel[1]) * shape[2] + voxel[2];

/** Offsets into a frame of every pixel of a slice, row by row. */
function sliceOffsets(shape, view, index) {
  const [w, h] = extent(shape, view), offsets = new Uint32Array(w * h), cursor = [0, 0, 0];
  cursor[view] = index;
  for (let row = 0, p = 0; row < h; row++)
    for (let column = 0; column < w; column++, p++)
      offsets[p] = offset(toVoxel([column, row], cursor, shape, view), shape);
  return offsets;
}

const rgba = (r, g, b) => (255 << 24) | (b << 16) | (g << 8) | r;

/** Grey of each of the 256 levels under a window and a level on the [0,1] scale. */
function greys(window, level) {
  return Uint32Array.from({ length: 256 }, (_, v) => {
    const grey = Math.round(255 * clamp((v / 255 - level) / window + 0.5, 0, 1));
    return rgba(grey, grey, grey);
  });
}

/** The colour [r, g, b] at a share of a map that its stops describe. */
function between(stops, share) {
  const x = clamp(share, 0, 1) * (stops.length - 1), i = Math.min(Math.floor(x), stops.length - 2);
  return stops[i].map((c, k) => Math.round(c + (x - i) * (stops[i + 1][k] - c)));
}

/** Colour of each of the 511 differences of levels, white at zero, full at plus and minus limit. */
const differences = (limit) =>
  Uint32Array.from({ length: 511 }, (_, d) => rgba(...between(PUOR, ((d - 255) / 255 / limit + 1) / 2)));

/** Width over height of a slice. */
function aspectOf(shape, spacing, view) {
  const [w, h] = extent(shape, view), { cols, rows } = VIEWS[view];
  return (w * spacing[cols]) / (h * spacing[rows]);
}

/** One slice of voxels of a colour by offset, with outlines [mask, colour], filling a canvas of `size` pixels on screen. */
function paint(canvas, scratch, { shape, offsets, view, size, ratio, colour, outlines, cursor, onWhite }) {
  const [w, h] = extent(shape, view), { ends } = VIEWS[view];
  const [width, height] = size.map((n) => Math.max(1, Math.round(n * ratio)));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];

  if (scratch.width !== w || scratch.height !== h) [scratch.width, scratch.height] = [w, h];
  const pen = scratch.getContext("2d", { willReadFrequently: true }), pixels = pen.createImageData(w, h);
  const words = new Uint32Array(pixels.data.buffer);
  for (let p = 0; p < words.length; p++) words[p] = colour(offsets[p]);
  pen.putImageData(pixels, 0, 0);

  const context = canvas.getContext("2d");
  context.drawImage(scratch, 0, 0, width, height);
  const scale = [width / w, height / h];
  for (const [mask, ink] of outlines) strokeOutline(context, mask, ink, offsets, [w, h], scale, ratio);
  if (cursor) strokeCross(context, onSlice(cursor, shape, view), scale, width, height, ratio, onWhite);
  context.font = `bold ${12 * ratio}px sans-serif`;
  const low = height - 5 * ratio, edge = 4 * ratio;
  const places = [["left", edge, low], ["right", width - edge, low], ["center", width / 2, 14 * ratio], ["center", width / 2, low]];
  [context.strokeStyle, context.fillStyle] = onWhite ? ["#fff", "#000"] : ["#000", "#fff"];
  context.lineWidth = 3 * ratio;
  ends.forEach((letter, k) => {
    const [align, x, y] = places[k];
    context.textAlign = align;
    context.strokeText(letter, x, y);
    context.fillText(letter, x, y);
  });
}

/** The edges between the voxels of a mask and the others, dark below bright to show on any ground. */
function strokeOutline(context, mask, ink, offsets, [w, h], [sx, sy], ratio) {
  const inside = (c, r) => c >= 0 && r >= 0 && c < w && r < h && mask[offsets[r * w + c]] > 127;
  context.beginPath();
  for (let r = 0; r <= h; r++)
    for (let c = 0; c <= w; c++) {
      if (inside(c, r) !== inside(c - 1, r)) { context.moveTo(c * sx, r * sy); context.lineTo(c * sx, (r + 1) * sy); }
      if (inside(c, r) !== inside(c, r - 1)) { context.moveTo(c * sx, r * sy); context.lineTo((c + 1) * sx, r * sy); }
    }
  for (const [colour, width] of [["#000", 3], [ink, 1.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.stroke();
  }
}

/** Thin cross lines that leave the voxel under the cursor free. */
function strokeCross(context, [column, row], [sx, sy], width, height, ratio, onWhite) {
  const x = (column + 0.5) * sx, y = (row + 0.5) * sy, gap = 2.5;
  context.beginPath();
  for (const [x0, y0, x1, y1] of [
    [0, y, x - gap * sx, y], [x + gap * sx, y, width, y], [x, 0, x, y - gap * sy], [x, y + gap * sy, x, height],
  ]) if (x1 > x0 || y1 > y0) { context.moveTo(x0, y0); context.lineTo(x1, y1); }
  context.strokeStyle = onWhite ? "rgba(0,80,160,.7)" : "rgba(86,180,233,.8)";
  context.lineWidth = ratio;
  context.stroke();
}
