"""Table 16: few examples to learn from.  (The paper has MNLI; here sql, on which the methods lie further apart.)"""

from __future__ import annotations

from minilora import methods
from minilora.experiments.engine.experiment import (
    METRICS,
    Claim,
    Experiment,
    Results,
    gain,
    headline,
    markdown,
    not_worse,
)
from minilora.experiments.engine.plan import Scale, Setting, reference

TASK = "sql"
METHODS = ("full", "pre_embed", "pre_layer", "lora")
SIZES = (100, None)  # examples; None is all of them
PAPER = {  # GPT-3, validation accuracy on MNLI-100, -1k, -10k, -392K
    "full": ("60.2", "85.8", "88.9", "89.5"),
    "pre_embed": ("37.6", "75.2", "79.5", "88.6"),
    "pre_layer": ("48.3", "82.5", "85.9", "89.6"),
    "lora": ("63.8", "85.6", "89.2", "91.7"),
}


def settings(scale: Scale) -> list[Setting]:
    return [reference(TASK, method, train) for train in reversed(SIZES) for method in METHODS]


def table(results: Results) -> str:
    names = [f"{TASK}-{results.scale.train if train is None else train}" for train in SIZES]
    papers = [f"paper: MNLI-{n}" for n in ("100", "1k", "10k", "392K")]
    rows = []
    for method in METHODS:
        cells = [_cell(results, reference(TASK, method, train)) for train in SIZES]
        rows.append([methods.METHODS[method].label, *cells, *PAPER[method]])
    return markdown([f"{METRICS[headline(TASK)].label} (loss)", *names, *papers], rows)


def _cell(results: Results, own: Setting) -> str:
    return f"{results.cell(own)} ({results.cell(own, 'loss')})"


def claims(results: Results) -> list[Claim]:
    few = {method: results.score(reference(TASK, method, SIZES[0])) for method in METHODS}
    many = {method: results.score(reference(TASK, method)) for method in METHODS}

    loss = {method: results.score(reference(TASK, method, SIZES[0]), "loss") for method in METHODS}

    def lead(scores: dict, method: str) -> float:
        return 100 * gain(scores["lora"], scores[method], headline(TASK))

    behind = [m for m in ("pre_embed", "pre_layer") if lead(few, m) > 2]
    closing = [m for m in ("pre_embed", "pre_layer") if lead(many, m) < lead(few, m)]
    return [
        Claim(
            f"with {SIZES[0]} examples LoRA is not worse than full fine-tuning ({lead(few, 'full'):+.1f} points)",
            not_worse(few["lora"], few["full"], headline(TASK)),
        ),
        Claim(
            f"and its loss is lower ({loss['lora'].mean:.3f} and {loss['full'].mean:.3f})",
            gain(loss["lora"], loss["full"], "loss") > 0,
        ),
        Claim(
            f"with {SIZES[0]} examples the prefixes are more than 2 points behind LoRA (PreEmbed "
            f"{-lead(few, 'pre_embed'):+.1f}, PreLayer {-lead(few, 'pre_layer'):+.1f})",
            len(behind) == 2,
        ),
        Claim(
            f"with all examples they are less far behind (PreEmbed {-lead(many, 'pre_embed'):+.1f}, PreLayer "
            f"{-lead(many, 'pre_layer'):+.1f})",
            len(closing) == 2,
        ),
    ]


EXPERIMENT = Experiment(
    name="table16",
    title="Table 16: few examples",
    source="appendix F.3",
    settings=settings,
    table=table,
    claims=claims,
)
