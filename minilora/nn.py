"""Parameters, modules, the layers of a transformer, and the decoder that all architectures share.

The contract of every layer, here and in the rest of the package:

    y, cache = layer.forward(x)                 # cache: exactly what backward will read
    dx = layer.backward(dy, cache, grads)       # adds the gradients of trainable parameters to `grads`

A layer holds parameters and nothing else between calls, so one model can serve many threads. A frozen
parameter costs nothing: no gradient product and no saved input. `need_dx=False` tells a layer that nothing
below it trains: it skips the product and returns None.

Who owns what: a layer never changes x or dy, and the y and dx it returns are fresh arrays, which the caller
may overwrite. `rng` is a generator while training, which turns dropout on; None turns it off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from numbers import Real
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from minilora import ops
from minilora.machine.backend import Array, array_module, mover, on_host, to_host
from minilora.machine.sums import PieceGradients, add_rows, slices_of_rows

Gradients = dict[str, Array]
Rng: TypeAlias = "np.random.Generator | None"  # or CuPy's generator, for a model on a GPU
Cache = Any  # what a layer's forward leaves for its own backward: nothing else looks inside
TABLE_SLICE = 2**21  # numbers of a table's gradient that are computed at once
Self = TypeVar("Self", bound="Module")
Model = TypeVar("Model", bound="Decoder")  # of functions that return the model they were given


class Parameter:
    """An array with a name and a flag: `data`, `name` (its path from the root), `trainable`."""

    __slots__ = ("data", "name", "trainable")
    stored_as: str | None = None  # how a parameter is kept whose `data` is computed from few bits: see `quantized`
    made_from: str | None = None  # the hash of the whole base that it was made from, if it is not the original

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

    def rows(self, which: Any) -> Array:
        """Rows of a matrix: `which` is a slice, or an array of row numbers."""
        return self.data[which]

    def as_floats(self) -> Parameter:
        """This parameter; of one that is stored in few bits, a frozen one with the same numbers as floats."""
        return self

    def frozen_view(self) -> Parameter:
        """A frozen parameter of the same name over the same array, which NumPy lets nobody write to through it."""
        view = Parameter(self.data.view(), trainable=False)
        view.name = self.name
        if isinstance(view.data, np.ndarray):
            view.data.flags.writeable = False
        return view

    def move(self, move: Callable[[Array], Array]) -> None:
        """Move the array to another device."""
        self.data = move(self.data)

    def __repr__(self) -> str:
        state = "trainable" if self.trainable else "frozen"
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.data.dtype}, {state})"


def accumulate(grads: Gradients, parameter: Parameter, gradient: Array, rows: Any = None) -> None:
    """Add a gradient to what other uses of the same parameter have contributed (the tied head, other pieces); with
    `rows`, a slice or distinct row numbers, the gradient of those."""
    add = grads.add if isinstance(grads, PieceGradients) else partial(add_rows, grads)
    add(parameter.name, parameter.shape, gradient, rows)


class Module:
    """A tree of parameters: attributes that are Parameters, Modules, or lists of Modules."""

    _parameters: tuple[Parameter, ...] | None = None  # noted by `assign_names`, with the modules: a step asks often
    _modules: tuple[Module, ...] | None = None

    def _places(self) -> Iterator[tuple[str, Any, Any]]:
        """(name, holder, key) of each child, which is `holder[key]`: of this module's attributes, or of a list."""
        for name, value in vars(self).items():
            if isinstance(value, (Parameter, Module)):
                yield name, vars(self), name
            elif isinstance(value, list):
                yield from ((f"{name}.{i}", value, i) for i in range(len(value)))

    def children(self) -> Iterator[tuple[str, Any]]:
        """(attribute name, Parameter or Module) in the order of definition; lists count as name.0, name.1, ..."""
        return ((name, holder[key]) for name, holder, key in self._places())

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

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Dotted path -> shape of every parameter."""
        return {name: parameter.shape for name, parameter in self.named_parameters().items()}

    def assign_names(self) -> None:
        """Write each parameter's path from here into its `name`, the key of its gradient.  Call it on the root after
        adding or removing modules or parameters."""
        for name, parameter in self.named_parameters().items():
            parameter.name = name
        self._note()

    def _note(self) -> tuple[tuple[Parameter, ...], tuple[Module, ...]]:
        """Set `_parameters` (each shared one once) and `_modules` here and in every module below."""
        parameters: dict[Parameter, None] = {}
        modules: list[Module] = [self]
        for _, child in self.children():
            own, below = ((child,), ()) if isinstance(child, Parameter) else child._note()
            parameters |= dict.fromkeys(own)
            modules += below
        self._parameters, self._modules = tuple(parameters), tuple(modules)
        return self._parameters, self._modules

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter at or below this module, as `assign_names` found them."""
        return tuple(self.named_parameters().values()) if self._parameters is None else self._parameters

    @property
    def modules(self) -> tuple[Module, ...]:
        """This module and every one below it, as `assign_names` found them."""
        return tuple(m for _, m in self.named_modules()) if self._modules is None else self._modules

    @property
    def trainable(self) -> bool:
        """Whether any parameter at or below this module trains."""
        return any(parameter.trainable for parameter in self.parameters)

    def get_submodule(self, path: str) -> Module:
        """The module at a dotted path such as `blocks.0.attn.q_proj`.  KeyError if there is none."""
        return dict(self.named_modules())[path]

    def replace(self, modules: Mapping[str, Module]) -> None:
        """Put each module in the place of the one at its dotted path: the way every method wraps layers.
        KeyError, before any change, if there is none at a path."""
        places = {
            f"{path}.{name}" if path else name: (holder, key)
            for path, parent in self.named_modules()
            for name, holder, key in parent._places()
        }
        for holder, key, module in [(*places[path], module) for path, module in modules.items()]:
            holder[key] = module
        self.assign_names()

    def freeze(self) -> None:
        """Freeze every parameter at or below this module."""
        for parameter in self.parameters:
            parameter.trainable = False

    def unfreeze(self) -> None:
        """Train every parameter at or below this module, but for those that are stored in few bits."""
        for parameter in self.parameters:
            parameter.trainable = parameter.stored_as is None

    def check_state(self) -> None:
        """Raise if the parameters are not a state of their own now, as those of a merged LoRA are not."""
        for _, child in self.children():
            if isinstance(child, Module):
                child.check_state()

    def state_dict(self) -> dict[str, np.ndarray]:
        """Name -> a copy of each parameter's array, on the host.  LoraError while a LoRA is merged."""
        self.check_state()
        return {name: to_host(p.data).copy() for name, p in self.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Copy arrays in by name, cast to each parameter's dtype.  ValueError, before any change, if names or
        shapes differ or an array holds no numbers; LoraError while a LoRA is merged."""
        self.check_state()
        check_type("the state", state, Mapping, "give name -> array, as model.state_dict() does")
        for key in state:
            check_type("a name in the state", key, str, "give name -> array, as model.state_dict() does")
        parameters = self.named_parameters()
        if odd := difference({name: np.shape(array) for name, array in state.items()}, self.shapes()):
            raise ValueError(f"the state does not fit: {odd}. Build the model with the same config and adapters first")
        if name := next((name for name, p in parameters.items() if p.stored_as is not None), None):
            raise ValueError(f"{name} is stored as {parameters[name].stored_as}: call quantized.dequantize(model)")
        if name := next((name for name, array in state.items() if np.dtype(array.dtype).kind not in "fiu"), None):
            raise ValueError(f"{name} is of the type {state[name].dtype} in the state: give real numbers")
        for name, parameter in parameters.items():
            xp = array_module(parameter.data)
            parameter.data[...] = xp.asarray(state[name], dtype=parameter.data.dtype)

    def to(self: Self, device: str) -> Self:
        """Move every parameter to "numpy" (the host) or "cupy" (a GPU), in place; returns the module.

        DeviceError, before any change, if there is no CuPy or no GPU.
        """
        move = mover(device)
        for parameter in self.parameters:
            parameter.move(move)
        for module in self.modules:
            module.move_kept(move)
        return self

    def move_kept(self, move: Callable[[Array], Array]) -> None:
        """Move the arrays of this module that are not parameters; most modules have none."""


class Wrapper(Module):
    """A layer in the place of another, its `base`, with the same forward and backward: nothing else notices.

    The base's parameters and layers are listed under the names they had without the wrapper, so that wrapping
    renames nothing. What a wrapper adds comes after them. Wrappers may wrap wrappers.
    """

    base: Any

    def __init__(self, base: Module) -> None:
        self.base = base

    def _places(self) -> Iterator[tuple[str, Any, Any]]:
        for name, holder, key in super()._places():
            if name == "base":
                yield from self.base._places()
            else:
                yield name, holder, key

    def _note(self) -> tuple[tuple[Parameter, ...], tuple[Module, ...]]:
        self.base._note()
        return super()._note()

    def check_state(self) -> None:
        self.base.check_state()
        super().check_state()

    def move_kept(self, move: Callable[[Array], Array]) -> None:
        self.base.move_kept(move)


def unwrapped(module: Module) -> Module:
    """The layer inside all its wrappers; a plain layer itself."""
    while isinstance(module, Wrapper):
        module = module.base
    return module


def difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """The first name under which two dictionaries of shapes differ, in words; None if they are equal."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            return f"{name} is {found.get(name, 'missing')}, this model needs {expected.get(name, 'no such tensor')}"
    return None


def cache_bytes(cache: Cache) -> int:
    """Bytes of the arrays that a cache keeps alive for backward; one that is in it twice counts once."""
    buffers: dict[int, int] = {}

    def visit(item: Cache) -> None:
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

    def forward(self, x: Array, rng: Rng = None) -> tuple[Array, Array | None]:
        """x (..., k) -> y (..., d).  The cache is x, and only if the weight trains."""
        y = ops.linear(x, self.weight.data, None if self.bias is None else self.bias.data)
        return y, x if self.weight.trainable else None

    def backward(self, dy: Array, cache: Array | None, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., k)."""
        if cache is not None:
            accumulate(grads, self.weight, ops.linear_dW(dy, cache))
        if self.bias is not None and self.bias.trainable:
            accumulate(grads, self.bias, ops.linear_db(dy))
        return ops.linear_dx(dy, self.weight.data) if need_dx else None


def gaussian_linear(rng: np.random.Generator | None, d: int, k: int, std: float, dtype: str) -> Linear:
    """A Linear from k to d with Gaussian weights and zero biases."""
    return Linear(Parameter(normal(rng, (d, k), std, dtype)), Parameter(np.zeros(d, dtype)))


class NormCache(NamedTuple):
    """What a norm's backward reads."""

    xhat: Array  # (..., d) x, normalized
    rstd: Array  # (..., 1) what it was multiplied by


class LayerNorm(Module):
    """y = weight * (x - mean) / sqrt(var + eps) + bias over the last axis; weight and bias (d,)."""

    def __init__(self, d: int, dtype: str, eps: float = 1e-5) -> None:
        self.weight = Parameter(np.ones(d, dtype))
        self.bias = Parameter(np.zeros(d, dtype))
        self.eps = eps

    def forward(self, x: Array, rng: Rng = None) -> tuple[Array, NormCache]:
        """x (..., d) -> y (..., d)."""
        y, xhat, rstd = ops.layer_norm(x, self.weight.data, self.bias.data, self.eps)
        return y, NormCache(xhat, rstd)

    def backward(self, dy: Array, cache: NormCache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., d)."""
        if self.weight.trainable:
            accumulate(grads, self.weight, ops.layer_norm_dgamma(dy, cache.xhat))
        if self.bias.trainable:
            accumulate(grads, self.bias, ops.linear_db(dy))
        return ops.layer_norm_dx(dy, cache.xhat, cache.rstd, self.weight.data) if need_dx else None


class RMSNorm(Module):
    """y = weight * x / sqrt(mean(x^2) + eps) over the last axis; weight (d,)."""

    def __init__(self, d: int, dtype: str, eps: float) -> None:
        self.weight = Parameter(np.ones(d, dtype))
        self.eps = eps

    def forward(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (..., d) -> y (..., d).  The cache is xhat (..., d) and rrms (..., 1)."""
        y, xhat, rrms = ops.rms_norm(x, self.weight.data, self.eps)
        return y, (xhat, rrms)

    def backward(self, dy: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., d)."""
        xhat, rrms = cache
        if self.weight.trainable:
            accumulate(grads, self.weight, ops.layer_norm_dgamma(dy, xhat))
        return ops.rms_norm_dx(dy, xhat, rrms, self.weight.data) if need_dx else None


class Embedding(Module):
    """A table W (V, d): a token in, its row out; and, where the output head is tied to it, a score for each row.

    The same W is used twice in GPT-2: `forward` looks a row up, `unembed` compares a vector with every row.
    Its gradient is therefore a sum of two terms, one from each use.
    """

    def __init__(self, weight: Parameter) -> None:
        self.weight = weight

    def forward(self, tokens: Array, rng: Rng = None) -> tuple[Array, Array | None]:
        """tokens (...) int -> y (..., d).  The cache is the tokens, and only if the table trains."""
        return ops.embedding(tokens, self.weight.data), tokens if self.weight.trainable else None

    def backward(self, dy: Array, cache: Array | None, grads: Gradients) -> None:
        """dy (..., d).  Tokens have no gradient, so there is nothing to return."""
        if cache is not None:
            accumulate_lookup(grads, self.weight, dy, cache)

    def unembed(self, x: Array, rng: Rng = None) -> tuple[Array, Array | None]:
        """x (..., d) -> logits (..., V) = x W^T.  The cache is x, and only if the table trains."""
        return ops.linear(x, self.weight.data), x if self.weight.trainable else None

    def unembed_backward(
        self, dlogits: Array, cache: Array | None, grads: Gradients, need_dx: bool = True
    ) -> Array | None:
        """dlogits (..., V) -> dx (..., d)."""
        if cache is not None:
            for rows in slices_of_rows(self.weight.data, TABLE_SLICE):  # all of it would be a second table
                accumulate(grads, self.weight, ops.linear_dW(dlogits[..., rows], cache), rows)
        return ops.linear_dx(dlogits, self.weight.data) if need_dx else None


def accumulate_lookup(grads: Gradients, table: Parameter, dy: Array, tokens: Array) -> None:
    """Add the gradient of y = table[tokens]: to the rows that were looked up, since it is 0 in all others.
    On a GPU, which would have to be waited for to know how many they are, to all.  tokens (...), dy (..., d)."""
    if on_host(dy):
        rows, places = np.unique(tokens, return_inverse=True)
        accumulate(grads, table, ops.embedding_dW(dy, places, len(rows)), rows)
    else:
        accumulate(grads, table, ops.embedding_dW(dy, tokens, table.shape[0]))


def normal(rng: np.random.Generator | None, shape: tuple[int, ...], std: float, dtype: str) -> np.ndarray:
    """Gaussian weights of mean 0, drawn in float64 and rounded, so that each dtype gets the same numbers.

    Without a generator the weights are zeros, which cost neither time nor memory until they are written to.
    """
    if rng is None:
        return np.zeros(shape, dtype)
    return (rng.standard_normal(shape) * std).astype(dtype)


# ------------------------------------------------------------------------------------------------ decoder


class BlockCache(NamedTuple):
    """What a block's backward reads, part by part; None for a part that backward will not enter."""

    ln_1: Cache
    attn: Cache
    ln_2: Cache
    mlp: Cache


class Block(Module):
    """x + attn(ln_1(x)), then the same with ln_2 and the MLP: the residual stream is only ever added to."""

    def __init__(self, ln_1: Module, attn: Module, ln_2: Module, mlp: Module) -> None:
        self.ln_1: Any = ln_1
        self.attn: Any = attn
        self.ln_2: Any = ln_2
        self.mlp: Any = mlp

    def forward(
        self, x: Array, rng: Rng = None, past: LayerKV | None = None, need_dx: bool = True
    ) -> tuple[Array, BlockCache]:
        """x (B, T, C) -> x (B, T, C).  The cache holds only what `backward` with the same `need_dx` will read."""
        n, ln_1 = self.ln_1.forward(x, rng)
        y, attn = self.attn.forward(n, rng, past)
        y += x
        n, ln_2 = self.ln_2.forward(y, rng)
        z, mlp = self.mlp.forward(n, rng)
        z += y
        enter_ln_1 = need_dx or self.ln_1.trainable
        enter_attn = enter_ln_1 or self.attn.trainable
        enter_ln_2 = enter_attn or self.ln_2.trainable
        enter_mlp = enter_ln_2 or self.mlp.trainable
        return z, BlockCache(
            ln_1 if enter_ln_1 else None,
            attn if enter_attn else None,
            ln_2 if enter_ln_2 else None,
            mlp if enter_mlp else None,
        )

    def backward(self, dz: Array, cache: BlockCache, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dz (B, T, C) -> dx (B, T, C): the gradient of a sum goes unchanged to both of its terms."""
        need_dy = need_dx or self.ln_1.trainable or self.attn.trainable
        dn = self.mlp.backward(dz, cache.mlp, grads, need_dy or self.ln_2.trainable)
        if dn is None:
            return None
        dy = self.ln_2.backward(dn, cache.ln_2, grads, need_dy)
        if dy is None:
            return None
        dy += dz
        dn = self.attn.backward(dy, cache.attn, grads, need_dx or self.ln_1.trainable)
        if dn is None:
            return None
        dx = self.ln_1.backward(dn, cache.ln_1, grads, need_dx)
        if dx is None:
            return None
        dx += dy
        return dx


def add_terms(total: Array | None, term: Array | None) -> Array | None:
    """`total` + `term`, added into `total`; None is a branch of backward that nobody asked for."""
    if total is None or term is None:
        return term if total is None else total
    total += term
    return total


class LayerKV:
    """The keys and values that one attention layer has computed so far, for generation.

    keys, values (B, key/value heads, rows, D), of which the first `length` rows are filled.
    """

    def __init__(self, keys: Array, values: Array, length: int = 0) -> None:
        self.keys, self.values, self.length = keys, values, length

    def append(self, k: Array, v: Array) -> tuple[Array, Array]:
        """Store the new k, v (B, heads, t, D); return all keys and values so far, as views."""
        end, room = self.length + k.shape[2], self.keys.shape[2]
        if end > room:
            raise ValueError(f"this past has room for {room} rows, not for {end}: ask new_past for more tokens")
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class Past:
    """What a model remembers of the `length` tokens that it has read: one LayerKV per block.

    `Decoder.new_past` makes it and the caller holds it: the model itself keeps nothing.
    """

    def __init__(self, layers: list[LayerKV]) -> None:
        self.layers, self.length = layers, 0


class Stack(Module):
    """Runs x through the blocks in order.

    It has no parameters. It is a module so that a method can replace it, for example to send rows along that are not
    tokens.
    """

    def new_past(self, layers: list[LayerKV]) -> Past:
        """What `forward` will take as `past`."""
        return Past(layers)

    def forward(
        self, x: Array, blocks: list[Any], tokens: Array, rng: Rng, past: Past | None, keep: bool, need_dx: bool
    ) -> tuple[Array, Cache]:
        """x (B, T, C), embedded from tokens (B, T) -> x (B, T, C).  The cache is one BlockCache per block, None below
        the lowest trainable parameter, and everywhere with `keep=False`."""
        caches: list[BlockCache | None] = []
        for i, block in enumerate(blocks):
            x, cache = block.forward(x, rng, None if past is None else past.layers[i], need_dx)
            need_dx = need_dx or block.trainable
            caches.append(cache if keep and need_dx else None)
        return x, caches

    def backward(
        self, dx: Array | None, blocks: list[Any], cache: Cache, grads: Gradients, need_dx: bool
    ) -> Array | None:
        """dx (B, T, C) after the blocks -> dx (B, T, C) before them."""
        below = [need_dx]  # below[i]: something under block i trains
        for block in blocks[:-1]:
            below.append(below[-1] or block.trainable)
        for block, block_cache, need in zip(reversed(blocks), reversed(cache), reversed(below), strict=True):
            if dx is None:
                return None
            dx = block.backward(dx, block_cache, grads, need)
        return dx


class Config(Protocol):
    """What every architecture's config can be asked, whatever its own fields are called.  It is a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def vocab_size(self) -> int: ...
    @property
    def dtype(self) -> str: ...  # "float32" or "float64"
    @property
    def width(self) -> int: ...  # C, the numbers that stand for a token between two blocks
    @property
    def layers(self) -> int: ...  # the number of blocks
    @property
    def max_tokens(self) -> int: ...  # the longest sequence
    @property
    def parameter_count(self) -> int: ...


def check_type(name: str, value: Any, kinds: Any, cure: str) -> None:
    """ValueError, with the cure, unless the value is of one of these types."""
    if not isinstance(value, kinds):
        raise ValueError(f"{name} is {value!r:.80}: {cure}")


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """The setting's value.  ValueError if it is not a whole number within these bounds."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        bounds = f" of at least {least}" if most is None else f", {least} to {most}"
        raise ValueError(f"{name} is {value!r}: give a whole number{bounds}")
    return int(value)


def check_finite(name: str, value: float) -> None:
    """ValueError unless the value is a finite number of at least 0."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value!r}: give a finite number of at least 0")


def generator(seed: int | np.random.Generator) -> np.random.Generator:
    """The generator itself, or a new one that starts at the seed.  ValueError if it is neither."""
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(whole_number("seed", seed, 0))


def check_config(config: Config, sizes: Iterable[str]) -> None:
    """ValueError unless the fields named are whole numbers of at least 1 and the dtype is one that models have."""
    kind = type(config).__name__
    for name in sizes:
        whole_number(f"{kind}.{name}", getattr(config, name))
    if config.dtype not in ("float32", "float64"):
        raise ValueError(f'{kind}.dtype is {config.dtype!r}: use "float32", or "float64" for gradient checks')


class DecoderCache(NamedTuple):
    """What a decoder's backward reads.  `rows`: the positions that have logits and (B, T), or None if all have."""

    embeddings: Cache
    blocks: Cache
    rows: tuple[Array, tuple[int, int]] | None
    ln_f: Cache
    head: Cache


class Decoder(Module):
    """What GPT-2 and its successors share: embedding, blocks, a last norm, a head.  `model(tokens)` gives logits.

    An architecture is one file beside `transformer.py`. It has

    - a `Config`, and `shapes(config)`: the name and shape of every parameter, in the model's order;
    - its attention and MLP, with `forward(x, rng)` and `backward(dy, cache, grads, need_dx)`; attention takes a
      LayerKV as well, whose `length` is the position of the first new row;
    - a subclass of this one, whose `__init__` sets the fields below in the order of `shapes`, and then calls
      `assign_names`. It overrides `embed`, `embed_backward` and `embeddings` if more than `wte` makes x from tokens,
      and `unembed` with its backward if the head is not `wte` itself;
    - a line in `files/architectures.py`.

    C is the width, V the vocabulary.
    """

    config: Config
    wte: Any  # (V, C)
    blocks: list[Any]
    stack: Stack
    ln_f: Any
    max_tokens: int  # the longest sequence
    kv_heads: int  # heads with keys and values of their own
    head_size: int  # D

    @property
    def width(self) -> int:
        return self.config.width

    @property
    def layers(self) -> int:
        return self.config.layers

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def dtype(self) -> str:
        return self.config.dtype

    @property
    def xp(self) -> ModuleType:
        """The array module that the parameters live in: NumPy, or CuPy on a GPU."""
        return array_module(self.ln_f.weight.data)

    # ---------------------------------------------------------------------- what an architecture may override

    @property
    def embeddings(self) -> tuple[Any, ...]:
        """The layers that make x from tokens."""
        return (self.wte,)

    def embed(self, tokens: Array, start: int, rng: Rng) -> tuple[Array, Cache]:
        """tokens (B, T), the first of them at position `start` -> x (B, T, C)."""
        return self.wte.forward(tokens, rng)

    def embed_backward(self, dx: Array, cache: Cache, grads: Gradients) -> None:
        """dx (B, T, C)."""
        self.wte.backward(dx, cache, grads)

    def unembed(self, x: Array, rng: Rng) -> tuple[Array, Cache]:
        """x (..., C) -> logits (..., V), by the table of embeddings."""
        return self.wte.unembed(x, rng)

    def unembed_backward(self, dlogits: Array, cache: Cache, grads: Gradients, need_dx: bool) -> Array | None:
        """dlogits (..., V) -> dx (..., C)."""
        return self.wte.unembed_backward(dlogits, cache, grads, need_dx)

    # -------------------------------------------------------------------------------------- what they share

    def __call__(self, tokens: Array) -> Array:
        """tokens (B, T) int -> logits (B, T, V); nothing is kept for a backward."""
        return self.forward(tokens, keep=False)[0]

    def forward(
        self,
        tokens: Array,
        rng: Rng = None,
        past: Past | None = None,
        keep: bool = True,
        positions: Array | None = None,
    ) -> tuple[Array, DecoderCache]:
        """tokens (B, T) int -> logits (B, T, V) and the cache for `backward`, empty with `keep=False`.

        With `past` (see `new_past`) the tokens follow those that went through it before.
        With `positions` (n,), distinct rows of the flattened (B, T) grid, only those get logits, (n, V): where the loss
        does not count, none are needed.
        ValueError if a token is outside the vocabulary or the sequence is longer than `max_tokens`.
        """
        start = 0 if past is None else past.length
        tokens = self._checked(tokens, start)
        x, embeddings = self.embed(tokens, start, rng)
        embeddings_train = any(layer.trainable for layer in self.embeddings)
        x, blocks = self.stack.forward(x, self.blocks, tokens, rng, past, keep, embeddings_train)
        if past is not None:
            past.length += tokens.shape[1]
        rows = None
        if positions is not None:
            rows = (positions, tokens.shape)
            x = x.reshape(-1, x.shape[-1])[positions]
        n, ln_f = self.ln_f.forward(x, rng)
        logits, head = self.unembed(n, rng)
        return logits, DecoderCache(embeddings, blocks, rows, ln_f if keep else None, head if keep else None)

    def backward(self, dlogits: Array, cache: DecoderCache, grads: Gradients) -> None:
        """dlogits (B, T, V) or (n, V), as forward's logits: adds the gradient of every trainable parameter to `grads`,
        and goes no deeper than the lowest of them."""
        embeddings_train = any(layer.trainable for layer in self.embeddings)
        need_dx = embeddings_train or self.stack.trainable or any(block.trainable for block in self.blocks)
        dn = self.unembed_backward(dlogits, cache.head, grads, need_dx or self.ln_f.trainable)
        if dn is None:
            return
        dx = self.ln_f.backward(dn, cache.ln_f, grads, need_dx)
        if dx is not None and cache.rows is not None:
            positions, (B, T) = cache.rows
            everywhere = array_module(dx).zeros((B * T, dx.shape[-1]), dx.dtype)
            everywhere[positions] = dx
            dx = everywhere.reshape(B, T, -1)
        dx = self.stack.backward(dx, self.blocks, cache.blocks, grads, embeddings_train)
        if dx is not None:
            self.embed_backward(dx, cache.embeddings, grads)

    def new_past(self, batch_size: int, tokens: int | None = None) -> Past:
        """Empty key/value caches for `batch_size` sequences of up to `tokens` tokens (`max_tokens` if None)."""
        spare = 0 if tokens is None else self.max_tokens - min(tokens, self.max_tokens)
        shape = (batch_size, self.kv_heads, self.config.max_tokens - spare, self.head_size)
        xp, dtype = self.xp, self.dtype
        return self.stack.new_past([LayerKV(xp.empty(shape, dtype), xp.empty(shape, dtype)) for _ in self.blocks])

    def _checked(self, tokens: Array, start: int) -> Array:
        """The tokens on the model's device, once they are known to be valid indices."""
        if not hasattr(tokens, "ndim"):
            tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
            raise ValueError(f"tokens are {tokens.shape} of dtype {tokens.dtype}: give whole numbers of shape (B, T)")
        if tokens.shape[1] == 0 or start + tokens.shape[1] > self.max_tokens:
            raise ValueError(
                f"{start + tokens.shape[1]} tokens do not fit: give 1 to {self.max_tokens}, the model's max_tokens"
            )
        # Only on the host: asking a device array for its extremes would wait for the device.
        V = self.vocab_size
        if isinstance(tokens, np.ndarray) and tokens.size and not 0 <= tokens.min() <= tokens.max() < V:
            raise ValueError(f"tokens run from {tokens.min()} to {tokens.max()}: the vocabulary is 0 to {V - 1}")
        return self.xp.asarray(tokens)
