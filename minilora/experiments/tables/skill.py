"""Why a small rank is not enough here: the smallest sufficient rank against what the base can do already.

One task, two bases. The task is sql, its queries written with other keywords. The bases are the shipped one, and a
copy of it that was taught ordinary sql, all of its parameters, for 60 steps. They get the same data, the same methods
and the same seeds, so only the skill they start with differs.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

import minilora as ml
from minilora import methods, tasks
from minilora.experiments.engine.experiment import Claim, Experiment, Results, Score, markdown
from minilora.experiments.engine.figures import scores_by_rank
from minilora.experiments.engine.plan import Scale, lora
from minilora.experiments.engine.run import Store, load_task, write_text
from minilora.machine.blas import single_threaded_blas

TAUGHT = {"the shipped base": 0, "taught sql": 60}  # steps
RANKS = (1, 2, 4, 16, 64)  # on W_q and W_v
RATES = {True: (1e-2, 3e-2), False: (3e-4, 1e-3)}  # of LoRA, of full fine-tuning: tried with seed 0
KEYWORDS = {"SELECT ": "get ", " FROM ": " of ", " WHERE ": " if ", " AND ": " and "}
ADAPTED = ("q_proj.weight", "v_proj.weight")


def reworded(example: tasks.Example) -> tasks.Example:
    """The same question, its query in other words: "get owner of boats if price > 40"."""
    answer = example.answer
    for ours, theirs in KEYWORDS.items():
        answer = answer.replace(ours, theirs)
    return dataclasses.replace(example, answer=answer)


def train(model: ml.GPT, data: tasks.TaskData, lr: float, seed: int, scale: Scale, steps: int) -> None:
    def schedule(step: int) -> float:
        return ml.warmup_cosine(step, steps, lr, warmup=max(1, steps * 6 // 100))

    ml.fit(model, data, steps=steps, lr=schedule, batch_size=scale.batch_size, seed=seed, progress=False)


def one_run(
    base: ml.GPT, data: dict[str, tasks.TaskData], r: int, lr: float, seed: int, scale: Scale
) -> dict[str, float]:
    """The losses of one tuned copy (r = 0: full fine-tuning), and |dW| / |W| of W_q and W_v, mean over the layers."""
    model = copy.deepcopy(base)
    if r:
        methods.apply(model, "lora", seed=seed, **lora(r))
    train(model, data["train"], lr, seed, scale, scale.steps // 2)
    found = {split: ml.evaluate(model, data[split]) for split in ("valid", "test")}
    after, before = (ml.merge(model) if r else model).named_parameters(), base.named_parameters()
    W0 = {name: parameter.data for name, parameter in before.items() if name.endswith(ADAPTED)}
    sizes = [float(np.linalg.norm(after[name].data - W) / np.linalg.norm(W)) for name, W in W0.items()]
    return found | {"lr": lr, "size": statistics.fmean(sizes)}


def measure(results: Results, store: Store) -> Any:
    """For each base, its loss before training, and for each rank (0: full) a run per seed at the better of two rates.

    Each run is stored as it ends, so that an interrupted measurement goes on.
    """
    scale, file = results.scale, store.folder / "skill.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    task = load_task("sql", scale.train, scale.valid, scale.test)
    splits = {split: getattr(task, split) for split in ("train", "valid", "test")}
    data = {split: tasks.TaskData([reworded(example) for example in splits[split]]) for split in splits}

    def kept(key: str, work: Any, *arguments: Any) -> Any:
        if key not in done:
            done[key] = work(*arguments)
            write_text(file, json.dumps(done))
        return done[key]

    measured: dict[str, Any] = {}
    with single_threaded_blas():
        for name, steps in TAUGHT.items():
            base, _ = ml.load_base()
            steps = steps * scale.steps // Scale.steps
            train(base, tasks.TaskData(splits["train"]), 1e-3, scale.seeds, scale, steps)
            key = f"{steps} of {scale.steps} steps, {scale.train} examples"
            runs: dict[str, list[Any]] = {}
            for r in (0, *RANKS):

                def run(lr: float, seed: int, r: int = r, base: ml.GPT = base, key: str = key) -> dict[str, float]:
                    return kept(f"{key}, r {r}, lr {lr}, seed {seed}", one_run, base, data, r, lr, seed, scale)

                rates = RATES[r > 0] if scale.searched else RATES[r > 0][:1]
                best = min((run(lr, 0) for lr in rates), key=lambda tried: tried["valid"])
                runs[str(r)] = [best, *(run(best["lr"], seed) for seed in range(1, scale.seeds))]
            measured[name] = {"start": kept(key, ml.evaluate, base, data["test"]), "runs": runs}
    return measured


def score(results: Results, base: str, r: int, what: str = "test") -> Score:
    values = [run[what] for run in results.measured[base]["runs"][str(r)]]
    return Score(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def sufficient(results: Results, base: str) -> int:
    """The smallest rank that is not worse than the largest."""
    return next(r for r in RANKS if score(results, base, r).not_worse(score(results, base, RANKS[-1]), "loss"))


def cost_of_rank_one(results: Results, base: str) -> float:
    """How many times the loss of the largest rank rank 1 ends with."""
    return score(results, base, 1).mean / score(results, base, RANKS[-1]).mean


def finding(results: Results) -> str:
    """The course's main finding, in one sentence with its numbers."""
    unskilled, *_, skilled = TAUGHT
    return (
        "What a small rank costs depends on what the base can do already. On one task, with the same data, rank 1 ends "
        f"at {cost_of_rank_one(results, unskilled):.1f} times the loss of rank {RANKS[-1]} on a base that never saw "
        f"SQL, and at {cost_of_rank_one(results, skilled):.1f} times on one that was taught it in other "
        "words. The paper adapts models that can nearly do its tasks; our small base can do none of sql, e2e, nli or "
        "summ. So where this page wants a higher rank or a longer training than the paper, think of this first."
    )


