// The figure of the start page and the playground: W0, B, A, s B A and W0 + s B A on one scale, singular values, curves.
// Every picture has its content as text, for those who do not see it.
const SVG = "http://www.w3.org/2000/svg";
const BLUE = [0, 114, 178], ORANGE = [230, 159, 0];

export function unpack({ shape, unit, levels }) {
  const bytes = Int8Array.from(atob(levels), (letter) => letter.charCodeAt(0));
  return { shape, data: Float32Array.from(bytes, (level) => level * unit) };
}

// s B A, (d, k).
function product(B, A, s) {
  const [d, r] = B.shape, k = A.shape[1], data = new Float32Array(d * k);
  for (let i = 0; i < d; i++)
    for (let p = 0; p < r; p++) {
      const b = s * B.data[i * r + p];
      if (b) for (let j = 0; j < k; j++) data[i * k + j] += b * A.data[p * k + j];
    }
  return { shape: [d, k], data };
}

const largest = (data) => data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// A value from -1 to 1 as a colour. The root makes small values visible; the legend says so.
function tint(value, frozen) {
  const size = Math.sqrt(Math.min(1, Math.abs(value)));
  if (frozen) return Array(3).fill(Math.round(255 - (value < 0 ? 95 : 215) * size));
  const ink = value < 0 ? ORANGE : BLUE;
  return ink.map((part) => Math.round(255 + (part - 255) * size));
}

