"""The real model's part of the report: tables and verdicts, made from the stored runs alone."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from minilora.experiments.engine.experiment import METRICS, Claim, Metric, Score, markdown, verdict
from minilora.experiments.engine.run import FIELDS, Result
from minilora.experiments.real.plan import WAYS, Cell, Plan, Scale
from minilora.experiments.real.scores import FROM_SUMS, interval, mean

FOLDER = Path("results", "real")  # in --out
SHARED = "shared_directions.json"  # in it, beside the runs
PAIRS = (  # adapters that are compared: a label, and a key of WAYS with a seed for each
    ("r = 8 and r = 64", ("r8", 0), ("r64", 0)),
    ("r = 4, two seeds", ("lora", 0), ("lora", 1)),
)
NOT_YET = "not run yet"
LOSS = Metric("loss, nats per token", 1, 3, False)
SCORES = ("bleu", "nist", "rouge_l", "cider", "slot_error")
PAPER = """The paper's base for this is GPT-2 M with 42,061 training pairs, 5 epochs and beam search on 630 meanings;
ours is SmolLM2-135M-Instruct, dequantized from 4 bits, with one pass over at most 3,795 pairs and greedy answers."""

LEFT_OUT = """### What was not run

- BitFit: this model has no biases. METEOR: its synonyms need WordNet. Beam search: answers here are greedy.
- The intrinsic dimension on this model, and the smallest sufficient rank on a second real task.
- WikiSQL, SAMSum and MNLI: their files are not here, and nothing is claimed about them. Your copy of one is read by
  `minilora data nli --folder FOLDER --out nli.jsonl` (or `sql`, `summ`)."""


def stored(out: Path, scale: Scale | None = None) -> Plan | None:
    """The plan of the runs in OUT/results/real, on the test meanings that most of them have; None if there are none."""
    runs = [run for path in sorted((out / FOLDER).glob("*-*.json")) if (run := read(path))]
    if not runs:
        return None
    named = Counter(tuple(run["config"][name] for name in ("base", "data", "test")) for run in runs)
    most = max(named, key=lambda names: (bool(names[2]), named[names]))  # a search is on no test meanings
    plan = Plan(scale or Scale(), *most)
    plan.results = {json.dumps(run["config"], sort_keys=True): run for run in runs}
    return plan


def read(path: Path) -> Result | None:
    """A stored run; None if the file is none, or was cut short."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return run if run.keys() >= FIELDS else None
    except (ValueError, AttributeError):
        return None


def section(out: Path) -> str:
    """The part of the report on the runs in OUT/results/real; "" if there are none."""
    plan = stored(out)
    return "" if plan is None else page(plan, out / FOLDER)


def page(plan: Plan, folder: Path) -> str:
    """All tables, as Markdown; the folder holds SHARED."""
    claims = list(all_claims(plan))
    parts = [
        '## <a id="real"></a>The paper on a real model and real data',
        _introduction(plan),
        f"**{verdict(claims).capitalize()}** with what has run so far.\n\n" + "\n".join(f"- {c.line}" for c in claims)
        if claims
        else "",
        "### Table 3: the methods\n\n" + methods_table(plan),
        "### Fewer and more examples\n\n" + cells_table(plan, plan.sections()["sizes"]),
        "### Table 8: prompting\n\n" + prompts_table(plan),
        "### Tables 6 and 18: the rank, each at its own rate and at r = 4's\n\n" + ranks_table(plan),
        "### Table 5: which matrices\n\n" + beside_lora(plan, "matrices"),
        "### After LoRA\n\n" + beside_lora(plan, "variants"),
        "### Why the loss and BLEU disagree\n\n" + why_table(plan),
        "### Sections 4 and 7: what the update is\n\n" + UPDATES_SAID + updates_table(plan),
        "### Figures 3 and 4: directions that two adapters share\n\n" + shared_table(folder),
        "### Learning rates\n\n" + rates_table(plan),
        LEFT_OUT,
    ]
    return "\n\n".join(part for part in parts if part)


