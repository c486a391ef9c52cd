"""LoRA: Low-Rank Adaptation (Hu et al. 2021, arXiv 2106.09685), section 4.1, on any dense layer.

    h = W0 x + (alpha / r) B A x        W0 (d, k) frozen,  B (d, r) zero,  A (r, k) Gaussian

Four verbs: `add_lora` wraps layers and freezes the rest; `merge` writes W = W0 + (alpha/r) B A into the weight, so
that inference costs what it costs in the base model; `unmerge` undoes that; `remove_lora` makes the layers plain again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Real
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from minilora import nn, ops
from minilora.machine.backend import Array, array_module

Tree = TypeVar("Tree", bound=nn.Module)  # the verbs return the model they were given


@dataclass(frozen=True)
class LoraConfig:
    """What to adapt and how, under PEFT's names.

    r               rank of the update
    lora_alpha      the update is scaled by lora_alpha / r
    target_modules  layer names ("q_proj") or path endings ("0.attn.q_proj"), or one regular expression that
                    must match a layer's whole path ("blocks\\.[01]\\.attn\\.[qv]_proj"), or "all-linear": every
                    linear layer, so neither an embedding nor the head
    exclude_modules layers to leave out, named in the same way
    layers_to_transform  numbers of the blocks to adapt; None: all
    lora_dropout    probability of dropping an entry of the branch's input: only while training, that is, only where a
                    generator `rng` is passed to `loss_and_grads` or `forward` (`fit` passes one)
    bias            which biases train too: "none", "all", or "lora_only" (those of the adapted layers)
    use_rslora      scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023)
    rank_pattern    exceptions to r: a path ending or regular expression -> its rank
    alpha_pattern   exceptions to lora_alpha, in the same way
    """

    variant: ClassVar[str] = "lora"  # the name in files
    variants: ClassVar[dict[str, type[LoraConfig]]] = {}

    r: int = 8
    lora_alpha: float = 16
    target_modules: tuple[str, ...] | str = ("q_proj", "v_proj")
    lora_dropout: float = 0.0
    bias: str = "none"
    use_rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    exclude_modules: tuple[str, ...] | str = ()
    layers_to_transform: tuple[int, ...] | None = None

    def __init_subclass__(cls) -> None:
        LoraConfig.variants[cls.variant] = cls

    def __post_init__(self) -> None:
        for name in ("target_modules", "exclude_modules"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.layers_to_transform is not None:
            object.__setattr__(self, "layers_to_transform", _block_numbers(self.layers_to_transform))
        for name in ("rank_pattern", "alpha_pattern"):  # a copy: the caller's dictionary may change later
            object.__setattr__(self, name, _pattern(name, getattr(self, name)))
        for r in (self.r, *self.rank_pattern.values()):
            nn.whole_number("LoRA's rank r", r)
        for alpha in (self.lora_alpha, *self.alpha_pattern.values()):
            if not isinstance(alpha, Real) or not math.isfinite(alpha):
                raise ValueError(f"lora_alpha is {alpha!r}: give a finite number, such as 2 * r")
        if not isinstance(self.lora_dropout, Real) or not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout!r}: give a probability in [0, 1)")
        if self.bias not in ("none", "all", "lora_only"):
            raise ValueError(f'bias is {self.bias!r}: use "none", "all" or "lora_only"')
        if not self.target_modules:
            raise ValueError('target_modules is empty: name at least one layer, such as ("q_proj", "v_proj")')
        regular = [one for one in (self.target_modules, self.exclude_modules) if isinstance(one, str)]
        for pattern in (*regular, *self.rank_pattern, *self.alpha_pattern):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"{pattern!r} is not a regular expression ({error}): give several names as a tuple, "
                    "or one expression that matches a whole path"
                ) from None

    def targets(self, path: str) -> bool:
        """Whether the layer at this path is to be adapted."""
        block = re.match(r"blocks\.(\d+)\.", path)
        if self.layers_to_transform is not None and (block is None or int(block[1]) not in self.layers_to_transform):
            return False
        return _is_named(self.target_modules, path) and not _is_named(self.exclude_modules, path)

    def rank(self, path: str) -> int:
        """The rank r for the layer at this path."""
        return _by_pattern(self.rank_pattern, path, self.r)

    def alpha(self, path: str) -> float:
        """lora_alpha for the layer at this path."""
        return _by_pattern(self.alpha_pattern, path, self.lora_alpha)

    def scaling(self, path: str) -> float:
        """alpha / r, or alpha / sqrt(r) with `use_rslora`, for the layer at this path."""
        alpha, r = float(self.alpha(path)), int(self.rank(path))
        return alpha / math.sqrt(r) if self.use_rslora else alpha / r

    # A variant of LoRA, such as DoRA, is one file: a subclass of LoraLinear with its arithmetic, and a frozen dataclass
    # derived from this one, with a `variant` of its own, that answers the next questions differently.

    def wrap(self, layer: nn.Module, rng: np.random.Generator, path: str) -> LoraLayer:
        """The layer at this path with its update, whose start is drawn from `rng`."""
        kind = LoraEmbedding if isinstance(nn.unwrapped(layer), nn.Embedding) else LoraLinear
        return kind(layer, self, rng, path)

    def wrap_all(self, layers: Mapping[str, nn.Module], rng: np.random.Generator) -> dict[str, LoraLayer]:
        """`wrap` for each path.  A variant whose layers share something makes that first."""
        return {path: self.wrap(layer, rng, path) for path, layer in layers.items()}

    def shapes(self, path: str, d: int, k: int) -> dict[str, tuple[int, ...]]:
        """Name -> shape of the parameters that train in a layer with a weight (d, k)."""
        return {f"{path}.lora_A": (self.rank(path), k), f"{path}.lora_B": (d, self.rank(path))}

    def frozen_shapes(self, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Name -> shape of the parameters that it adds and does not train.  sizes: path -> (d, k) of each weight."""
        return {}

    def sizes(self, tensors: Mapping[str, Array]) -> dict[str, tuple[int, int]]:
        """Path -> (d, k) of each adapted weight, from an adapter's tensors."""
        As = {name.removesuffix(".lora_A"): A for name, A in tensors.items() if name.endswith(".lora_A")}
        return {path: (len(tensors.get(f"{path}.lora_B", A)), A.shape[1]) for path, A in As.items()}


