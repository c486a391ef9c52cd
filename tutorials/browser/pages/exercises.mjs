// The exercises: an editor, checks in a worker, and drafts that this browser keeps.
import { boot } from "./boot.mjs";
import { Python } from "./python.mjs";
import { everything, PREFIX, restore, save, saved } from "./saves.mjs";

const MOST_SECONDS = 30; // for one check, after which its loop is taken for an endless one
const TRIES = 5; // after which the answer is offered even if hints are left
const HINTS = 3;
const ENGINE = { module: "checks" };

const byId = (id) => document.getElementById(id);
const exercises = await (await fetch("exercises.json")).json();
const names = exercises.map(({ name }) => name);
let current; // the exercise that is shown
let python, spare; // the Python that checks, and one that takes over when it is stopped

// ------------------------------------------------------------------------------------------------ the editor

const editor = CodeMirror(byId("code"), {
  mode: "python", indentUnit: 4, lineNumbers: true, lineWrapping: true, viewportMargin: Infinity,
  extraKeys: {
    Tab: (cm) => cm.somethingSelected() ? cm.indentSelection("add") : cm.replaceSelection(" ".repeat(4 - cm.getCursor().ch % 4), "end"),
    "Shift-Tab": "indentLess",
    Esc: () => byId("check").disabled ? byId("reset").focus() : byId("check").focus(),
    "Ctrl-Enter": () => byId("check").click(),
    "Cmd-Enter": () => byId("check").click(),
  },
});
editor.getInputField().setAttribute("aria-label", "Your answer");
editor.on("change", (_, { origin }) => {
  if (origin === "setValue") return;
  warmUp();
  if (!save(current.name, { source: editor.getValue(), starter: saved(current.name).starter ?? current.digest })) {
    notice("This browser does not keep your draft: its storage is full or turned off. Download your answer before you leave.");
  }
});

// ---------------------------------------------------------------------------------------- what the page shows

function show(name) {
  current = exercises.find((one) => one.name === name) ?? exercises[0];
  const { source, starter, before } = saved(current.name);
  byId("title").textContent = `${Number(current.number)} · ${current.title}`;
  byId("lesson").textContent = `Lesson ${current.lesson}`;
  byId("lesson").href = current.notebook;
  byId("minutes").textContent = current.minutes;
  byId("task").textContent = current.source;
  document.title = `${current.title} · minilora`;
  editor.setValue(source ?? current.source);
  byId("changed").hidden = source === undefined || starter === undefined || starter === current.digest;
  byId("undo").hidden = before === undefined;
  byId("hints").replaceChildren();
  byId("verdict").replaceChildren();
  offerHelp();
  list();
}

function offerHelp() {
  const { hints = 0, tries = 0, status } = saved(current.name);
  byId("hint").textContent = hints < HINTS ? `Hint ${hints + 1} of ${HINTS}` : `Hint ${HINTS} of ${HINTS} again`;
  byId("answer").hidden = !(hints >= HINTS || tries >= TRIES || status === "passed");
}

function list() {
  const state = (name) => saved(name).status ?? "";
  const passed = names.filter((name) => state(name) === "passed").length;
  byId("score").textContent = `${passed} of ${names.length} solved`;
  const items = exercises.map((one) => {
    const link = document.createElement("a");
    const { status, hints } = saved(one.name);
    const mark = { passed: "✓", failed: "✗", error: "✗" }[status] ?? "·";
    link.href = `#${one.name}`;
    link.className = status ?? "";
    link.textContent = `${mark} ${Number(one.number)} ${one.title}`;
    if (status) link.append(Object.assign(document.createElement("span"), { className: "unseen", textContent: `, ${status}` }));
    if (status === "passed" && hints) link.title = `solved with hint ${hints}`;
    if (one === current) link.setAttribute("aria-current", "true");
    return link;
  });
  byId("lessons").replaceChildren(...items);
  byId("choose").replaceChildren(...exercises.map((one, i) => new Option(items[i].firstChild.textContent, one.name, false, one === current)));
}

function block(title, text, className = "") {
  const section = document.createElement("section");
  const head = document.createElement("h2");
  head.textContent = title;
  const body = document.createElement("pre");
  body.textContent = text;
  body.tabIndex = 0;
  section.className = className;
  section.append(head, ...(text ? [body] : []));
  return section;
}

function notice(text) {
  const paragraph = document.createElement("p");
  paragraph.className = "notice";
  paragraph.textContent = text;
  byId("verdict").replaceChildren(paragraph);
}