def table(results: Results) -> str:
    rows = []
    for name in TAUGHT:
        cells = [score(results, name, r).show("loss") for r in RANKS]
        full, start = score(results, name, 0).show("loss"), f"{results.measured[name]['start']:.2f}"
        sizes = f"{score(results, name, 4, 'size').mean:.0%}, {score(results, name, 0, 'size').mean:.0%}"
        rows.append([name, start, *cells, full, str(sufficient(results, name)), sizes])
    ranks = [f"r = {r}" for r in RANKS]
    header = ["base", "loss before", *ranks, "full", "smallest sufficient r", "size of dW: LoRA r = 4, full"]
    return (
        f"sql in other words, LoRA on W_q and W_v, {results.scale.steps // 2} steps, test loss in nats per byte; "
        f"*sufficient*: not worse than r = {RANKS[-1]}; the size of dW is relative to W:\n\n" + markdown(header, rows)
    )


def claims(results: Results) -> list[Claim]:
    costs = [cost_of_rank_one(results, name) for name in TAUGHT]
    ranks = [sufficient(results, name) for name in TAUGHT]
    return [
        Claim(
            "the more of the task the base knows, the less a small rank costs (rank 1 has "
            f"{', '.join(f'{cost:.1f}' for cost in costs)} times the loss of rank {RANKS[-1]})",
            costs == sorted(costs, reverse=True),
            "the costs do not fall in the order of the bases' skill",
        ),
        Claim(
            f"and the smaller the rank that is enough ({', '.join(map(str, ranks))})",
            ranks == sorted(ranks, reverse=True) and ranks[-1] < ranks[0],
            f"rank {RANKS[-1]} stays ahead on both by more than the scatter over seeds, on the taught one by less",
        ),
    ]


def figure(results: Results, path: Path) -> None:
    curves = {name: {r: score(results, name, r) for r in RANKS} for name in TAUGHT}
    scores_by_rank({"loss, nats per byte": curves}, path)


EXPERIMENT = Experiment(
    "skill",
    "Why: the smallest sufficient rank, against what the base can do",
    "a question that section 7.2 leaves open (footnote 6)",
    lambda scale: [],
    table,
    claims,
    figure,
    measure,
    finding,
)