LoraConfig.variants[LoraConfig.variant] = LoraConfig
ALL_LINEAR = "all-linear"  # PEFT's word
NOT_LINEAR = ("wte", "wpe", "lm_head")  # tables, and the head that PEFT leaves out too


def ends_with(path: str, name: str) -> bool:
    """Whether a layer's path ends with this name: "q_proj" or "0.attn.q_proj" for "blocks.0.attn.q_proj"."""
    return path == name or path.endswith("." + name)


def _is_named(names: tuple[str, ...] | str, path: str) -> bool:
    """Whether `target_modules` or `exclude_modules` names the layer at this path."""
    if names == ALL_LINEAR:
        return path not in NOT_LINEAR
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(ends_with(path, name) for name in names)


def _names(setting: str, value: Any) -> tuple[str, ...] | str:
    """The setting's value as a string or a tuple of strings; a set in order of name."""
    if isinstance(value, str):
        return value
    names = tuple(value) if isinstance(value, Iterable) and getattr(value, "ndim", None) != 0 else (value,)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f'{setting} is {value!r}: give layer names, such as ("q_proj", "v_proj")')
    return tuple(sorted(names)) if isinstance(value, (set, frozenset)) else names


def _block_numbers(value: Any) -> tuple[int, ...]:
    several = isinstance(value, Iterable) and getattr(value, "ndim", None) != 0 and not isinstance(value, str)
    numbers = [*value] if several else [value]
    if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 0 for n in numbers):
        raise ValueError(f"layers_to_transform is {value!r}: give the numbers of blocks, such as (0, 1), or None")
    return tuple(int(n) for n in numbers)