def _introduction(plan: Plan) -> str:
    runs = list(plan.results.values())
    hours = sum(run["seconds"] for run in runs) / 3600
    commits = ", ".join(sorted({run["made_by"]["commit"] for run in runs}))
    tested = {len(run["test"]["each"]["bleu"]) for run in runs if run["test"]}
    scale, many = plan.scale, " or ".join(map(str, tested)) or "the"
    return (
        f"Made by `minilora reproduce real --data FOLDER`, commits {commits}; do not edit. Runs: {len(runs)}, "
        f"{hours:.1f} hours of one core in all. Data: the E2E NLG Challenge (Novikova et al. 2017, CC BY-SA 4.0), none "
        f"of it stored here. {' '.join(PAPER.split())}\n\n"
        f"Scores are of greedy answers to {many} test meanings: mean ± sample standard deviation over the seeds "
        "that have run (none: one seed), then the bootstrap's 95 % interval over meanings, which with so few is wide. "
        f"METEOR is left out: its synonyms need WordNet. A usual run trains on {scale.usual} pairs, once, 8 a step; "
        f"rates are searched on {scale.search} pairs by the loss on meanings kept for that."
    )


# ------------------------------------------------------------------------------------------------- numbers


def runs(plan: Plan, cell: Cell) -> list[Result]:
    """A cell's runs that have been made and did not diverge."""
    made = [plan.results[config.text] for config in plan.runs(cell) if config.text in plan.results]
    return [run for run in made if run["test"]]


def score(plan: Plan, cell: Cell, name: str) -> Score:
    """Over the seeds that have run; nan where none has."""
    found = [value(run, name) for run in runs(plan, cell)]
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    return Score(statistics.fmean(found) if found else float("nan"), spread, len(found))


def value(run: Result, name: str) -> float:
    return run["test_loss"] if name == "loss" else run["test"][name]


def metric(name: str) -> Metric:
    return LOSS if name == "loss" else METRICS[name]


def show(found: Score, name: str) -> str:
    """ "54.1 ± 1.2", in the metric's units."""
    _, factor, decimals, _ = metric(name)
    spread = f" ± {factor * found.std:.{decimals}f}" if found.n > 1 else ""
    return f"{factor * found.mean:.{decimals}f}{spread}"


def with_interval(made: Sequence[Result], name: str) -> str:
    """ "54.1 ± 1.2 [50.3, 57.8]": over the runs' seeds, and the 95 % interval over meanings of their mean."""
    found = [value(run, name) for run in made]
    spread = statistics.stdev(found) if len(found) > 1 else 0.0
    text, (_, factor, decimals, _) = show(Score(statistics.fmean(found), spread, len(found)), name), metric(name)
    each = np.stack([meanings(run, name) for run in made], axis=1)  # (meanings, runs, numbers)
    from_sums = mean if name == "loss" else FROM_SUMS[name]
    low, high = interval(each, lambda sums: statistics.fmean(map(from_sums, sums)))
    return f"{text} [{factor * low:.{decimals}f}, {factor * high:.{decimals}f}]"


def meanings(run: Result, name: str) -> np.ndarray:
    """The numbers that a score is made of, a row for each meaning."""
    if name != "loss":
        return np.array(run["test"]["each"][name], float)
    losses, tokens = np.array(run["test"]["pairs"]["each"]).T
    return np.stack([losses * tokens, tokens], axis=1)


def cell_text(plan: Plan, cell: Cell, name: str) -> str:
    """A score with its interval; or that every run diverged, or that none has been made."""
    if made := runs(plan, cell):
        return with_interval(made, name)
    failed = any("diverged" in plan.results.get(config.text, {}) for config in plan.runs(cell))
    return "diverged" if failed else NOT_YET


def not_worse(one: Score, other: Score, name: str) -> bool:
    """Whether a score is better than the other, or at most one pooled standard deviation worse."""
    better = 1 if metric(name).higher_is_better else -1
    return better * (one.mean - other.mean) >= -float(np.hypot(one.std, other.std)) / 2**0.5


# -------------------------------------------------------------------------------------------------- tables


