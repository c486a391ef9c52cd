// The playground: a recorded run until Python is there, then a live one. JavaScript asks for one step at a time, so Stop is
// a flag, and what a control changes takes effect between two steps.
import { boot } from "./boot.mjs";
import { Figure, unpack } from "./figure.mjs";

const EVERY = 5; // steps from one measurement to the next
const PATIENCE = 20, LEAST = 0.005; // it stops by itself after so many measurements that bring less than this, in nats
const REST_MS = 500; // after the last of several steps, the model writes again
const SLOW_MS = 80; // a step that takes longer is worth a smaller batch
const LIVE = ["r", "alpha", "lr", "targets"]; // what can change in the middle of a run

const byId = (id) => document.getElementById(id);
const form = byId("controls");
const figure = new Figure(byId("figure"));
const recorded = await (await fetch("recorded.json")).json();
const query = new URLSearchParams(location.search);

// ------------------------------------------------------------------------------------------- settings, address

function fromAddress() {
  const settings = { ...recorded.settings };
  for (const [name, value] of query) {
    if (name === "targets") settings.targets = value.split(",").filter((one) => recorded.settings.targets.includes(one));
    else if (typeof recorded.settings[name] === "number" && Number.isFinite(Number(value))) settings[name] = Number(value);
    else if (typeof recorded.settings[name] === "string" && name !== "text") settings[name] = value;
  }
  return settings;
}

function toAddress() {
  for (const [name, value] of Object.entries(settings)) if (name !== "text") query.set(name, value);
  history.replaceState(null, "", `?${query.toString().replaceAll("%2C", ",")}`);
}

function toForm() {
  for (const name of ["task", "text", "start", "r", "alpha", "lr", "rows"]) if (form.elements[name]) form.elements[name].value = settings[name];
  for (const box of form.elements.targets ?? []) box.checked = settings.targets.includes(box.value);
  byId("r-value") && (byId("r-value").textContent = settings.r);
  byId("alpha-value") && (byId("alpha-value").textContent = `${settings.alpha}  (s = ${(settings.alpha / settings.r).toPrecision(3)})`);
  byId("seed-value").textContent = settings.seed;
  byId("own").hidden = settings.task !== "own";
}

function fromForm() {
  const read = { ...settings }; // a control that a teacher has hidden keeps its value
  for (const name of ["task", "text", "start"]) read[name] = form.elements[name]?.value ?? read[name];
  for (const name of ["r", "alpha", "lr", "rows"]) read[name] = Number(form.elements[name]?.value ?? read[name]);
  if (form.elements.targets) read.targets = [...form.elements.targets].filter((box) => box.checked).map((box) => box.value);
  return read;
}

let settings = fromAddress();
toForm();
for (const name of query.getAll("hide").flatMap((names) => names.split(","))) document.querySelector(`[data-control="${CSS.escape(name)}"]`)?.remove();

// ------------------------------------------------------------------------------------------- the recorded run

const W0 = unpack(recorded.W0);
const labels = () => ({ new: { upper: "CAPITALS", source: "source", own: "your text" }[settings.task], old: "documentation" });

function showRecorded(i) {
  const { A, B, s, singular } = recorded.frames[i];
  figure.draw({ W0, A: unpack(A), B: unpack(B), s, singular });
  figure.drawLines(recorded.points.slice(0, i + 1), [], { new: "CAPITALS", old: "documentation" });
  byId("count").textContent = recorded.points[i].step;
}

const scrub = byId("scrub");
scrub.max = recorded.frames.length - 1;
scrub.value = scrub.max;
scrub.addEventListener("input", () => showRecorded(Number(scrub.value)));
byId("layer").replaceChildren(new Option(recorded.path));
byId("sample").textContent = recorded.samples.with;
showRecorded(Number(scrub.value));

// ------------------------------------------------------------------------------------------- the live run

let lab, running = false, merged = false, pending, guess;
let points = [], ghost = [], drawn = 0;
let last = Promise.resolve(), writing; // of the steps that were clicked, which come one after the other

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

function enable() {
  for (const id of ["run", "step", "reset", "seed", "merge", "slow", "code"]) byId(id) && (byId(id).disabled = false);
  for (const id of ["run", "step", "slow"]) byId(id) && (byId(id).disabled = merged);
  if (byId("merge")) {
    byId("merge").disabled = merged;
    byId("restore").disabled = byId("subtract").disabled = !merged;
  }
  byId("run").textContent = running ? "Stop" : "Run";
  document.body.dataset.state = running ? "running" : "ready";
}