def _pattern(setting: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f'{setting} is {value!r}: give a dictionary such as {{"q_proj": 4}}, or leave it out')
    return dict(value)


def _by_pattern(pattern: Mapping[str, Any], path: str, default: Any) -> Any:
    """The value whose key fits the path, else the default.  PEFT's rule: a key is a regular expression for a path's
    ending, from a dot on."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", path):
            return value
    return default


class LoraError(RuntimeError):
    """A LoRA verb at the wrong time: merged twice, trained while merged, added twice, nothing to merge."""


def is_lora(name: str) -> bool:
    """Whether a parameter of this name is a LoRA's A or B."""
    return name.endswith((".lora_A", ".lora_B"))


# ---------------------------------------------------------------------------------------------- the update


class BranchCache(NamedTuple):
    """What the branch's backward reads: x only if A trains, h only if B trains, a mask only if dropout was on."""

    x: Array | None  # (..., k) the branch's input, after dropout: for dA
    h: Array | None  # (..., r) = scaling x A^T: for dB
    mask: Array | None  # (..., k)


class LookupCache(NamedTuple):
    """What the backward of a look-up reads."""

    tokens: Array  # (...)
    h: Array  # (..., r) = scaling B[tokens]


class LoraBranch(nn.Module):
    """The low-rank update on its own, without its weight: A (r, k), B (d, r) and their scaling, s = alpha / r.

    On vectors x it is s (x A^T) B^T; looked up, as a table of d rows, it is s B[tokens] A.
    """

    def __init__(self, config: LoraConfig, scaling: float, A: nn.Parameter, B: nn.Parameter) -> None:
        self.config, self.r, self.scaling = config, A.shape[0], scaling
        self.lora_A, self.lora_B = A, B

    def delta(self) -> Array:
        """dW = scaling B A, (d, k): the update, of rank at most r (section 4.1)."""
        dW = self.lora_B.data @ self.lora_A.data
        dW *= self.scaling
        return dW

    def branch(self, x: Array, rng: nn.Rng) -> tuple[Array, BranchCache]:
        """z = scaling (x A^T) B^T.  x (..., k) -> z (..., d).

        Two thin products cost r (d + k) multiplications per row where dW itself would cost d k. The scaling goes on
        the (..., r) array in the middle, the smallest of the three. `lora_dropout` acts here, on the branch's input,
        and only if a generator is passed.
        """
        mask = None
        if rng is not None and self.config.lora_dropout > 0:
            mask = ops.dropout_mask(x.shape, self.config.lora_dropout, rng, like=x)
            x = x * mask
        h = ops.linear(x, self.lora_A.data)
        h *= self.scaling
        z = ops.linear(h, self.lora_B.data)
        return z, BranchCache(x if self.lora_A.trainable else None, h if self.lora_B.trainable else None, mask)

    def branch_backward(self, dz: Array, cache: BranchCache, grads: nn.Gradients, need_dx: bool) -> Array | None:
        """With h = scaling x A^T and z = h B^T:  dB = dz^T h,  dh = dz B,  dA = scaling dh^T x,
        dx = scaling dh A.  dz (..., d) -> dx (..., k).

        dB needs no factor: `branch` has already put the scaling into h. dA and dx get theirs through dh below.
        At B = 0, dh = 0: A's gradient is exactly zero on the first step, and B's is not.
        """
        if cache.h is not None:
            nn.accumulate(grads, self.lora_B, ops.linear_dW(dz, cache.h))
        if cache.x is None and not need_dx:
            return None
        dh = ops.linear_dx(dz, self.lora_B.data)
        dh *= self.scaling
        if cache.x is not None:
            nn.accumulate(grads, self.lora_A, ops.linear_dW(dh, cache.x))
        if not need_dx:
            return None
        dx = ops.linear_dx(dh, self.lora_A.data)
        if cache.mask is not None:
            dx *= cache.mask
        return dx

    def lookup(self, tokens: Array) -> tuple[Array, LookupCache]:
        """z = h A with h = scaling B[tokens].  tokens (...) int -> z (..., k).  A token has no entry to drop."""
        h = ops.embedding(tokens, self.lora_B.data)
        h *= self.scaling
        return ops.linear(h, self.lora_A.data.T), LookupCache(tokens, h)

    def lookup_backward(self, dz: Array, cache: LookupCache, grads: nn.Gradients) -> None:
        """dA = h^T dz,  dB[token] += scaling dz A^T.  dz (..., k)."""
        if self.lora_A.trainable:
            nn.accumulate(grads, self.lora_A, ops.linear_dW(cache.h, dz))
        if self.lora_B.trainable:
            dh = ops.linear(dz, self.lora_A.data)
            dh *= self.scaling
            nn.accumulate_lookup(grads, self.lora_B, dh, cache.tokens)