function paint(canvas, { shape: [rows, columns], data }, scale, frozen) {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (let i = 0; i < data.length; i++) image.data.set([...tint(data[i] / scale, frozen), 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function make(tag, attributes, parent, text) {
  const element = tag === "canvas" || !parent?.namespaceURI?.includes("svg") && tag !== "svg" ? document.createElement(tag) : document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

const MATRICES = {
  W0: ["W₀", "frozen"], B: ["B", "trained"], A: ["A", "trained"], dW: ["s B A", "the update"], W: ["W₀ + s B A", "what runs"],
};
const SIGNS = { B: "+ s ·", A: "·", dW: "=", W: "→" };

export class Figure {
  constructor(root) {
    this.matrices = make("div", { class: "matrices" }, root);
    this.canvases = {};
    for (const [name, [symbol, role]] of Object.entries(MATRICES)) {
      if (SIGNS[name]) make("span", { class: `sign ${name}`, "aria-hidden": "true" }, this.matrices, SIGNS[name]);
      const figure = make("figure", { class: name }, this.matrices);
      this.canvases[name] = make("canvas", { role: "img", id: `matrix-${name}` }, figure);
      const caption = make("figcaption", {}, figure);
      make("b", {}, caption, symbol);
      make("span", {}, caption, ` ${role}`);
    }
    this.legend = make("p", { class: "note legend" }, root);
    const charts = make("div", { class: "charts" }, root);
    this.bars = chart(charts, "Singular values of s B A", 300, 190);
    // A drawing is shrunk to its column, letters too, so a narrow window gets a narrow one.
    this.lines = chart(charts, "Loss on held-out text (nats per byte)", innerWidth < 500 ? 330 : 460, 190);
  }

  // {W0, A, B, s, singular}
  draw({ W0, A, B, s, singular }) {
    const dW = product(B, A, s), W = { shape: W0.shape, data: W0.data.map((value, i) => value + dW.data[i]) };
    const all = { W0, B, A, dW, W }, scale = Math.max(...Object.values(all).map(({ data }) => largest(data)));
    for (const [name, matrix] of Object.entries(all)) {
      const canvas = this.canvases[name], [rows, columns] = matrix.shape;
      paint(canvas, matrix, scale, name === "W0" || name === "W");
      canvas.style.aspectRatio = name === "A" || name === "B" ? "" : `${columns} / ${rows}`;
      canvas.setAttribute("aria-label", `${MATRICES[name].join(", ")}: ${rows} by ${columns}, largest entry ${largest(matrix.data).toPrecision(3)}`);
    }
    this.matrices.style.setProperty("--r", A.shape[0]);
    this.legend.innerHTML = "";
    make("span", { class: "ramp" }, this.legend);
    this.legend.append(` −${scale.toFixed(3)} to ${scale.toFixed(3)} for all five, small values made visible by a square root. s = α/r = ${s.toPrecision(3)}.`);
    this.scale = scale;
    this.drawBars(singular, A.shape[0]);
  }

  drawBars(values, r) {
    const { svg, plot, note } = this.bars, most = Math.max(values[0], 1e-12), step = plot.width / (r + 1);
    svg.replaceChildren();
    axis(svg, plot);
    values.forEach((value, i) => {
      const height = plot.height * value / most, x = plot.x + i * step, last = i === r;
      make("rect", { x: x + 0.12 * step, y: plot.y + plot.height - height, width: 0.76 * step, height, class: last ? "beyond" : "bar", "data-value": value }, svg);
      if (r <= 8 || i % 4 === 3 || last) make("text", { x: x + step / 2, y: plot.y + plot.height + 15, "text-anchor": "middle" }, svg, last ? "r+1" : i + 1);
    });
    make("text", { x: plot.x + plot.width, y: plot.y + 10, "text-anchor": "end" }, svg, most > 1e-12 ? `largest ${values[0].toPrecision(2)}` : "all 0: B is zero");
    note(`The ${r} singular values are ${values.slice(0, r).map((v) => v.toPrecision(2)).join(", ")}. The next one, number ${r + 1}, is ${values[r].toExponential(0)}: an update of rank r has no more.`);
  }

  // Points {step, new, old} of this run and of the one before; `labels` says what new and old are.
  drawLines(points, ghost = [], labels = { new: "new text", old: "old text" }) {
    const { svg, plot, note } = this.lines, all = [...points, ...ghost];
    if (!all.length) return;
    const values = all.flatMap((point) => [point.new, point.old]);
    const low = Math.min(...values) - 0.05, high = Math.max(...values) + 0.05, steps = Math.max(10, ...all.map(({ step }) => step));
    const x = (step) => plot.x + (plot.width - 150) * step / steps, y = (loss) => plot.y + plot.height * (high - loss) / (high - low);
    svg.replaceChildren();
    axis(svg, plot);
    for (const value of [low + 0.05, high - 0.05]) make("text", { x: plot.x - 5, y: y(value) + 4, "text-anchor": "end" }, svg, value.toFixed(2));
    make("text", { x: x(steps), y: plot.y + plot.height + 15, "text-anchor": "middle" }, svg, `step ${steps}`);
    const ends = [];
    const curve = (run, key, kind) => {
      if (!run.length) return;
      make("polyline", { points: run.map((point) => `${x(point.step).toFixed(1)},${y(point[key]).toFixed(1)}`).join(" "), class: `${key} ${kind}` }, svg);
      const last = run.at(-1);
      ends.push({ at: y(last[key]) + 4, x: x(last.step) + 5, text: kind ? `${labels[key]}, before` : `${labels[key]} ${last[key].toFixed(2)}`, class: `${key} ${kind}` });
    };
    for (const key of ["new", "old"]) { curve(ghost, key, "ghost"); curve(points, key, ""); }
    ends.sort((a, b) => a.at - b.at).forEach((end, i) => {
      if (i) end.at = Math.max(end.at, ends[i - 1].at + 13);
      make("text", { x: end.x, y: end.at, class: `label ${end.class}` }, svg, end.text);
    });
    const [first, last] = [points[0], points.at(-1)];
    if (first) note(`From step ${first.step} to ${last.step}: ${labels.new} ${first.new.toFixed(2)} to ${last.new.toFixed(2)}, ${labels.old} ${first.old.toFixed(2)} to ${last.old.toFixed(2)}.`);
  }
}

function chart(parent, title, width, height) {
  const figure = make("figure", { class: "chart" }, parent);
  make("figcaption", {}, figure, title);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" }, figure);
  const plot = { x: 34, y: 8, width: width - 42, height: height - 32 };
  return { svg, plot, note: (text) => svg.setAttribute("aria-label", `${title}. ${text}`) };
}

function axis(svg, { x, y, width, height }) {
  make("path", { d: `M${x} ${y}V${y + height}H${x + width}`, class: "axis" }, svg);
}
