"""Trained parameters of GPT-2 and GPT-3: the formulas of section 5.1 against the paper's printed counts."""

from __future__ import annotations

from minilora import methods
from minilora.experiments.engine.experiment import Claim, Experiment, Results, markdown

MEGABYTES = 35  # of r = 4 on W_q and W_v of GPT-3: sections 4.2 and 7.1, "roughly 35MB"


def megabytes() -> float:
    """The size of GPT-3's LoRA with r = 4 on W_q and W_v in half precision, in MiB."""
    return methods.checkpoint_bytes(methods.count("lora", methods.MODELS["GPT-3"], r=4)) / 2**20


def table(results: Results) -> str:
    rows = []
    for row in methods.published_counts():
        options = ", ".join(f"{name} = {value}" for name, value in row.options.items())
        counts = [f"{row.count:,}", f"{row.printed:,}M", row.table, "yes" if row.agrees else "no"]
        rows.append([row.model, row.label, options, *counts])
    size = f"GPT-3, r = 4 on W_q, W_v, in half precision: {megabytes():.0f} MiB; the paper: roughly {MEGABYTES} MB."
    return markdown(["model", "method", "options", "formula", "paper", "where", "equal"], rows) + f"\n\n{size}"


def claims(results: Results) -> list[Claim]:
    rows = list(methods.published_counts())
    gpt3 = {row.options["r"]: row for row in rows if (row.model, row.name) == ("GPT-3", "lora")}
    gpt2 = next(row for row in rows if (row.model, row.name) == ("GPT-2 M", "lora"))
    off = [f"{row.model} {row.label} {row.millions:,.2f}M, printed {row.printed:,}M" for row in rows if not row.agrees]
    built = (
        "each formula is equal to the count in a model that is built (lesson 11), so the paper counts something else"
    )
    lora = f"{gpt3[1].millions:.1f}M at r = 1 and {gpt3[8].millions:.1f}M at r = 8"
    return [
        Claim(f"GPT-3 with LoRA on W_q, W_v: {lora}", gpt3[1].agrees and gpt3[8].agrees),
        Claim(f"GPT-3 at r = 4 in half precision: {megabytes():.0f} MiB", abs(megabytes() / MEGABYTES - 1) < 0.05),
        Claim(
            f"GPT-2 M at r = 4: the formula gives {gpt2.millions:.2f}M, the paper {gpt2.printed}M", gpt2.agrees, built
        ),
        Claim(f"all {len(rows)} counts equal the printed ones, except: {'; '.join(off) or 'none'}", not off, built),
    ]


TITLE = "Numbers of trained parameters"
EXPERIMENT = Experiment("counts", TITLE, "section 5.1 and tables 3 and 4", lambda scale: [], table, claims)