# ---------------------------------------------------------------------------------------------- the layers


class MergeableLayer(nn.Wrapper):
    """A layer with an update dW that can be written into its weight and taken out again.

    `base_weight` is the array of W0 while the layer is merged and W0 was kept aside; else None.
    """

    merged: bool = False
    base_weight: Array | None = None

    @property
    def weight(self) -> nn.Parameter:
        """W (d, k): W0, or W0 + dW while merged."""
        return self.base.weight

    def delta(self) -> Array:
        """dW (d, k)."""
        raise NotImplementedError

    def merge(self, keep_base: bool) -> None:
        """weight <- W0 + dW, with W0 kept aside or, as in the paper, not."""
        W0 = self.weight.data
        self.weight.data = W0 + self.delta()
        self.base_weight = W0 if keep_base else None
        self.merged = True

    def unmerge(self) -> None:
        """weight <- the W0 that was kept, bit for bit; or, where none was, weight - dW, which rounds."""
        self.weight.data = self.weight.data - self.delta() if self.base_weight is None else self.base_weight
        self.base_weight = None
        self.merged = False

    def check_state(self) -> None:
        super().check_state()
        if self.merged:  # W is neither a base nor, beside A and B, the weight that they belong to
            raise LoraError("the LoRA is merged: call unmerge(model) for W0, A and B, or remove_lora(model) to keep W")

    def move_kept(self, move: Callable[[Array], Array]) -> None:
        super().move_kept(move)
        if self.base_weight is not None:
            self.base_weight = move(self.base_weight)


class LoraCache(NamedTuple):
    """What a LoRA layer's backward reads: its base's cache and its branch's, which is None while merged."""

    base: nn.Cache
    branch: Any


class LoraLayer(LoraBranch, MergeableLayer):
    """A layer with a weight W0 (d, k) and, beside it, the branch."""

    def __init__(self, base: nn.Module, config: LoraConfig, rng: np.random.Generator, path: str = "") -> None:
        """Draw A with std 1/sqrt(k), so that x A^T has the scale of x, and set B = 0, so that dW = 0."""
        self.base = base
        d, k = self.weight.shape
        xp, dtype = array_module(self.weight.data), self.weight.data.dtype
        r = config.rank(path)
        A = nn.Parameter(xp.asarray(nn.normal(rng, (r, k), 1 / math.sqrt(k), dtype.name)))
        LoraBranch.__init__(self, config, config.scaling(path), A, nn.Parameter(xp.zeros((d, r), dtype)))

    def factors(self) -> tuple[Array, Array]:
        """A (n, k) and B (d, n) with dW = scaling B A.  LoraError if a variant's dW has no such factors."""
        return self.lora_A.data, self.lora_B.data


