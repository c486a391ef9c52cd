"""Table 18: the rank again, on data-to-text."""

from __future__ import annotations

from minilora.experiments.engine.experiment import FROM_NOTHING, Claim, Experiment, Results, markdown
from minilora.experiments.engine.plan import Scale, Setting, lora

METRICS = {"loss": "loss", "bleu": "BLEU", "nist": "NIST", "rouge_l": "ROUGE-L", "cider": "CIDEr"}
PAPER = {  # GPT-2 M on E2E: validation loss per token, BLEU, NIST, ROUGE-L, CIDEr (METEOR left out)
    1: ("1.23", "68.72", "8.72", "70.5", "2.43"),
    4: ("1.18", "70.38", "8.84", "71.9", "2.53"),
    64: ("1.16", "69.24", "8.72", "71.8", "2.51"),
}


def setting(r: int) -> Setting:
    return Setting("e2e", "lora", lora(r))


def settings(scale: Scale) -> list[Setting]:
    return [setting(r) for r in PAPER]


def table(results: Results) -> str:
    header = ["r", "trained", *METRICS.values(), *(f"paper: {name}" for name in METRICS.values())]
    return markdown(header, [[str(r), *results.row(setting(r), *METRICS), *theirs] for r, theirs in PAPER.items()])


def claims(results: Results) -> list[Claim]:
    loss, bleu = ({r: results.score(setting(r), metric).mean for r in PAPER} for metric in ("loss", "bleu"))
    best_loss, best_bleu = min(PAPER, key=lambda r: loss[r]), max(PAPER, key=lambda r: bleu[r])
    return [
        Claim(
            f"the loss falls from r = 1 to r = 4 ({loss[1]:.3f}, {loss[4]:.3f}), and by at most a quarter as much from "
            f"there to r = 64 ({loss[64]:.3f})",
            loss[1] > loss[4] and loss[4] - loss[64] <= 0.25 * (loss[1] - loss[4]),
        ),
        Claim(
            f"a low rank has the best BLEU (here r = {best_bleu} has; the lowest loss has r = {best_loss})",
            best_bleu < 64,
            FROM_NOTHING,
        ),
    ]


EXPERIMENT = Experiment("table18", "Table 18: the rank on data-to-text", "appendix H.2", settings, table, claims)
