"""Parameters, modules and the three layers a transformer is made of.

The contract of every layer, here and in the rest of the package:

    y, cache = layer.forward(x)                 # cache: exactly what backward will read
    dx = layer.backward(dy, cache, grads)       # adds the gradients of trainable parameters to `grads`

A layer holds parameters and nothing else between calls, so one model can serve many threads. A frozen
parameter costs nothing: no gradient product and no saved input. `need_dx=False` tells a layer that nothing
below it trains: it returns None, and spares the product.

Who owns what: a layer never changes x or dy, and the y and dx it returns are fresh arrays, which the caller
may overwrite. `rng` is a generator while training, which turns dropout on; None turns it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from minilora import ops
from minilora.machine.backend import Array, array_module, load_cupy, to_host

Gradients = dict[str, Array]
Self = TypeVar("Self", bound="Module")


class Parameter:
    """An array with a name and a flag: `data`, `name` (its path from the root), `trainable`."""

    __slots__ = ("data", "name", "trainable")

    def __init__(self, data: Array, trainable: bool = True) -> None:
        self.data = data
        self.name = ""
        self.trainable = trainable

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def __repr__(self) -> str:
        state = "trainable" if self.trainable else "frozen"
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.data.dtype}, {state})"


def accumulate(grads: Gradients, parameter: Parameter, gradient: Array) -> None:
    """Add a gradient to what other uses of the same parameter have left (the tied head, another piece)."""
    if parameter.name in grads:
        grads[parameter.name] += gradient
    else:
        grads[parameter.name] = gradient


class Module:
    """A tree of parameters: attributes that are Parameters, Modules, or lists of Modules."""

    _parameters: tuple[Parameter, ...] | None = None

    def children(self) -> Iterator[tuple[str, Any]]:
        """(attribute name, Parameter or Module) in the order of definition; lists count as name.0, name.1, ..."""
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Module)):
                yield name, value
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    yield f"{name}.{i}", item

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Every module below this one with its dotted path; this one first, under the path ""."""
        yield prefix, self
        for name, child in self.children():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> dict[str, Parameter]:
        """Dotted path -> Parameter, in the order of definition; a shared parameter once, at its first path."""
        found: dict[int, tuple[str, Parameter]] = {}
        for path, module in self.named_modules():
            for name, child in module.children():
                if isinstance(child, Parameter):
                    found.setdefault(id(child), (f"{path}.{name}" if path else name, child))
        return dict(found.values())

    def assign_names(self) -> None:
        """Write each parameter's path from here into its `name`, the key of its gradient.  Call it on the root when
        modules or parameters have come or gone."""
        for _, module in self.named_modules():
            module._parameters = tuple(module.named_parameters().values())
        for name, parameter in self.named_parameters().items():
            parameter.name = name

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter at or below this module, as `assign_names` found them: a step asks some fifty times."""
        return tuple(self.named_parameters().values()) if self._parameters is None else self._parameters

    @property
    def trainable(self) -> bool:
        """Whether any parameter at or below this module trains."""
        return any(parameter.trainable for parameter in self.parameters)

    def get_submodule(self, path: str) -> Module:
        """The module at a dotted path such as `blocks.0.attn.q_proj`.  KeyError if there is none."""
        return dict(self.named_modules())[path]

    def set_submodule(self, path: str, module: Module) -> None:
        """Put `module` in the place of the one at `path`: the way every method wraps a layer."""
        parent_path, _, name = path.rpartition(".")
        parent: Any = self
        for part in parent_path.split(".") if parent_path else []:
            parent = parent[int(part)] if isinstance(parent, list) else getattr(parent, part)
        if isinstance(parent, list):
            parent[int(name)] = module
        else:
            setattr(parent, name, module)
        self.assign_names()

    def freeze(self) -> None:
        """Train no parameter at or below this module."""
        for parameter in self.parameters:
            parameter.trainable = False

    def unfreeze(self) -> None:
        """Train every parameter at or below this module."""
        for parameter in self.parameters:
            parameter.trainable = True

    def state_dict(self) -> dict[str, np.ndarray]:
        """Name -> a copy of each parameter's array, on the host."""
        return {name: to_host(p.data).copy() for name, p in self.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy arrays in by name, cast to each parameter's dtype.  ValueError, before any change, if names or
        shapes differ."""
        parameters = self.named_parameters()
        if missing := [name for name in parameters if name not in state]:
            raise ValueError(f"the state lacks {_some(missing)}: load it into the model it was saved from")
        if extra := [name for name in state if name not in parameters]:
            raise ValueError(
                f"the state has {_some(extra)}, which this model lacks: "
                "build the model with the same config and the same adapters first"
            )
        for name, parameter in parameters.items():
            if np.shape(state[name]) != parameter.shape:
                raise ValueError(
                    f"{name} has shape {np.shape(state[name])} in the state and {parameter.shape} in the model: "
                    "build the model with the config it was saved with"
                )
        for name, parameter in parameters.items():
            xp = array_module(parameter.data)
            parameter.data[...] = xp.asarray(state[name], dtype=parameter.data.dtype)

    def to(self: Self, device: str) -> Self:
        """Move every parameter to "numpy" (the host) or "cupy" (a GPU), in place; returns the module.

        DeviceError, before any change, if there is no CuPy or no GPU.
        """
        if device not in ("numpy", "cupy"):
            raise ValueError(f'device {device!r} is unknown: use "numpy" (the host) or "cupy" (a GPU)')
        move = to_host if device == "numpy" else load_cupy().asarray
        for parameter in self.parameters:
            parameter.data = move(parameter.data)
        for _, module in self.named_modules():
            module.move_kept(move)
        return self

    def move_kept(self, move: Callable[[Array], Array]) -> None:
        """Move arrays of this module that are no parameters; most modules have none."""


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def cache_bytes(cache: Any) -> int:
    """Bytes of the arrays that a cache keeps alive for backward; one that stands in it twice counts once."""
    buffers: dict[int, int] = {}

    def visit(item: Any) -> None:
        if isinstance(item, (tuple, list)):
            for part in item:
                visit(part)
        elif hasattr(item, "nbytes"):
            while item.base is not None and hasattr(item.base, "nbytes"):  # a view keeps its owner alive
                item = item.base
            buffers[id(item)] = item.nbytes

    visit(cache)
    return sum(buffers.values())


class Linear(Module):
    """y = x W^T + b with W (d, k) = (out, in) and b (d,), or no b."""

    def __init__(self, weight: Parameter, bias: Parameter | None = None) -> None:
        self.weight, self.bias = weight, bias

    def forward(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (..., k) -> y (..., d).  The cache is x, and only if the weight trains."""
        y = ops.linear(x, self.weight.data, None if self.bias is None else self.bias.data)
        return y, x if self.weight.trainable else None

    def backward(self, dy: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., k)."""
        if self.weight.trainable:
            accumulate(grads, self.weight, ops.linear_dW(dy, cache))
        if self.bias is not None and self.bias.trainable:
            accumulate(grads, self.bias, ops.linear_db(dy))
        return ops.linear_dx(dy, self.weight.data) if need_dx else None


def gaussian_linear(rng: np.random.Generator | None, d: int, k: int, std: float, dtype: str) -> Linear:
    """A Linear from k to d with Gaussian weights and zero biases."""
    return Linear(Parameter(normal(rng, (d, k), std, dtype)), Parameter(np.zeros(d, dtype)))


class LayerNorm(Module):
    """y = weight * (x - mean) / sqrt(var + eps) + bias over the last axis; weight and bias (d,)."""

    def __init__(self, d: int, dtype: str, eps: float = 1e-5) -> None:
        self.weight = Parameter(np.ones(d, dtype))
        self.bias = Parameter(np.zeros(d, dtype))
        self.eps = eps

    def forward(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (..., d) -> y (..., d).  The cache is xhat (..., d) and rstd (..., 1)."""
        y, xhat, rstd = ops.layer_norm(x, self.weight.data, self.bias.data, self.eps)
        return y, (xhat, rstd)

    def backward(self, dy: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., d)."""
        xhat, rstd = cache
        if self.weight.trainable:
            accumulate(grads, self.weight, ops.layer_norm_dgamma(dy, xhat))
        if self.bias.trainable:
            accumulate(grads, self.bias, ops.linear_db(dy))
        return ops.layer_norm_dx(dy, xhat, rstd, self.weight.data) if need_dx else None


class Embedding(Module):
    """A table W (V, d): a token in, its row out; and, when the output head is tied to it, a row of scores.

    The same W serves twice in GPT-2: `forward` looks a row up, `unembed` compares a vector with every row.
    Its gradient is therefore a sum of two terms, one from each use.
    """

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    def forward(self, tokens: Array, rng: Any = None) -> tuple[Array, Any]:
        """tokens (...) int -> y (..., d).  The cache is the tokens, and only if the table trains."""
        return ops.embedding(tokens, self.weight.data), tokens if self.weight.trainable else None

    def backward(self, dy: Array, cache: Any, grads: Gradients) -> None:
        """dy (..., d).  Tokens have no gradient, so there is nothing to return."""
        if self.weight.trainable:
            accumulate(grads, self.weight, ops.embedding_dW(dy, cache, self.weight.shape[0]))

    def unembed(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (..., d) -> logits (..., V) = x W^T.  The cache is x, and only if the table trains."""
        return ops.linear(x, self.weight.data), x if self.weight.trainable else None

    def unembed_backward(self, dlogits: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dlogits (..., V) -> dx (..., d)."""
        if self.weight.trainable:
            accumulate(grads, self.weight, ops.linear_dW(dlogits, cache))
        return ops.linear_dx(dlogits, self.weight.data) if need_dx else None


def normal(rng: np.random.Generator | None, shape: tuple[int, ...], std: float, dtype: str) -> np.ndarray:
    """Gaussian weights of mean 0, drawn in float64 and rounded, so that each dtype gets the same numbers.

    Without a generator the weights are zeros, which cost neither time nor memory until they are written to.
    """
    if rng is None:
        return np.zeros(shape, dtype)
    return (rng.standard_normal(shape) * std).astype(dtype)