class LoraLinear(LoraLayer):
    """y = x W0^T + b + scaling (x A^T) B^T, around a Linear."""

    def forward(self, x: Array, rng: nn.Rng = None) -> tuple[Array, LoraCache]:
        """x (..., k) -> y (..., d).  Merged, this is the base layer's forward and nothing else."""
        y, base = self.base.forward(x, rng)
        if self.merged:
            return y, LoraCache(base, None)
        z, branch = self.branch(x, rng)
        y += z
        return y, LoraCache(base, branch)

    def backward(self, dy: Array, cache: LoraCache, grads: nn.Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., k) = dy W0 + scaling (dy B) A: both terms of the sum get the same dy."""
        dx = self.base.backward(dy, cache.base, grads, need_dx)
        return nn.add_terms(dx, self.branch_backward(dy, cache.branch, grads, need_dx))


class LoraEmbedding(LoraLayer):
    """W = W0 + scaling B A for a table W0 (V, d), around an Embedding: A (r, d), B (V, r).

    The output head is tied to the table, so one A and one B serve both of its uses. Looked up, token t becomes
    W0[t] + scaling B[t] A; compared, x scores x W0^T + scaling (x A^T) B^T. Each gradient is the sum of the two.
    """

    def forward(self, tokens: Array, rng: nn.Rng = None) -> tuple[Array, LoraCache]:
        """tokens (...) int -> y (..., d)."""
        y, base = self.base.forward(tokens, rng)
        if self.merged:
            return y, LoraCache(base, None)
        z, branch = self.lookup(tokens)
        y += z
        return y, LoraCache(base, branch)

    def backward(self, dy: Array, cache: LoraCache, grads: nn.Gradients) -> None:
        """dy (..., d): the table's term and the branch's get the same dy."""
        self.base.backward(dy, cache.base, grads)
        self.lookup_backward(dy, cache.branch, grads)

    def unembed(self, x: Array, rng: nn.Rng = None) -> tuple[Array, LoraCache]:
        """x (..., d) -> logits (..., V)."""
        y, base = self.base.unembed(x, rng)
        if self.merged:
            return y, LoraCache(base, None)
        z, branch = self.branch(x, rng)
        y += z
        return y, LoraCache(base, branch)

    def unembed_backward(
        self, dlogits: Array, cache: LoraCache, grads: nn.Gradients, need_dx: bool = True
    ) -> Array | None:
        """dlogits (..., V) -> dx (..., d)."""
        dx = self.base.unembed_backward(dlogits, cache.base, grads, need_dx)
        return nn.add_terms(dx, self.branch_backward(dlogits, cache.branch, grads, need_dx))


def linear_only(layer: nn.Module, config: LoraConfig, path: str) -> nn.Module:
    """The layer.  ValueError if it is a table, for variants that have no arithmetic for one."""
    if isinstance(nn.unwrapped(layer), nn.Embedding):
        raise ValueError(f"{path} is a table, and {config.variant} adapts linear layers: take it off target_modules")
    return layer


# ---------------------------------------------------------------------------------------------- the verbs


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """(path, layer) of every layer that has a LoRA."""
    return ((path, module) for path, module in model.named_modules() if isinstance(module, LoraLayer))


def mergeable_layers(model: nn.Module) -> Iterator[tuple[str, MergeableLayer]]:
    """(path, layer) of every layer with an update that can be merged: a LoRA's, or a bank's."""
    return ((path, module) for path, module in model.named_modules() if isinstance(module, MergeableLayer))


def lora_config(model: nn.Module) -> LoraConfig | None:
    """The config that the model's LoRA was added with; None if the model has no LoRA."""
    return next((layer.config for _, layer in lora_layers(model)), None)


def resolved_config(model: nn.Module) -> LoraConfig | None:
    """`lora_config` with every regular expression replaced by the paths that it matched."""
    config, paths = lora_config(model), [path for path, _ in lora_layers(model)]
    if config is None:
        return None
    by_rule = isinstance(config.target_modules, str) or config.exclude_modules or config.layers_to_transform is not None
    return replace(
        config,
        target_modules=tuple(paths) if by_rule else config.target_modules,
        exclude_modules=(),
        layers_to_transform=None,
        rank_pattern={path: config.rank(path) for path in paths if config.rank(path) != config.r},
        alpha_pattern={path: config.alpha(path) for path in paths if config.alpha(path) != config.lora_alpha},
    )


