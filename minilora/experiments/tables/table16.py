"""Table 16: learning from few examples.  (The paper uses MNLI; we use sql, where the methods differ more.)"""

from __future__ import annotations

from minilora.experiments.engine.experiment import HEADLINE, Claim, Experiment, Results, Score, labels, markdown
from minilora.experiments.engine.plan import Scale, Setting, reference
from minilora.methods import METHODS

TASK = "sql"
METRIC = HEADLINE[TASK]
SIZES = (100, None)  # examples; None: all
PAPER = {  # GPT-3, validation accuracy on MNLI-100, -1k, -10k, -392K
    "full": ("60.2", "85.8", "88.9", "89.5"),
    "pre_embed": ("37.6", "75.2", "79.5", "88.6"),
    "pre_layer": ("48.3", "82.5", "85.9", "89.6"),
    "lora": ("63.8", "85.6", "89.2", "91.7"),
}
PREFIXES = {"pre_embed": "PreEmbed", "pre_layer": "PreLayer"}


def settings(scale: Scale) -> list[Setting]:
    return [reference(TASK, method, train) for train in reversed(SIZES) for method in PAPER]


def table(results: Results) -> str:
    names = [f"{TASK}-{results.scale.train if train is None else train}" for train in SIZES]
    papers = [f"paper: MNLI-{n}" for n in ("100", "1k", "10k", "392K")]
    rows = [
        [METHODS[method].label, *(results.cell_with_loss(reference(TASK, method, train)) for train in SIZES), *theirs]
        for method, theirs in PAPER.items()
    ]
    return markdown([f"{labels(METRIC)[0]} (loss)", *names, *papers], rows)


def claims(results: Results) -> list[Claim]:
    def scores(train: int | None, metric: str = METRIC) -> dict[str, Score]:
        return {method: results.score(reference(TASK, method, train), metric) for method in PAPER}

    few, many, loss = scores(SIZES[0]), scores(None), scores(SIZES[0], "loss")

    def lead(found: dict[str, Score], method: str) -> float:
        return found["lora"].gain(found[method], METRIC)

    def against_lora(found: dict[str, Score]) -> str:
        return ", ".join(f"{name} {-lead(found, method):+.1f}" for method, name in PREFIXES.items())

    return [
        Claim(
            f"with {SIZES[0]} examples LoRA is not worse than full fine-tuning ({lead(few, 'full'):+.1f} points)",
            few["lora"].not_worse(few["full"], METRIC),
            f"its answers are worse although its loss is lower ({loss['lora'].mean:.3f} and {loss['full'].mean:.3f}): "
            "the two measures disagree about which has learned more",
        ),
        Claim(
            f"and its loss is lower ({loss['lora'].mean:.3f} and {loss['full'].mean:.3f})",
            loss["lora"].gain(loss["full"], "loss") > 0,
        ),
        Claim(
            f"with {SIZES[0]} examples the prefixes are more than 2 points behind LoRA ({against_lora(few)})",
            all(lead(few, method) > 2 for method in PREFIXES),
        ),
        Claim(
            f"with all examples they are closer to LoRA ({against_lora(many)})",
            all(lead(many, method) < lead(few, method) for method in PREFIXES),
            "prefixes answer nothing right with 100 examples or with all, so the distance is LoRA's own score: a "
            "prefix brings out what a model can do, and this base cannot do the task (`minilora reproduce skill`)",
        ),
    ]


EXPERIMENT = Experiment("table16", "Table 16: few examples", "appendix F.3", settings, table, claims)
