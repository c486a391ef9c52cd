"""Trained parameters of GPT-2 and GPT-3, from the formulas of section 5.1, beside the paper's figures."""

from __future__ import annotations

from typing import Any

from minilora import methods
from minilora.experiments.experiment import Claim, Experiment, Results, markdown
from minilora.experiments.plan import lora
from minilora.transformer import GPTConfig

CONFIGS = {  # Radford et al. 2019, table 2; Brown et al. 2020, table 2.1
    "GPT-2 M": GPTConfig(vocab_size=50257, block_size=1024, n_layer=24, n_head=16, n_embd=1024),
    "GPT-2 L": GPTConfig(vocab_size=50257, block_size=1024, n_layer=36, n_head=20, n_embd=1280),
    "GPT-3": GPTConfig(vocab_size=50257, block_size=2048, n_layer=96, n_head=96, n_embd=12288),
}
ROWS: list[tuple[str, str, dict[str, Any], str, float]] = [  # model, method, options, as text, the paper's millions
    ("GPT-2 M", "full", {}, "", 354.92),
    ("GPT-2 M", "top2", {}, "", 25.19),
    ("GPT-2 M", "adapter_l", {"m": 6}, "m = 6", 0.37),
    ("GPT-2 M", "adapter_l", {"m": 224}, "m = 224", 11.09),
    ("GPT-2 M", "adapter_h", {"m": 112}, "m = 112", 11.09),
    ("GPT-2 M", "lora", lora(4), "r = 4 on W_q, W_v", 0.35),
    ("GPT-2 L", "full", {}, "", 774.03),
    ("GPT-2 L", "lora", lora(4), "r = 4 on W_q, W_v", 0.77),
    ("GPT-3", "full", {}, "", 175_255.8),
    ("GPT-3", "bitfit", {}, "", 14.2),
    ("GPT-3", "pre_embed", {"l_p": 256, "l_i": 8, "boundary": 0}, "l_p = 256, l_i = 8", 3.2),
    ("GPT-3", "pre_layer", {"l_p": 8, "l_i": 8, "boundary": 0}, "l_p = 8, l_i = 8", 20.2),
    ("GPT-3", "adapter_h", {"m": 1}, "m = 1", 7.1),
    ("GPT-3", "adapter_h", {"m": 8}, "m = 8", 40.1),
    ("GPT-3", "lora", lora(1), "r = 1 on W_q, W_v", 4.7),
    ("GPT-3", "lora", lora(8), "r = 8 on W_q, W_v", 37.7),
]
HALF = 2  # bytes of a parameter in half precision
MEGABYTES = 35  # of r = 4 on W_q and W_v of GPT-3: section 7.1, "roughly 35MB if stored in FP16"


def count(model: str, method: str, options: dict[str, Any]) -> int:
    return methods.count(method, CONFIGS[model], **options)


def decimals(paper: float) -> int:
    """Of the paper's figure, as printed."""
    return len(f"{paper:g}".partition(".")[2])


def agrees(ours: int, paper: float) -> bool:
    """Whether our count, in millions, rounds to what the paper prints."""
    return round(ours / 1e6, decimals(paper)) == paper


def _megabytes() -> float:
    return HALF * count("GPT-3", "lora", lora(4)) / 2**20


def table(results: Results) -> str:
    rows = []
    for model, method, options, text, paper in ROWS:
        ours = count(model, method, options)
        label = methods.METHODS[method].label + (f", {text}" if text else "")
        shown = f"{paper:,}M"
        rows.append(
            [
                model,
                label,
                f"{ours:,}",
                f"{ours / 1e6:,.{decimals(paper)}f}M",
                shown,
                "yes" if agrees(ours, paper) else "no",
            ]
        )
    size = f"GPT-3, r = 4 on W_q, W_v, in half precision: {_megabytes():.0f} MiB; the paper: roughly {MEGABYTES} MB."
    return markdown(["model", "method", "formula", "", "paper", "equal"], rows) + f"\n\n{size}"


def claims(results: Results) -> list[Claim]:
    equal = [agrees(count(model, method, options), paper) for model, method, options, _, paper in ROWS]
    gpt3 = [agrees(count("GPT-3", "lora", lora(r)), paper) for r, paper in ((1, 4.7), (8, 37.7))]
    gpt2 = count("GPT-2 M", "lora", lora(4))
    return [
        Claim("GPT-3 with LoRA on W_q, W_v: 4.7M at r = 1 and 37.7M at r = 8", all(gpt3)),
        Claim(f"GPT-3 at r = 4 in half precision: {_megabytes():.0f} MiB", abs(_megabytes() / MEGABYTES - 1) < 0.05),
        Claim(f"GPT-2 M at r = 4: the formula gives {gpt2 / 1e6:.2f}M, the paper 0.35M", agrees(gpt2, 0.35)),
        Claim(f"{sum(equal)} of {len(equal)} figures are equal as printed", all(equal)),
    ]


EXPERIMENT = Experiment(
    name="counts",
    title="Numbers of trained parameters",
    source="section 5.1 and tables 3 and 4",
    settings=lambda scale: [],
    table=table,
    claims=claims,
)
