// The start page's figure: a run that was recorded when the site was built. It needs no Python.
import { Figure, unpack } from "./figure.mjs";

const MILLISECONDS = 220; // from one frame to the next

const byId = (id) => document.getElementById(id);
const figure = new Figure(byId("figure"));
const run = await (await fetch("recorded.json")).json();
const W0 = unpack(run.W0), scrub = byId("scrub"), last = run.frames.length - 1;
let timer;

function show(i) {
  const { A, B, s, singular } = run.frames[i];
  scrub.value = i;
  byId("count").textContent = run.points[i].step;
  figure.draw({ W0, A: unpack(A), B: unpack(B), s, singular });
  figure.drawLines(run.points.slice(0, i + 1), [], { new: "CAPITALS", old: "documentation" });
}

function play() {
  let i = Number(scrub.value) === last ? 0 : Number(scrub.value);
  pause();
  byId("play").textContent = "Pause";
  timer = setInterval(() => { show(i); if (i++ === last) pause(); }, MILLISECONDS);
}

function pause() {
  clearInterval(timer);
  timer = undefined;
  byId("play").textContent = "Play";
}

scrub.max = last;
scrub.addEventListener("input", () => { pause(); show(Number(scrub.value)); });
byId("play").addEventListener("click", () => (timer ? pause() : play()));
let begin = !matchMedia("(prefers-reduced-motion: reduce)").matches; // by itself, once, when a visitor sees it
new IntersectionObserver(([{ isIntersecting }]) => {
  if (!isIntersecting) pause();
  else if (begin) play();
  if (isIntersecting) begin = false;
}).observe(byId("figure"));
document.addEventListener("visibilitychange", () => { if (document.hidden) pause(); });

show(begin ? 0 : last);
document.body.dataset.state = "ready";
