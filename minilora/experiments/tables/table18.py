"""Table 18: the rank again, on data-to-text."""

from __future__ import annotations

from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import Scale, Setting, lora

RANKS = (1, 4, 64)
METRICS = ("loss", "bleu", "nist", "rouge_l", "cider")
PAPER = {  # GPT-2 M on E2E: validation loss a token, BLEU, NIST, ROUGE-L, CIDEr (METEOR left out)
    1: ("1.23", "68.72", "8.72", "70.5", "2.43"),
    4: ("1.18", "70.38", "8.84", "71.9", "2.53"),
    64: ("1.16", "69.24", "8.72", "71.8", "2.51"),
}
NAMES = ("loss", "BLEU", "NIST", "ROUGE-L", "CIDEr")


def setting(r: int) -> Setting:
    return Setting("e2e", "lora", lora(r))


def settings(scale: Scale) -> list[Setting]:
    return [setting(r) for r in RANKS]


def table(results: Results) -> str:
    header = ["r", "trained", *NAMES, *(f"paper: {name}" for name in NAMES)]
    return markdown(
        header,
        [
            [str(r), f"{results.trainable(setting(r)):,}", *(results.cell(setting(r), m) for m in METRICS), *PAPER[r]]
            for r in RANKS
        ],
    )


def claims(results: Results) -> list[Claim]:
    loss = {r: results.score(setting(r), "loss").mean for r in RANKS}
    bleu = {r: results.score(setting(r), "bleu").mean for r in RANKS}
    best_loss, best_bleu = min(RANKS, key=lambda r: loss[r]), max(RANKS, key=lambda r: bleu[r])
    return [
        Claim(
            f"the loss falls from r = 1 to r = 4 ({loss[1]:.3f}, {loss[4]:.3f}), and by no more than a quarter of that "
            f"from there to r = 64 ({loss[64]:.3f})",
            loss[1] > loss[4] and loss[4] - loss[64] <= 0.25 * (loss[1] - loss[4]),
        ),
        Claim(
            f"a low rank has the best BLEU (here r = {best_bleu}; the least loss has r = {best_loss})", best_bleu < 64
        ),
    ]


EXPERIMENT = Experiment(
    name="table18",
    title="Table 18: the rank on data-to-text",
    source="appendix H.2",
    settings=settings,
    table=table,
    claims=claims,
)