// Begins again. The run before stays as a ghost in the chart.
async function reset(keepGhost = true) {
  running = false;
  await last; // a step that was clicked
  merged = false;
  pending = undefined;
  document.body.dataset.state = "loading";
  say("");
  document.body.dataset.painted = document.body.dataset.settled = 0;
  if (keepGhost && points.length > 1) ghost = points;
  try {
    points = [await lab.call("reset", settings)];
  } catch (error) {
    say(error.message.trim().split("\n").at(-1).replace(/^\w+Error: /, ""));
    return enable();
  }
  byId("count").textContent = points[0].step;
  toAddress();
  toForm();
  await layers();
  await draw();
  await write();
  byId("lines")?.replaceChildren();
  byId("merged") && (byId("merged").textContent = "");
  enable();
}

async function layers() {
  const paths = await lab.call("layers"), before = byId("layer").value;
  byId("layer").replaceChildren(...paths.map((path) => new Option(path)));
  byId("layer").value = paths.includes(before) ? before : paths.at(-1);
}

async function draw() {
  figure.draw(await lab.call("picture", byId("layer").value));
  figure.drawLines(points, ghost, labels());
  const { trained, all } = points.at(-1);
  byId("trained").textContent = `${trained.toLocaleString("en")} numbers train, ${all.toLocaleString("en")} are frozen.`;
  drawn = performance.now();
}

async function write() {
  const adapter = byId("adapter").checked;
  byId("sample").textContent = await lab.call("sample", adapter);
  const { new: fresh, old } = adapter ? points.at(-1) : await lab.call("without");
  byId("off").textContent = `${adapter ? "With" : "Without"} the adapter: ${labels().new} ${fresh.toFixed(3)}, documentation ${old.toFixed(3)} nats per byte.`;
  byId("off").dataset.new = fresh;
}

async function change() {
  while (pending) {
    const next = pending;
    pending = undefined;
    try {
      const now = await lab.call("change", next);
      settings = { ...settings, ...next };
      if (points.at(-1).step === now.step) points.pop();
      points.push(now);
      await layers();
      await draw();
    } catch (error) {
      say(error.message.trim().split("\n").at(-1));
    }
    toAddress();
  }
}

async function step(always = false) {
  await change();
  const now = await lab.call("step");
  byId("count").textContent = now.step;
  byId("count").dataset.loss = now.loss;
  byId("speed").textContent = `${now.ms.toFixed(0)} ms a step${now.ms > SLOW_MS && settings.rows > 1 ? ": fewer windows per step would be faster" : ""}`;
  if (always || performance.now() - drawn > 100) await draw();
  document.body.dataset.painted = now.step;
  if (now.step % EVERY === 0) {
    points.push(await lab.call("measure"));
    await draw();
  }
  document.body.dataset.settled = now.step;
}

// No progress worth the name for a while?
function onPlateau() {
  const news = points.map((point) => point.new);
  return news.length > PATIENCE && Math.min(...news.slice(0, -PATIENCE)) - Math.min(...news.slice(-PATIENCE)) < LEAST;
}

async function run() {
  if (byId("predict") && !guess && !query.has("nopredict")) {
    byId("predict").hidden = false;
    byId("predict").querySelector("input").focus();
    return;
  }
  running = true;
  enable();
  while (running) {
    await step();
    if (guess && points.at(-1).step === 50) explain();
    if (onPlateau()) {
      running = false;
      say(`Stopped: the last ${PATIENCE * EVERY} steps brought less than ${LEAST} nats. Run goes on.`);
    }
  }
  enable();
  await write();
}

function explain() {
  const rose = points.at(-1).old - points[0].old;
  const found = rose > 0.05 ? "rise" : rose < -0.05 ? "fall" : "stay";
  const words = { rise: "it rose", fall: "it fell", stay: "it stayed" }[found];
  say(`${found === guess ? "You were right" : "Not so"}: ${words}, from ${points[0].old.toFixed(2)} to ${points.at(-1).old.toFixed(2)}. ` +
    "W₀ is frozen, but the model runs on W₀ + s B A, and nothing in the new text rewards the old one. Take the adapter off, and the old loss is back, exactly.");
  guess = "told";
}