def add_lora(model: Tree, config: LoraConfig, seed: int = 0) -> Tree:
    """Give every targeted layer an A and a B, freeze everything else, and return the model.

    B = 0, so the model computes what it did before, to the bit (section 4.1). A is drawn from `seed`, layer after
    layer in the model's order.
    ValueError if a target names no layer; LoraError if the model has a LoRA already.
    """
    if any(lora_layers(model)):
        raise LoraError("the model has a LoRA already: call remove_lora(model) first")
    if any(mergeable_layers(model)):
        raise LoraError("the model is a bank's view: call bank.add_adapter(name, config, parent=...) instead")
    shapes = model.shapes()
    adapted, trained = _adapted(shapes, config), lora_shapes(shapes, config)
    layers = dict(model.named_modules())
    wrapped = config.wrap_all({path: layers[path] for path in adapted}, nn.generator(seed))
    model.freeze()
    model.replace(wrapped)
    for name, parameter in model.named_parameters().items():
        parameter.trainable |= name in trained
    return model


def lora_shapes(shapes: Mapping[str, tuple[int, ...]], config: LoraConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything that a LoRA of this config trains: each A and B, then the biases.

    shapes  name -> shape of every parameter of the model, which may have this LoRA already
    ValueError if a target names no layer.
    """
    adapted = _adapted(shapes, config)
    found: dict[str, tuple[int, ...]] = {}
    for path, (d, k) in adapted.items():
        found |= config.shapes(path, d, k)
    if config.bias == "all":
        biases = [name for name in shapes if name.endswith(".bias")]
    else:
        biases = [name for path in adapted if (name := f"{path}.bias") in shapes and config.bias == "lora_only"]
    return found | {name: shapes[name] for name in biases}


def adapter_shapes(shapes: Mapping[str, tuple[int, ...]], config: LoraConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of everything that belongs to the adapter: what trains, and what a variant adds frozen."""
    return lora_shapes(shapes, config) | config.frozen_shapes(_adapted(shapes, config))


def matrices(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Path -> (d, k) of every layer that a LoRA can adapt, from the names and shapes of a model's parameters."""
    weights = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
    return {path: shape for path, shape in weights.items() if len(shape) == 2}


def _adapted(shapes: Mapping[str, tuple[int, ...]], config: LoraConfig) -> dict[str, tuple[int, ...]]:
    """Those of the matrices that the config adapts.  ValueError if one of its targets names none."""
    layers = matrices(shapes)
    if isinstance(config.target_modules, str):
        idle = [] if any(map(config.targets, layers)) else [config.target_modules]
    else:
        idle = [name for name in config.target_modules if not any(ends_with(path, name) for path in layers)]
    adapted = {path: shape for path, shape in layers.items() if config.targets(path)}
    if idle:
        known = sorted({path.rpartition(".")[2] for path in layers})
        raise ValueError(f"no layer matches the target {idle[0]!r}: this model has {', '.join(known)}")
    if not adapted:
        raise ValueError(
            f"exclude_modules={config.exclude_modules!r} and layers_to_transform={config.layers_to_transform} leave no "
            "layer to adapt: exclude fewer"
        )
    for name, pattern in (("rank_pattern", config.rank_pattern), ("alpha_pattern", config.alpha_pattern)):
        for key in pattern:
            if not any(_by_pattern({key: True}, path, False) for path in layers):
                raise ValueError(f"{name} has {key!r}, which matches no layer: the layers are {', '.join(layers)}")
    return adapted


def frozen_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of what a variant has added to the model and does not train."""
    config = lora_config(model)
    sizes = {path: layer.weight.shape for path, layer in lora_layers(model)}
    names = {} if config is None else config.frozen_shapes(sizes)
    return {name: p for name, p in model.named_parameters().items() if name in names}


def same_lora(shapes: Mapping[str, tuple[int, ...]], one: LoraConfig | None, other: LoraConfig | None) -> bool:
    """Whether two configs give the model of these shapes the same LoRA, however they name its layers."""
    if one is None or other is None:
        return one is other
    layers = matrices(shapes)
    paths = [path for path in layers if one.targets(path)]
    of_layers = {"r", "lora_alpha", "target_modules", "use_rslora", "rank_pattern", "alpha_pattern"}
    of_layers |= {"exclude_modules", "layers_to_transform"}  # compared by what they mean for each layer
    return (
        type(one) is type(other)
        and all(getattr(one, f.name) == getattr(other, f.name) for f in fields(one) if f.name not in of_layers)
        and paths == [path for path in layers if other.targets(path)]
        and all(one.rank(path) == other.rank(path) and one.scaling(path) == other.scaling(path) for path in paths)
    )


def merge(model: Tree, keep_base: bool = True, dequantize: bool = False) -> Tree:
    """Write W = W0 + (alpha/r) B A into every adapted weight, so that inference has no extra latency (section 4.1).

    keep_base=True keeps W0 aside, so that `unmerge` restores it bit for bit; False is the paper's own way, which needs
    no memory for W0 but rounds: see `minilora.testing.unmerge_drift_bound`.
    A weight that is stored in few bits has no room for dW: with `dequantize` it becomes floats first, and stays so.
    LoraError if there is no LoRA, or it is merged already, or a weight is stored in few bits and may not change.
    """
    layers = _lora_layers_in_state(model, merged=False, cure="call unmerge(model) before you merge again")
    stored = [layer for layer in layers if layer.weight.stored_as is not None]
    if stored and not dequantize:
        raise LoraError(
            f"{stored[0].weight.name} is stored as {stored[0].weight.stored_as}, which has no room for dW: "
            "call merge(model, dequantize=True), or merge into the base that it was made from"
        )
    for layer in stored:
        inner: Any = nn.unwrapped(layer)
        inner.weight = layer.weight.as_floats()
    if stored:
        model.assign_names()
    for layer in layers:
        layer.merge(keep_base)
    return model


def unmerge(model: Tree) -> Tree:
    """Undo `merge`.  LoraError if there is no LoRA, or it is not merged."""
    for layer in _lora_layers_in_state(model, merged=True, cure="call merge(model) first"):
        layer.unmerge()
    return model


def _lora_layers_in_state(model: nn.Module, merged: bool, cure: str) -> list[MergeableLayer]:
    layers = [layer for _, layer in mergeable_layers(model)]
    if not layers:
        raise LoraError("the model has no LoRA: call add_lora(model, config) first")
    if any(layer.merged != merged for layer in layers):
        raise LoraError(f"the LoRA is {'not merged' if merged else 'merged already'}: {cure}")
    return layers


def is_merged(model: nn.Module) -> bool:
    """Whether a LoRA is merged into the model's weights now."""
    return any(isinstance(module, MergeableLayer) and module.merged for module in model.modules)


def remove_lora(model: Tree) -> Tree:
    """Drop every A and B; the weights stay as they are: W0, or the merged W after `merge`.

    The layers are plain again and every parameter trains, as in a new model.  LoraError if there is no LoRA.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise LoraError("the model has no LoRA to remove")
    model.replace({path: layer.base for path, layer in layers.items()})
    model.unfreeze()
    return model


def trainable_report(model: nn.Module) -> str:
    """One line in PEFT's words: "trainable params: 32,768 || all params: 900,608 || trainable%: 3.6384"."""
    parameters = model.named_parameters().values()
    trainable = sum(p.size for p in parameters if p.trainable)
    total = sum(p.size for p in parameters)
    return f"trainable params: {trainable:,} || all params: {total:,} || trainable%: {100 * trainable / total:.4f}"
