"""Section 5.1's methods written a second time, one row of the batch at a time, each value with a bound on its rounding.

Bottlenecks are found by the parameters' names. Special tokens are inserted into a row as into a list.
"""

from __future__ import annotations

import numpy as np

from minilora import GPT, lora_layers
from tests.reference import Bounded, ReferenceGPT2


def method_logits(model: GPT, tokens: np.ndarray, boundary: int | None = None, occurrence: int = 1) -> Bounded:
    """The logits (B, T, V) of a model with any method; `boundary` and `occurrence` say where an infix goes."""
    rows = [_row_logits(model, row, boundary, occurrence) for row in np.asarray(tokens)]
    return Bounded(np.stack([row.value for row in rows]), np.stack([row.error for row in rows]))


def special_places(row: np.ndarray, l_p: int, l_i: int, boundary: int | None, occurrence: int) -> list[int | str]:
    """The sequence: "p0" "p1" ... for the prefix, "i0" ... for the infix, and t for token t of the row."""
    boundaries = [t for t, token in enumerate(row) if token == boundary]
    at = boundaries[occurrence - 1] if len(boundaries) >= occurrence else len(row)
    sequence: list[int | str] = list(range(len(row)))
    sequence[at:at] = [f"i{k}" for k in range(l_i)]
    return [f"p{k}" for k in range(l_p)] + sequence


class WithBottlenecks(ReferenceGPT2):
    def adapted(self, x: Bounded, path: str) -> Bounded:
        """x, or what the bottleneck at this path makes of it, if there is one."""
        if f"{path}.adapter.down.weight" not in self.state:
            return x
        n = self.norm(x, f"{path}.adapter.ln") if f"{path}.adapter.ln.weight" in self.state else x
        return self.add(x, self.layer(self.gelu(self.layer(n, f"{path}.adapter.down")), f"{path}.adapter.up"))


def _row_logits(model: GPT, row: np.ndarray, boundary: int | None, occurrence: int) -> Bounded:
    c, state = model.config, model.state_dict()
    gpt2 = WithBottlenecks(state, c, {path: layer.scaling for path, layer in lora_layers(model)})
    prefix, infix = (state.get(f"stack.{name}", np.zeros((1, 0, c.n_embd))) for name in ("prefix", "infix"))
    sequence = special_places(row, prefix.shape[1], infix.shape[1], boundary, occurrence)

    def with_specials(x: Bounded, i: int) -> Bounded:
        """The rows of x, those of special tokens taken from the parameters that enter block i."""
        value, error = x.value.copy(), x.error.copy()
        for at, item in enumerate(sequence):
            if isinstance(item, str):
                value[at], error[at] = (prefix if item[0] == "p" else infix)[i, int(item[1:])], 0
        return Bounded(value, error)

    from_text = [0 if isinstance(item, str) else item for item in sequence]
    x = gpt2.embed(row).map(lambda a: a[from_text])
    for i in range(c.n_layer):
        x = gpt2.block(with_specials(x, i) if i < len(prefix) else x, i)
    mine = [at for at, item in enumerate(sequence) if not isinstance(item, str)]
    return gpt2.head(x.map(lambda a: a[mine]))