def filled(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The rows that have a number, as a table; the names of the others below it."""
    every = list(rows)
    empty = [row for row in every if not {*row[1:]} - {NOT_YET, ""}]
    table = markdown(header, [row for row in every if row not in empty]) if len(empty) < len(every) else ""
    missing = f"{NOT_YET.capitalize()}: {'; '.join(row[0] for row in empty)}." if empty else ""
    return "\n\n".join(filter(None, [table, missing]))


SHOWN = (*SCORES, "loss")
HEADER = ["method", "trained", "rate", "seeds", *(metric(name).label for name in SHOWN)]


def _row(plan: Plan, cell: Cell) -> list[str]:
    scores = [cell_text(plan, cell, name) for name in SHOWN]
    made, label = runs(plan, cell), f"{WAYS[cell.way].label}, {cell.train:,} pairs"
    if not made:
        return [label, "", "", "", *scores]
    return [label, f"{made[0]['trainable']:,}", f"{made[0]['config']['lr']:g}", str(len(made)), *scores]


def cells_table(plan: Plan, cells: Iterable[Cell]) -> str:
    return filled(HEADER, [_row(plan, cell) for cell in cells])


def methods_table(plan: Plan) -> str:
    sections = plan.sections()
    return cells_table(plan, [*sections["headline"], *sections["methods"]])


def beside_lora(plan: Plan, section: str) -> str:
    """A section's cells below the headline's LoRA."""
    sections = plan.sections()
    return cells_table(plan, [sections["headline"][0], *sections[section]])


def prompts_table(plan: Plan) -> str:
    rows = []
    for label, config in plan.prompts().items():
        run = plan.results.get(config.text)
        has = {name: run is not None and value(run, name) is not None for name in SHOWN}
        rows.append([label, *(with_interval([run], name) if run and has[name] else "" for name in SHOWN)])
    label, _, _, _, *scores = _row(plan, plan.sections()["headline"][0])
    return filled(["the base, prompted", *HEADER[4:]], [*rows, [label, *scores]])


def ranks_table(plan: Plan) -> str:
    shared, N = plan.rate("lora"), plan.scale.usual
    rows = []
    for way, r in (("r1", 1), ("r2", 2), ("lora", 4), ("r8", 8), ("r64", 64)):
        own = Cell(way, N)
        rate, both = plan.rate(way), [own, own if way == "lora" else Cell(way, N, shared)]
        scores = [cell_text(plan, cell, name) for cell in both for name in ("bleu", "loss")]
        rows.append([f"r = {r}", f"{rate:g}" if rate and {*scores} != {NOT_YET} else "", *scores])
    at = f"at {shared:g}" if shared else "at r = 4's rate"
    return filled(["", "its own rate", "BLEU", "loss", f"BLEU {at}", f"loss {at}"], rows)


WHY = {  # what stands beside the loss: its label, and how to find it in a run's test
    "loss, nats per token": lambda t: f"{t['pairs']['loss']:.3f}",
    "on copied names": lambda t: f"{t['pairs']['copied'][0]:.3f}",
    "elsewhere": lambda t: f"{t['pairs']['elsewhere']:.3f}",
    "next token right": lambda t: f"{t['pairs']['accuracy']:.1%}",
    "its mean p": lambda t: f"{t['pairs']['confidence']:.1%}",
    "calibration error": lambda t: f"{t['pairs']['calibration_error']:.1%}",
    "loss at temperature 0.8": lambda t: f"{t['pairs']['loss_at']['0.8']:.3f}",
    "at 1.25": lambda t: f"{t['pairs']['loss_at']['1.25']:.3f}",
    "words an answer (people)": lambda t: f"{t['words'][0]:.1f} ({t['words'][1]:.1f})",
    "answers with the name": lambda t: f"{t['named']:.0%}",
    "BLEU": lambda t: f"{t['bleu']:.1f}",
}


def why_table(plan: Plan) -> str:
    """Seed 0 of the headline's cells, and of the larger ones."""
    rows = []
    for cell in (*plan.sections()["headline"], *plan.sections()["sizes"]):
        made = runs(plan, cell)[:1]
        cells = [find(made[0]["test"]) if made else "" for find in WHY.values()]
        rows.append([f"{WAYS[cell.way].label}, {cell.train:,} pairs", *cells])
    return filled(["seed 0", *WHY], rows)


UPDATES_SAID = """In the paper's table 7, ‖ΔW‖ / ‖W‖ is 11 % (6.91 / 61.95, W_q, r = 4); in the miniature's, above, ΔW
is almost as large as W. All but the first column are means over two blocks, the first and the last.

"""
UPDATES = ("norm", "rank90", "rank90_W0", "rank90_noise", "amplified", "own", "random", "in_W")
UPDATE_LABELS = (
    "‖ΔW‖ / ‖W‖, all blocks",
    "directions with 90 % of ΔW",
    "of W",
    "of noise",
    "amplification, r ≤ 4",
    "‖UᵀWV‖ in ΔW's directions",
    "in random ones",
    "in W's",
)


def updates_table(plan: Plan) -> str:
    rows = []
    sections = plan.sections()
    for cell in (*sections["headline"], *sections["sizes"], *sections["ranks"][-1:]):
        label, made = f"{WAYS[cell.way].label}, {cell.train:,} pairs", runs(plan, cell)[:1]
        for kind, numbers in made[0]["updates"].items() if made else ():
            found = [f"{numbers['norm']:.2%}", *(f"{numbers[name]:.4g}" for name in UPDATES[1:])]
            rows.append([label, kind.removesuffix("_proj"), *found])
        rows += [] if made else [[label]]
    return filled(["seed 0", "matrix", *UPDATE_LABELS], rows)


def shared_table(folder: Path) -> str:
    file, rows = folder / SHARED, []
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for label, *_ in PAIRS:
        for kind, phi in known.get(label, {}).items():
            rows.append([label, kind.removesuffix("_proj"), *(f"{phi[name]:.2f}" for name in ("top", "all", "chance"))])
        rows += [] if label in known else [[label]]
    return filled(["means over blocks", "matrix", "φ(1, 1)", "φ(r, r), r the smaller rank", "of random ones"], rows)


def rates_table(plan: Plan) -> str:
    rows = []
    for way, (label, *_) in WAYS.items():
        tried, chosen = plan.tried(way, [config.lr for config in plan.search(way)]), plan.rate(way)
        losses = {lr: "diverged" if loss is None else f"{loss:.3f}" for lr, loss in sorted(tried.items())}
        shown = [f"**{lr:g}: {loss}**" if lr == chosen else f"{lr:g}: {loss}" for lr, loss in losses.items()]
        rows.append([label, ", ".join(shown) + ("" if chosen or not shown else ", unfinished")])
    said = "Loss on the meanings kept for this, in nats per token; the chosen rate is bold."
    return f"{said}\n\n{filled(['method', 'rate: loss'], rows)}"


# ------------------------------------------------------------------------------------------------- verdicts


def all_claims(plan: Plan) -> Iterable[Claim]:
    """The paper's claims that the runs made so far can decide."""
    headline = plan.sections()["headline"]
    for N in sorted((plan.scale.usual, *plan.scale.sizes)):
        lora, full = (score(plan, Cell(cell.way, N), "bleu") for cell in headline)
        if lora.n and full.n:
            text = f"with {N:,} pairs, LoRA is not worse than full fine-tuning (BLEU {show(lora, 'bleu')} and "
            text += f"{show(full, 'bleu')}; {min(lora.n, full.n)} of {plan.scale.seeds} seeds)"
            yield Claim(text, not_worse(lora, full, "bleu"))
    lora, full = (score(plan, cell, "loss") for cell in headline)
    if lora.n and full.n:
        text = f"nor by the loss, with {plan.scale.usual:,} pairs ({show(lora, 'loss')} and {show(full, 'loss')})"
        yield Claim(text, not_worse(lora, full, "loss"))
    one, many = (score(plan, Cell(way, plan.scale.usual), "bleu") for way in ("r1", "r64"))
    if one.n and many.n:
        text = f"r = 1 is not worse than r = 64, each at its own rate (BLEU {show(one, 'bleu')} and "
        yield Claim(f"{text}{show(many, 'bleu')})", not_worse(one, many, "bleu"))
    tuned = score(plan, headline[0], "bleu")
    prompted = [plan.results[c.text]["test"]["bleu"] for c in plan.prompts().values() if c.text in plan.results]
    if tuned.n and prompted:
        text = f"LoRA is better than prompting (BLEU {show(tuned, 'bleu')}, the best prompt {max(prompted):.1f})"
        yield Claim(text, tuned.mean > max(prompted))
    best, best_full = (plan.rate(cell.way) for cell in headline)
    if best and best_full:
        ratio = best / best_full
        text = f"LoRA's best rate is about ten times full fine-tuning's (Schulman et al. 2025; here {ratio:.3g} times)"
        yield Claim(text, 3 < ratio < 33)
