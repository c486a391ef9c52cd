"""A JSON file and a figure for each experiment, and the report: one page with every verdict, made from those files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minilora import methods
from minilora.experiments.engine.experiment import Experiment, Results, markdown, verdict
from minilora.experiments.engine.plan import Plan, Scale, Setting, chosen_rate
from minilora.experiments.engine.run import Result, Store, provenance, write_text

PAGE = "RESULTS.md"
HEAD = {"experiment", "command", "made_by", "scale", "searches"}  # what a results file has beside its runs
WHEN_IT_AGREES = """**When the miniature agrees, and when it cannot.** The paper adapts a model that knows much of its
task already: in its table 7, dW is 11 % as large as W (6.91 / 61.95). The shipped base knows English documentation and
how to copy; it learns sql nearly from scratch, and its dW is almost as large as W (table 7). What needs no small update
agrees here: which matrices, the full-rank limit, one rate for every rank. What needs one (a low rank suffices, LoRA is
level with full fine-tuning) cannot be expected to. [The last part](#real) makes these comparisons on a real model and
real data."""
LEFT_OUT = """## What is smaller here, and what was left out

- Runs are short, so they compare methods before these have finished learning: with 2,000 examples, fine-tuning still
  improves with more steps on e2e and sql. Longer training, random subspaces and the low ranks of the full-rank limit
  have one seed.
- Tables 5, 6, 7, 15, 16 and figures 2 to 4 use only sql, where methods differ most. On nli every method is near chance
  after the usual number of steps; the headline trains three times as long there.
- Tables 3 and 4 compare every method on three of the five tasks: not on nli, for the same reason, and not on code.
- Adapter-P and Adapter-D, which the paper uses only on RoBERTa (table 2), are implemented and tested but have no row.
- Table 18 has three of eleven ranks; d90 was measured on two tasks; METEOR is missing, because it needs WordNet.
- Table 1 was measured on the shipped base and a CPU instead of GPT-2 M and a GPU.
- Table 2 (RoBERTa and DeBERTa on GLUE) needs encoders, which are not built here. Table 8 (prompting against tuning)
  needs a base that can be prompted: ours answers nothing without training. Tables 13 and 14 (DART, WebNLG) need their
  texts; they ask table 3's question again.
- Figure 5 (latency over many sizes) is table 1 on a finer grid. Figures 6 and 7 are figures 3 and 4 for more layers;
  the table here has the mean over all layers. Figure 8 compares dW with W, as table 7 does."""


# ---------------------------------------------------------------------------------------- one experiment's file


def save(experiment: Experiment, results: Results, store: Store, out: Path, command: str) -> Results:
    """Make the experiment's own measurements; write OUT/results/NAME.json and OUT/figures/NAME.png."""
    if experiment.measure:
        results.measured = experiment.measure(results, store)
    runs = _runs(experiment, results)
    head = {
        "experiment": experiment.name,
        "command": command,
        "made_by": provenance() | {"commits": sorted({run["made_by"]["commit"] for run in runs})},
        "seconds": round(sum(run["seconds"] for run in runs)),
        "scale": dataclasses.asdict(results.scale),
        "searches": _searches(experiment.settings(results.scale), results),
        "verdict": verdict(experiment.claims(results)),
    }
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    measured = json.dumps(results.measured, separators=(",", ":"))
    lines = ",\n  ".join(json.dumps(_compact(run)) for run in runs)
    for folder in ("results", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_text(
        out / "results" / f"{experiment.name}.json",
        f'{text},\n "measured": {measured},\n "runs": [\n  {lines}\n ]\n}}\n',
    )
    if experiment.figure:
        experiment.figure(results, out / "figures" / f"{experiment.name}.png")
    return results


def _runs(experiment: Experiment, results: Results) -> list[Result]:
    """The experiment's runs, each once, its searches' first."""
    settings = experiment.settings(results.scale)
    groups = dict.fromkeys(s.group for s in settings if s.lr is None)
    searched = [results.plan.results[c.text] for group in groups for c in results.plan.search(group)]
    runs = searched + [run for setting in settings for run in results.runs(setting)]
    return list({json.dumps(run["config"]): run for run in runs}.values())


def _compact(run: Result) -> Result:
    """A run without its training losses, its scores to five digits."""
    kept = {name: run[name] for name in ("config", "trainable", "total", "diverged", "seconds") if name in run}
    losses = {name: _round(run[name]) for name in ("valid_loss", "test_loss")}
    return kept | losses | {"test": {name: _round(value) for name, value in run["test"].items()}}


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _searches(settings: Sequence[Setting], results: Results) -> dict[str, Any]:
    """ "data family" -> every learning rate tried, with its validation loss, and the one chosen."""
    found = {}
    for group in dict.fromkeys(setting.group for setting in settings if setting.lr is None):
        tried = {c.lr: results.plan.results[c.text]["valid_loss"] for c in results.plan.search(group)}
        found[f"{group.data} {group.family}"] = {
            "tried": {f"{lr:g}": _round(loss) for lr, loss in tried.items()},
            "chosen": chosen_rate(tried),
        }
    return found


def load(experiment: Experiment, out: Path) -> tuple[Results, dict[str, Any]] | None:
    """The results that `save` wrote into OUT, and the file's other fields.

    None if there is no file, if it is incomplete, or if an earlier version wrote it without runs that the experiment
    has now.
    """
    try:
        said = json.loads((out / "results" / f"{experiment.name}.json").read_text(encoding="utf-8"))
        scale = Scale(**said["scale"])
        settings = experiment.settings(scale)
        plan = Plan(settings, scale)
        plan.results = {json.dumps(run["config"], sort_keys=True): run for run in said.pop("runs")}
        results = Results(plan, said["measured"])
        return (results, said) if results.complete(settings) and said.keys() >= HEAD else None
    except (OSError, ValueError, TypeError, KeyError):  # not there, not JSON, or somebody else's
        return None


def tell(experiment: Experiment, out: Path) -> Results | None:
    """Print an experiment's table and claims from OUT/results; without them, print how to make them and return None."""
    loaded = load(experiment, out)
    if loaded is None:
        name = experiment.name
        print(f"results/{name}.json is missing: make it with  minilora reproduce {name} --out {out.name}")
        return None
    results, head = loaded
    print(f"{experiment.title} ({head['command']})\n\n{experiment.table(results)}\n")
    for claim in experiment.claims(results):
        print(
            "yes:" if claim.holds else "NO: ",
            claim.text + ("" if claim.holds or not claim.why else f". Why: {claim.why}"),
        )
    print()
    return results


# ------------------------------------------------------------------------------------------------- the page


def page(experiments: Iterable[Experiment], out: Path, real: str = "") -> str:
    """The whole page: the verdicts, each table, the learning rates; `real` is the part on a real model."""
    present, missing = [], []
    for experiment in experiments:
        loaded = load(experiment, out)
        if loaded:
            present.append((experiment, *loaded))
        else:
            missing.append(experiment)
    if not present:
        return "\n\n".join(filter(None, ["# The paper in miniature", "Nothing has been run yet.", real])) + "\n"
    rows = []
    for experiment, results, _ in present:
        claims = experiment.claims(results)
        why = "; ".join(claim.answer for claim in claims)
        rows.append([f"[{experiment.title}](#{experiment.name})", f"**{verdict(claims)}**", why])
    rows += [[experiment.title, "not run", ""] for experiment in missing]
    parts = [
        _introduction([said for *_, said in present]),
        WHEN_IT_AGREES if real else "",
        *(f"**The main finding.** {e.finding(results)}" for e, results, _ in present if e.finding),
        "## Verdicts\n\nEach clause is a statement of the paper, with our numbers in it. *Agrees*: all of them hold; "
        "*agrees in part*: some do; *does not agree*: none does. The sections below give the reason for each *no*.\n\n"
        + markdown(["", "verdict", "why"], rows),
        *(_section(experiment, results) for experiment, results, _ in present),
        _rates([said for *_, said in present]),
        LEFT_OUT,
        real,
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _introduction(heads: Sequence[dict[str, Any]]) -> str:
    """What was run, by which command and versions, and how much."""
    made, scale = heads[0]["made_by"], Scale(**heads[0]["scale"])
    commits = ", ".join(sorted({commit for head in heads for commit in head["made_by"]["commits"]})) or made["commit"]
    commands = " and ".join(f"`{command}`" for command in sorted({head["command"] for head in heads}))
    steps = ", ".join(f"{scale.task_steps(task)} on {task}" for task in ("e2e", "sql", "nli", "summ", "code"))
    return (
        "# The paper in miniature\n\n"
        f"Made by {commands}, commits {commits}, Python {made['python']}, NumPy {made['numpy']}, "
        f"{made['cores']} cores; do not edit. "
        "The shipped base (867,072 parameters, its tokens are bytes) takes the place of GPT-2 and GPT-3.\n\n"
        f"Steps per run: {steps}, each on {scale.batch_size} examples; Adam with warm-up and cosine decay; "
        f"{scale.train:,} training examples, {scale.valid} for validation, {scale.test} for testing. Scores are on the "
        f"test split: mean ± sample standard deviation over {scale.seeds} seeds (a dash: nothing was run; no "
        "deviation: one seed). Each method's learning rate is searched on each task with one seed, by the validation "
        "loss (last section), and serves all its sizes; runs on fewer examples have their own search. *Not worse* "
        "means better, or worse by at most one standard deviation (pooled)."
        + ("" if scale.searched else "\n\n**A --quick run: it shows that everything runs; ignore its numbers.**")
    )


def _section(experiment: Experiment, results: Results) -> str:
    name, title = experiment.name, experiment.title
    source = experiment.source[0].upper() + experiment.source[1:]
    parts = [f'## <a id="{name}"></a>{title}', f"{source}. `minilora reproduce {name}`", experiment.table(results)]
    if experiment.figure:
        parts.append(f"![{title}](figures/{name}.png)")
    return "\n\n".join([*parts, "\n".join(f"- {claim.line}" for claim in experiment.claims(results))])


def _rates(heads: Sequence[dict[str, Any]]) -> str:
    """The table of every learning rate tried, with its validation loss."""
    searches: dict[str, Any] = {}
    for head in heads:
        searches |= head["searches"]
    rows = []
    for group, found in sorted(searches.items()):
        task, family = group.split(" ")
        tried = [
            f"{'**' if float(lr) == found['chosen'] else ''}{lr}: {'diverged' if loss is None else f'{loss:.3f}'}"
            f"{'**' if float(lr) == found['chosen'] else ''}"
            for lr, loss in found["tried"].items()
        ]
        label = methods.METHODS[family].label if family in methods.METHODS else family
        rates = [float(lr) for lr in found["tried"]]
        rows.append([task, label, ", ".join(tried), "yes" if found["chosen"] in (rates[0], rates[-1]) else ""])
    return (
        "## Learning rates\n\nEvery rate tried, with its validation loss in nats per byte (seed 0); the chosen one is "
        "bold. A search begins with three rates and goes one further while the best is at an end, up to six. "
        "*lora_v_o_mlp* is LoRA on W_v, W_o and the MLP's two matrices with r = 3, *everywhere* is LoRA on all "
        "matrices with all biases, *subspace* is the random subspace of 1,000 dimensions.\n\n"
        + markdown(["task", "method", "rate: loss", "chosen at an end of the list"], rows)
    )
