"""Section 5.1's methods written a second time, a row of the batch at a time, each value with a bound on its rounding.

Adapters are read off the parameters' names. Special tokens are put into a row as one inserts into a list.
"""

from __future__ import annotations

import numpy as np

from minilora import GPT, lora_layers
from tests.reference import Bounded, Reference, exactly


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


def _row_logits(model: GPT, row: np.ndarray, boundary: int | None, occurrence: int) -> Bounded:
    c, f, state = model.config, Reference(model.config.dtype), model.state_dict()
    scaling = {path: layer.scaling for path, layer in lora_layers(model)}

    def weight(path: str) -> Bounded:
        W = state[f"{path}.weight"].astype(np.float64)
        if f"{path}.lora_A" not in state:
            return exactly(W)
        A, B = (state[f"{path}.lora_{m}"].astype(np.float64) for m in "AB")
        return f.lora_weight(W, A, B, scaling[path])

    def linear(x: Bounded, path: str) -> Bounded:
        return f.linear(x, weight(path), exactly(state[f"{path}.bias"]))

    def layer_norm(x: Bounded, path: str) -> Bounded:
        return f.layer_norm(x, weight(path), exactly(state[f"{path}.bias"]))

    def adapted(x: Bounded, path: str) -> Bounded:
        """x, or what the adapter at this path makes of it, if there is one."""
        if f"{path}.adapter.down.weight" not in state:
            return x
        n = layer_norm(x, f"{path}.adapter.ln") if f"{path}.adapter.ln.weight" in state else x
        return f.add(x, linear(f.gelu(linear(n, f"{path}.adapter.down")), f"{path}.adapter.up"))

    def heads(x: Bounded) -> Bounded:
        return x.map(lambda a: np.stack(np.split(a, c.n_head, axis=-1)))

    prefix, infix = (state.get(f"stack.{name}", np.zeros((1, 0, c.n_embd))) for name in ("prefix", "infix"))
    sequence = special_places(row, prefix.shape[1], infix.shape[1], boundary, occurrence)

    def with_specials(x: Bounded, i: int) -> Bounded:
        """The rows of x, those of special tokens taken from the parameters that enter block i."""
        value, error = x.value.copy(), x.error.copy()
        for at, item in enumerate(sequence):
            if isinstance(item, str):
                value[at], error[at] = (prefix if item[0] == "p" else infix)[i, int(item[1:])], 0
        return Bounded(value, error)

    text = f.add(weight("wte").map(lambda W: W[row]), weight("wpe").map(lambda W: W[: len(row)]))
    from_text = [0 if isinstance(item, str) else item for item in sequence]
    x = with_specials(text.map(lambda a: a[from_text]), 0)
    for i in range(c.n_layer):
        block = f"blocks.{i}"
        if 0 < i < len(prefix):
            x = with_specials(x, i)
        n = layer_norm(x, f"{block}.ln_1")
        q, k, v = (heads(linear(n, f"{block}.attn.{name}_proj")) for name in "qkv")
        y = f.attention(q, k, v).map(lambda a: np.concatenate(list(a), axis=-1))
        x = f.add(x, adapted(linear(y, f"{block}.attn.o_proj"), f"{block}.attn"))
        h = f.gelu(linear(layer_norm(x, f"{block}.ln_2"), f"{block}.mlp.up_proj"))
        x = f.add(x, adapted(linear(h, f"{block}.mlp.down_proj"), f"{block}.mlp"))
        x = adapted(x, block)
    mine = [at for at, item in enumerate(sequence) if not isinstance(item, str)]
    return f.linear(layer_norm(x.map(lambda a: a[mine]), "ln_f"), weight("wte"))
