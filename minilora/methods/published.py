"""Parameter counts that Hu et al. 2021 print, beside what the formulas of section 5.1 give for the same models.

for row in published_counts():
    print(row.model, row.label, row.options, row.printed, row.count)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minilora.methods.registry import METHODS
from minilora.nn import whole_number
from minilora.transformer import GPTConfig

MODELS = {
    "GPT-2 M": GPTConfig(vocab_size=50257, block_size=1024, n_layer=24, n_head=16, n_embd=1024),
    "GPT-2 L": GPTConfig(vocab_size=50257, block_size=1024, n_layer=36, n_head=20, n_embd=1280),
    "GPT-3": GPTConfig(vocab_size=50257, block_size=2048, n_layer=96, n_head=96, n_embd=12288),
}

# model, method, options, millions as printed, where. The tables give counts, not widths or ranks: the options here are
# the whole numbers that reproduce the count, or come closest; GPT-2's r = 4 is the paper's own (table 11).
_PRINTED: tuple[tuple[str, str, dict[str, Any], float, str], ...] = (
    ("GPT-2 M", "full", {}, 354.92, "table 3"),
    ("GPT-2 M", "adapter_l", {"m": 6}, 0.37, "table 3"),
    ("GPT-2 M", "adapter_l", {"m": 224}, 11.09, "table 3"),
    ("GPT-2 M", "adapter_h", {"m": 112}, 11.09, "table 3"),
    ("GPT-2 M", "top2", {}, 25.19, "table 3"),
    ("GPT-2 M", "pre_layer", {"l_p": 14}, 0.35, "table 3"),
    ("GPT-2 M", "lora", {"r": 4}, 0.35, "table 3"),
    ("GPT-2 L", "full", {}, 774.03, "table 3"),
    ("GPT-2 L", "adapter_l", {"m": 8}, 0.88, "table 3"),
    ("GPT-2 L", "adapter_l", {"m": 248}, 23.00, "table 3"),
    ("GPT-2 L", "lora", {"r": 4}, 0.77, "table 3"),
    ("GPT-3", "full", {}, 175_255.8, "table 4"),
    ("GPT-3", "bitfit", {}, 14.2, "table 4"),
    ("GPT-3", "pre_embed", {"l_p": 256, "l_i": 8}, 3.2, "table 4"),
    ("GPT-3", "pre_layer", {"l_p": 8, "l_i": 8}, 20.2, "table 4"),
    ("GPT-3", "adapter_h", {"m": 1}, 7.1, "table 4"),
    ("GPT-3", "adapter_h", {"m": 8}, 40.1, "table 4"),
    ("GPT-3", "lora", {"r": 1}, 4.7, "table 4"),
    ("GPT-3", "lora", {"r": 8}, 37.7, "table 4"),
)


@dataclass(frozen=True)
class Published:
    """One row: `printed` in millions, as in the paper's `table`; `count` from the formula, in parameters."""

    model: str
    name: str
    label: str
    options: dict[str, Any]
    table: str
    printed: float
    count: int

    @property
    def millions(self) -> float:
        return self.count / 1e6

    @property
    def agrees(self) -> bool:
        """Whether the formula gives the printed figure to all its digits."""
        digits = len(str(self.printed).partition(".")[2])
        return round(self.millions, digits) == self.printed


def published_counts() -> Iterator[Published]:
    """The paper's printed counts of GPT-2 M, GPT-2 L and GPT-3, each with what the formula gives."""
    for model, name, options, printed, table in _PRINTED:
        infix = {"boundary": 0} if options.get("l_i") else {}  # any token: it does not count
        count = METHODS[name].count(MODELS[model], **options, **infix)
        yield Published(model, name, METHODS[name].label, options, table, printed, count)


def checkpoint_bytes(count: int, bits: int = 16) -> int:
    """The size on disk of `count` parameters: the paper's 35 MB for GPT-3 at r = 4 in half precision (section 4.2)."""
    return whole_number("count", count, 0) * whole_number("bits", bits) // 8
