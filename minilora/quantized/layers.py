"""Quantized weights in a model: the parameter that holds one, and the table of tokens that is read row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minilora.lora import LoraError, lora_layers
from minilora.machine.backend import Array, array_module
from minilora.nn import Cache, Decoder, Embedding, Gradients, Linear, Parameter, Rng
from minilora.quantized.nf4 import quantize_nf4
from minilora.quantized.weight import QuantizedWeight

ROWS = 4096  # of a table that are floats at once


class QuantizedParameter(Parameter):
    """A parameter whose `data` is computed each time that it is read, and cannot be written: it never trains.

    made_from  the hash of the whole base before it was quantized; None where the quantized weights are the original
    """

    __slots__ = ("dtype", "made_from", "weight")
    writable = False

    def __init__(self, weight: QuantizedWeight, dtype: str, made_from: str | None = None) -> None:
        self.weight, self.dtype, self.made_from, self.name = weight, dtype, made_from, ""

    @property
    def data(self) -> Array:  # type: ignore[override]
        return self.weight.rows().astype(self.dtype, copy=False)

    @data.setter
    def data(self, value: Array) -> None:
        raise LoraError(
            f"{self.name} is stored as {self.weight.kind} and cannot be written: call quantized.dequantize(model) first"
        )

    @property
    def trainable(self) -> bool:  # type: ignore[override]
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            raise LoraError(f"{self.name} is stored as {self.weight.kind} and cannot train: use add_lora(model, config)")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.weight.shape

    @property
    def size(self) -> int:
        return self.weight.shape[0] * self.weight.shape[1]

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes

    def move(self, move: Callable[[Array], Array]) -> None:
        self.weight.move(move)

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedParameter:
        """Copies share the weight, which nobody writes."""
        copied = QuantizedParameter(self.weight, self.dtype, self.made_from)
        copied.name = self.name
        return copied

    def __repr__(self) -> str:
        return f"QuantizedParameter({self.name!r}, shape={self.shape}, {self.weight.kind})"


class QuantizedEmbedding(Embedding):
    """An Embedding that looks up only the rows it needs, and compares with ROWS of them at a time."""

    weight: QuantizedParameter

    def forward(self, tokens: Array, rng: Rng = None) -> tuple[Array, Cache]:
        """tokens (...) int -> y (..., d)."""
        return self._rows(tokens), None

    def unembed(self, x: Array, rng: Rng = None) -> tuple[Array, Cache]:
        """x (..., d) -> logits (..., V)."""
        xp, V = array_module(x), self.weight.shape[0]
        logits = xp.empty((*x.shape[:-1], V), x.dtype)
        rows, into = x.reshape(-1, x.shape[-1]), logits.reshape(-1, V)
        for part in self._parts():
            xp.matmul(rows, self._rows(part).T, out=into[:, part])
        return logits, None

    def unembed_backward(self, dlogits: Array, cache: Cache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dlogits (..., V) -> dx (..., d)."""
        if not need_dx:
            return None
        dy = dlogits.reshape(-1, dlogits.shape[-1])
        dx = sum(dy[:, part] @ self._rows(part) for part in self._parts())
        return dx.reshape(*dlogits.shape[:-1], -1)

    def _rows(self, which: slice | Array) -> Array:
        return self.weight.weight.rows(which).astype(self.weight.dtype, copy=False)

    def _parts(self) -> list[slice]:
        return [slice(i, i + ROWS) for i in range(0, self.weight.shape[0], ROWS)]


def quantize(model: Decoder) -> Decoder:
    """Store every projection of the blocks as NF4, in place, as QLoRA does; add a LoRA afterwards.

    Embeddings, norms, biases and a head of its own stay as they are.
    LoraError if the model has a LoRA, or is quantized already; ValueError if a matrix has rows of odd length.
    """
    if any(lora_layers(model)) or is_quantized(model):
        raise LoraError("quantize a plain model, and add the LoRA afterwards: call remove_lora(model) first")
    made_from = base_hash(model, [])
    linears = [layer for block in model.blocks for _, layer in block.named_modules() if isinstance(layer, Linear)]
    weights = [quantize_nf4(layer.weight.data) for layer in linears]
    for layer, weight in zip(linears, weights, strict=True):
        layer.weight = QuantizedParameter(weight, model.dtype, made_from)
    model.assign_names()
    return model