function showVerdict({ status, report, properties, seconds }) {
  const title = status === "passed" ? "✓ Passed" : status === "not started" ? "Not started: replace the line that raises NotImplementedError" : `✗ ${status}`;
  const section = block(title, report, status.split(" ")[0]);
  if (status !== "not started" && properties.length) {
    const list = document.createElement("ul");
    list.className = "properties";
    for (const [claim, holds] of properties) {
      const item = document.createElement("li");
      item.textContent = `${holds ? "✓" : "✗"} ${claim}`;
      item.className = holds ? "holds" : "broken";
      list.append(item);
    }
    section.append(list);
  }
  section.dataset.seconds = seconds;
  byId("verdict").replaceChildren(section);
}

// ------------------------------------------------------------------------------------------------ checks, stop

function busy(state) {
  document.body.dataset.state = state;
  byId("check").disabled = byId("hint").disabled = byId("zip").disabled = state !== "ready";
  byId("stop").hidden = state !== "checking";
}

async function check() {
  const name = current.name;
  busy("checking");
  warmUp();
  byId("verdict").replaceChildren();
  const late = setTimeout(() => stop(`Stopped after ${MOST_SECONDS} s: is there an endless loop?`), 1000 * MOST_SECONDS);
  try {
    const verdict = await python.call("check", name, editor.getValue());
    const { tries = 0 } = saved(name);
    save(name, { status: verdict.status, tries: tries + (verdict.status !== "not started" && verdict.status !== "passed") });
    if (name === current.name) showVerdict(verdict);
  } catch (error) {
    if (error.message !== "stopped") notice(`The check itself failed: ${error.message}`);
  }
  clearTimeout(late);
  if (document.body.dataset.state === "checking") busy("ready");
  offerHelp();
  list();
}

// Ends the worker, whatever it is doing; the spare one takes over.
async function stop(why) {
  python.stop();
  python = spare ?? (await boot(byId("boot"), ENGINE));
  spare = undefined;
  delete document.body.dataset.spare;
  await python.ready;
  notice(why);
  busy("ready");
}

// A second Python, once there is code that may not end.
function warmUp() {
  if (spare || !python) return;
  const next = spare = new Python(ENGINE);
  next.ready.then(() => { if (spare === next) document.body.dataset.spare = "ready"; }, () => { spare = undefined; });
}

// ------------------------------------------------------------------------------------------------ files

function download(name, content, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const answers = () => Object.fromEntries(names.map((name) => [name, saved(name).source]).filter(([, source]) => source !== undefined));

// ------------------------------------------------------------------------------------------------ buttons

byId("check").addEventListener("click", check);
byId("stop").addEventListener("click", () => stop("Stopped. Your code is as you left it."));
byId("hint").addEventListener("click", async () => {
  const number = Math.min((saved(current.name).hints ?? 0) + 1, HINTS);
  save(current.name, { hints: number });
  byId("hints").replaceChildren(block(`Hint ${number} of ${HINTS}`, await python.call("hint", current.name, number)));
  offerHelp();
});
byId("answer").addEventListener("click", async () => {
  byId("hints").replaceChildren(block("An answer", await python.call("answer", current.name)));
});
byId("reset").addEventListener("click", () => {
  save(current.name, { before: editor.getValue(), source: undefined, starter: undefined, status: undefined });
  show(current.name);
});
byId("undo").addEventListener("click", () => {
  save(current.name, { source: saved(current.name).before, starter: current.digest, before: undefined });
  show(current.name);
});
byId("newer").addEventListener("click", () => byId("reset").click());
byId("mine").addEventListener("click", () => {
  save(current.name, { starter: current.digest });
  byId("changed").hidden = true;
});
byId("download").addEventListener("click", () => download(`${current.name}.py`, editor.getValue(), "text/x-python"));
byId("next").addEventListener("click", () => {
  const at = names.indexOf(current.name);
  const order = [...names.slice(at + 1), ...names.slice(0, at)];
  location.hash = order.find((name) => saved(name).status !== "passed") ?? order[0];
});
byId("zip").addEventListener("click", async () => download("answers.zip", await python.call("archive", answers()), "application/zip"));
byId("export").addEventListener("click", () => download("minilora-progress.json", JSON.stringify(everything(names)), "application/json"));
byId("import").addEventListener("change", async ({ target }) => {
  try {
    const count = restore(JSON.parse(await target.files[0].text()), names);
    show(current.name);
    notice(`${count} exercises are as the file has them.`);
  } catch (error) {
    notice(`Nothing was imported: ${error.message}`);
  }
  target.value = "";
});
byId("choose").addEventListener("change", ({ target }) => { location.hash = target.value; });
addEventListener("hashchange", () => show(location.hash.slice(1)));
addEventListener("storage", ({ key, newValue }) => { // another tab has saved
  if (key === PREFIX + current.name && newValue && JSON.parse(newValue).source !== editor.getValue()) show(current.name);
  else list();
});

show(location.hash.slice(1) || names.find((name) => saved(name).status !== "passed"));
python = await boot(byId("boot"), ENGINE);
busy("ready");
