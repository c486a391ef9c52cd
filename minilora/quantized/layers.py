"""Quantized weights in a model: the parameter that holds one, and the table of tokens that is read row by row."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar

from minilora.files.header import base_hash, quantization
from minilora.lora import LoraError, lora_layers
from minilora.machine.backend import Array, array_module, to_host
from minilora.nn import Cache, Decoder, Embedding, Gradients, Linear, Parameter, Rng
from minilora.quantized.nf4 import quantize_nf4
from minilora.quantized.weight import QuantizedWeight

ROWS = 4096  # of a table that are floats at once

Model = TypeVar("Model", bound=Decoder)


class QuantizedParameter(Parameter):
    """A parameter whose `data` is computed each time it is read, and cannot be written, so that it never trains.

    made_from  the hash of the whole base before it was quantized; None where these weights are the original
    """

    __slots__ = ("dtype", "made_from", "weight")

    def __init__(self, weight: QuantizedWeight, dtype: str, made_from: str | None = None) -> None:
        self.weight, self.dtype, self.made_from, self.name = weight, dtype, made_from, ""

    @property
    def stored_as(self) -> str:  # type: ignore[override]
        return self.weight.kind

    @property
    def data(self) -> Array:  # type: ignore[override]
        return self.rows(slice(None))

    @data.setter
    def data(self, value: Array) -> None:
        raise LoraError(f"{self.name} is stored as {self.stored_as}: call quantized.dequantize(model) to write to it")

    @property
    def trainable(self) -> bool:  # type: ignore[override]
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            raise LoraError(f"{self.name} is stored as {self.stored_as} and cannot train: add_lora(model, config)")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.weight.shape

    @property
    def size(self) -> int:
        return math.prod(self.weight.shape)

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes

    def rows(self, which: Any) -> Array:
        return self.weight.rows(which).astype(self.dtype, copy=False)

    def as_floats(self) -> Parameter:
        floats = Parameter(self.data, trainable=False)
        floats.name = self.name
        return floats

    def frozen_view(self) -> Parameter:
        return copy.deepcopy(self)

    def move(self, move: Callable[[Array], Array]) -> None:
        self.weight.move(move)

    def __deepcopy__(self, memo: dict[int, Any]) -> QuantizedParameter:
        """A copy shares the weight, to which nobody writes."""
        copied = QuantizedParameter(self.weight, self.dtype, self.made_from)
        copied.name = self.name
        return copied

    def __repr__(self) -> str:
        return f"QuantizedParameter({self.name!r}, shape={self.shape}, {self.stored_as})"


class QuantizedEmbedding(Embedding):
    """An Embedding that looks up only the rows it needs, and compares with ROWS of them at a time."""

    def forward(self, tokens: Array, rng: Rng = None) -> tuple[Array, Cache]:
        """tokens (...) int -> y (..., d)."""
        return self.weight.rows(tokens), None

    def backward(self, dy: Array, cache: Cache, grads: Gradients) -> None:
        """Nothing trains."""

    def unembed(self, x: Array, rng: Rng = None) -> tuple[Array, Cache]:
        """x (..., d) -> logits (..., V)."""
        xp, V = array_module(x), self.weight.shape[0]
        logits = xp.empty((*x.shape[:-1], V), x.dtype)
        rows, into = x.reshape(-1, x.shape[-1]), logits.reshape(-1, V)
        for part in _parts(V):
            xp.matmul(rows, self.weight.rows(part).T, out=into[:, part])
        return logits, None

    def unembed_backward(self, dlogits: Array, cache: Cache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dlogits (..., V) -> dx (..., d)."""
        if not need_dx:
            return None
        V, d = self.weight.shape
        dy = dlogits.reshape(-1, V)
        dx = array_module(dy).zeros((len(dy), d), dy.dtype)
        for part in _parts(V):
            dx += dy[:, part] @ self.weight.rows(part)
        return dx.reshape(*dlogits.shape[:-1], d)


def _parts(V: int) -> list[slice]:
    return [slice(i, min(i + ROWS, V)) for i in range(0, V, ROWS)]


def quantize(model: Model) -> Model:
    """Store every projection of the blocks as NF4, in place, and return the model; add a LoRA afterwards (QLoRA).

    Embeddings, norms, biases and a head of its own stay as they are.
    LoraError if the model has a LoRA or is quantized already; ValueError if the rows of a matrix are no multiple of 64.
    """
    if any(lora_layers(model)) or quantization(model):
        raise LoraError("quantize a plain model: call remove_lora(model) or quantized.dequantize(model) first")
    made_from = base_hash(model, [])
    linears = [layer for block in model.blocks for _, layer in block.named_modules() if isinstance(layer, Linear)]
    weights = [quantize_nf4(to_host(layer.weight.data)) for layer in linears]
    for layer, weight in zip(linears, weights, strict=True):
        layer.weight = QuantizedParameter(weight, model.dtype, made_from)
    model.assign_names()
    return model


def dequantize(model: Model) -> Model:
    """Turn every quantized weight into floats, in place, with the numbers that it stands for; returns the model.

    What quantizing has rounded away does not come back: this is another base than the one it was made from.
    """
    for _, module in model.named_modules():
        for name, child in vars(module).items():
            if isinstance(child, QuantizedParameter):
                setattr(module, name, child.as_floats())
    model.assign_names()
    return model