// ------------------------------------------------------------------------------------------- what a visitor does

byId("run").addEventListener("click", () => { if (running) running = false; else run(); });
byId("step").addEventListener("click", () => {
  if (running) return;
  clearTimeout(writing);
  last = last.then(() => step(true)).then(enable);
  last.then(() => { clearTimeout(writing); writing = setTimeout(() => running || write(), REST_MS); });
});
byId("reset").addEventListener("click", () => reset());
byId("seed").addEventListener("click", () => { settings.seed += 1; reset(); });
byId("predict")?.addEventListener("change", ({ target }) => { guess = target.value; byId("predict").hidden = true; run(); });
byId("layer").addEventListener("change", () => lab && !running && draw());
byId("adapter").addEventListener("change", () => lab && write());
document.addEventListener("visibilitychange", () => { if (document.hidden) running = false; });

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", async ({ target }) => {
  const before = settings.alpha / settings.r, next = fromForm();
  if (target.name === "r" && byId("hold")?.checked) next.alpha = Math.max(1, Math.round(before * next.r * 1000) / 1000);
  if (!next.targets.length) { target.checked = true; return say("At least one matrix needs a LoRA."); }
  const live = LIVE.includes(target.name);
  settings = next;
  toForm();
  if (!lab || target.id === "hold") return;
  if (target.name === "text" || (target.name === "task" && next.task === "own" && !next.text)) return;
  if (!live || merged) return reset();
  pending = Object.fromEntries(LIVE.map((name) => [name, settings[name]])); // the newest wins
  if (!running) { await change(); enable(); }
});
form.elements.text?.addEventListener("change", () => lab && reset());
form.elements.text?.addEventListener("drop", async (event) => {
  const file = event.dataTransfer.files[0];
  if (!file) return;
  event.preventDefault();
  form.elements.text.value = await file.text();
  settings = fromForm();
  if (lab) reset();
});

byId("merge")?.addEventListener("click", async () => {
  running = false;
  const told = await lab.call("merge");
  merged = told.merged;
  byId("merged").dataset.difference = told.difference;
  byId("merged").textContent = `Merged in ${told.ms.toFixed(1)} ms: one matrix again, as fast as the base. The largest change of a logit is ${told.difference.toExponential(1)}, which is rounding.`;
  enable();
});
for (const [id, times] of [["restore", 0], ["subtract", 100]])
  byId(id)?.addEventListener("click", async () => {
    const told = await lab.call("unmerge", times);
    merged = told.merged;
    byId("merged").dataset.difference = told.difference;
    byId("merged").textContent = times
      ? `Merged and subtracted ${times} times: the weights have drifted by ${told.difference.toExponential(1)}, because each subtraction rounds. (They are put back now.)`
      : `W₀ was kept aside, and its very bits are back: the largest difference is ${told.difference}.`;
    enable();
  });

byId("slow")?.addEventListener("click", async () => {
  const wait = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500;
  const told = await lab.call("slow", byId("layer").value);
  byId("lines").replaceChildren();
  for (const { id, equation, file, line, code, norm, shape } of told) {
    const item = document.createElement("li");
    item.id = `line-${id}`;
    for (const [tag, text] of [["b", equation], ["span", ` ${shape.join(" × ")}, norm ${norm.toPrecision(4)}`], ["code", `${file}:${line}  ${code}`]])
      item.append(Object.assign(document.createElement(tag), { textContent: text }));
    item.dataset.norm = norm;
    byId("lines").append(item);
    await new Promise((next) => setTimeout(next, wait));
  }
  points.push(await lab.call("measure"));
  byId("count").textContent = points.at(-1).step;
  await draw();
});

byId("code")?.addEventListener("click", async () => {
  byId("program").textContent = await lab.call("code", Number(byId("count").textContent) || 20);
  byId("program").hidden = byId("copy").hidden = false;
});
byId("copy")?.addEventListener("click", async () => {
  await navigator.clipboard.writeText(byId("program").textContent);
  byId("copy").textContent = "Copied";
});

lab = await boot(byId("boot"), { module: "lab", packages: ["python-texts"] });
byId("scrub-label").remove();
byId("speed").textContent = lab.about.simd ? "" : "fast products are off: steps take longer";
await reset(false);
