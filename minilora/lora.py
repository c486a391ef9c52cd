"""LoRA: Low-Rank Adaptation (Hu et al. 2021, arXiv 2106.09685), section 4.1, on any dense layer.

    h = W0 x + (alpha / r) B A x        W0 (d, k) frozen,  B (d, r) zero,  A (r, k) Gaussian

Four verbs: `add_lora` wraps layers and freezes the rest; `merge` writes W = W0 + (alpha/r) B A into the weight,
so that inference costs what the base model's does; `unmerge` takes that back; `remove_lora` makes the layers
plain again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from minilora import ops
from minilora.machine.backend import Array, array_module
from minilora.nn import Embedding, Gradients, Linear, Module, Parameter, accumulate, normal

Model = TypeVar("Model", bound=Module)  # the verbs return the model they were given


@dataclass(frozen=True)
class LoraConfig:
    """What to adapt and how, under PEFT's names.

    r               rank of the update
    lora_alpha      the update is scaled by lora_alpha / r
    target_modules  layer names ("q_proj") or path endings ("0.attn.q_proj"), or one regular expression that
                    must match a layer's whole path ("blocks\\.[01]\\.attn\\.[qv]_proj")
    lora_dropout    probability of dropping an entry of the LoRA branch's input while training
    bias            which biases train too: "none", "all", or "lora_only" (those of the adapted layers)
    use_rslora      scale by lora_alpha / sqrt(r) instead (Kalajdzievski 2023)
    rank_pattern    exceptions to r, and
    alpha_pattern   exceptions to lora_alpha: a path ending or regular expression -> its own value
    """

    r: int = 8
    lora_alpha: float = 16
    target_modules: tuple[str, ...] | str = ("q_proj", "v_proj")
    lora_dropout: float = 0.0
    bias: str = "none"
    use_rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.target_modules, str):
            object.__setattr__(self, "target_modules", tuple(self.target_modules))
        for r in (self.r, *self.rank_pattern.values()):
            if not isinstance(r, (int, np.integer)) or isinstance(r, bool) or r < 1:
                raise ValueError(f"LoRA's rank r is {r!r}: give a whole number of at least 1")
        for alpha in (self.lora_alpha, *self.alpha_pattern.values()):
            if not math.isfinite(alpha):
                raise ValueError(f"lora_alpha is {alpha!r}: give a finite number, such as 2 * r")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout!r}: give a probability in [0, 1)")
        if self.bias not in ("none", "all", "lora_only"):
            raise ValueError(f'bias is {self.bias!r}: use "none", "all" or "lora_only"')
        if not self.target_modules:
            raise ValueError('target_modules is empty: name at least one layer, such as ("q_proj", "v_proj")')
        regular = (self.target_modules,) if isinstance(self.target_modules, str) else ()
        for pattern in (*regular, *self.rank_pattern, *self.alpha_pattern):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"{pattern!r} is not a regular expression ({error}): several names go into a tuple, "
                    "a single expression must match a whole path"
                ) from None

    def targets(self, path: str) -> bool:
        """Whether the layer at this path is to be adapted."""
        if isinstance(self.target_modules, str):
            return re.fullmatch(self.target_modules, path) is not None
        return any(_ends_with(path, name) for name in self.target_modules)

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


def _ends_with(path: str, name: str) -> bool:
    """Whether a layer's path ends with this name: "q_proj" or "0.attn.q_proj" for "blocks.0.attn.q_proj"."""
    return path == name or path.endswith("." + name)


def _by_pattern(pattern: Mapping[str, Any], path: str, default: Any) -> Any:
    """PEFT's rule: a key fits a path as a regular expression for its whole ending."""
    for key, value in pattern.items():
        if re.fullmatch(rf"(.*\.)?({key})", path):
            return value
    return default


class LoraError(RuntimeError):
    """A LoRA verb in the wrong state: merged twice, trained while merged, added twice, nothing to merge."""


class BranchCache(NamedTuple):
    """What the LoRA branch's backward reads; None for what no trainable matrix needs."""

    x: Any  # (..., k) the branch's input, after dropout: for dA
    h: Any  # (..., r) = scaling * x A^T: for dB
    mask: Any  # (..., k) the dropout mask, if dropout was on


class LoraBranch(Module):
    """The update apart from the weight it is for: A (r, k), B (d, r) and their scaling, s = alpha / r.

    On vectors x it is s (x A^T) B^T; looked up in a table whose rows B is for, it is s B[tokens] A.
    """

    def __init__(self, config: LoraConfig, scaling: float, A: Parameter, B: Parameter) -> None:
        self.config, self.r, self.scaling = config, A.shape[0], scaling
        self.lora_A, self.lora_B = A, B

    def delta(self) -> Array:
        """dW = scaling * B A, (d, k): the update, of rank at most r (section 4.1)."""
        dW = self.lora_B.data @ self.lora_A.data
        dW *= self.scaling
        return dW

    def branch(self, x: Array, rng: Any) -> tuple[Array, BranchCache]:
        """z = scaling (x A^T) B^T.  x (..., k) -> z (..., d).

        Two thin products, r (d + k) multiplications a row where dW itself would cost d k. The scaling goes on
        the (..., r) array in the middle, the smallest of the three.
        """
        mask = None
        if rng is not None and self.config.lora_dropout > 0:
            mask = ops.dropout_mask(x.shape, self.config.lora_dropout, rng, like=x)
            x = x * mask
        h = ops.linear(x, self.lora_A.data)
        h *= self.scaling
        z = ops.linear(h, self.lora_B.data)
        return z, BranchCache(x if self.lora_A.trainable else None, h if self.lora_B.trainable else None, mask)

    def branch_backward(self, dz: Array, cache: BranchCache, grads: Gradients, need_dx: bool) -> Array | None:
        """With h = scaling x A^T and z = h B^T:  dB = dz^T h,  dh = dz B,  dA = scaling dh^T x,
        dx = scaling dh A.  dz (..., d) -> dx (..., k).

        At B = 0, dh = 0: A's gradient is exactly zero on the first step, and B's is not.
        """
        if self.lora_B.trainable:
            accumulate(grads, self.lora_B, ops.linear_dW(dz, cache.h))
        if not (need_dx or self.lora_A.trainable):
            return None
        dh = ops.linear_dx(dz, self.lora_B.data)
        dh *= self.scaling
        if self.lora_A.trainable:
            accumulate(grads, self.lora_A, ops.linear_dW(dh, cache.x))
        if not need_dx:
            return None
        dx = ops.linear_dx(dh, self.lora_A.data)
        if cache.mask is not None:
            dx *= cache.mask
        return dx

    def lookup(self, tokens: Array) -> tuple[Array, Any]:
        """z = h A with h = scaling B[tokens].  tokens (...) int -> z (..., k).  A token has no entry to drop."""
        h = ops.embedding(tokens, self.lora_B.data)
        h *= self.scaling
        return ops.linear(h, self.lora_A.data.T), (tokens, h)

    def lookup_backward(self, dz: Array, cache: Any, grads: Gradients) -> None:
        """dA = h^T dz,  dB[token] += scaling dz A^T.  dz (..., k)."""
        tokens, h = cache
        if self.lora_A.trainable:
            accumulate(grads, self.lora_A, ops.linear_dW(h, dz))
        if self.lora_B.trainable:
            dh = ops.linear(dz, self.lora_A.data)
            dh *= self.scaling
            accumulate(grads, self.lora_B, ops.embedding_dW(dh, tokens, self.lora_B.shape[0]))


class MergeableLayer(Module):
    """A layer with a weight and an update dW that can be written into it and taken out again.

    `base_weight` is the array of W0 while the layer is merged and W0 was kept aside; else None.
    """

    weight: Parameter
    merged: bool = False
    base_weight: Array | None = None

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

    def move_kept(self, move: Callable[[Array], Array]) -> None:
        if self.base_weight is not None:
            self.base_weight = move(self.base_weight)


class LoraLayer(LoraBranch, MergeableLayer):
    """What LoRA makes of a layer with a weight W0 (d, k): the branch beside it, and the merge into it."""

    def plain(self) -> Module:
        """The layer without its LoRA, with the weight as it now is."""
        raise NotImplementedError

    def init_lora(self, config: LoraConfig, rng: np.random.Generator, path: str) -> None:
        """Draw A with std 1/sqrt(k), so that x A^T has the scale of x, and set B = 0, so that dW = 0."""
        d, k = self.weight.shape
        xp, dtype = array_module(self.weight.data), self.weight.data.dtype
        r = config.rank(path)
        A = Parameter(xp.asarray(normal(rng, (r, k), 1 / math.sqrt(k), dtype.name)))
        LoraBranch.__init__(self, config, config.scaling(path), A, Parameter(xp.zeros((d, r), dtype)))


class LoraLinear(LoraLayer, Linear):
    """y = x W0^T + b + scaling (x A^T) B^T, in place of a Linear, whose parameters it takes over."""

    def __init__(self, base: Linear, config: LoraConfig, rng: np.random.Generator, path: str = "") -> None:
        self.weight, self.bias = base.weight, base.bias
        self.init_lora(config, rng, path)

    def plain(self) -> Linear:
        return Linear(self.weight, self.bias)

    def forward(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (..., k) -> y (..., d).  Merged, this is the base layer's forward and nothing else."""
        y, base = Linear.forward(self, x)
        if self.merged:
            return y, (base, None)
        z, branch = self.branch(x, rng)
        y += z
        return y, (base, branch)

    def backward(self, dy: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dy (..., d) -> dx (..., k) = dy W0 + scaling (dy B) A: both terms of the sum get the same dy."""
        base, branch = cache
        dx = Linear.backward(self, dy, base, grads, need_dx)
        branch_dx = self.branch_backward(dy, branch, grads, need_dx)
        if dx is not None:
            dx += branch_dx
        return dx


class LoraEmbedding(LoraLayer, Embedding):
    """W = W0 + scaling B A for a table W0 (V, d): A (r, d), B (V, r), in place of an Embedding.

    The output head is tied to the table, so one A and one B serve both of its uses. Looked up, token t becomes
    W0[t] + scaling B[t] A; compared, x scores x W0^T + scaling (x A^T) B^T. Each gradient is the sum of the two.
    """

    def __init__(self, base: Embedding, config: LoraConfig, rng: np.random.Generator, path: str = "") -> None:
        self.weight = base.weight
        self.init_lora(config, rng, path)

    def plain(self) -> Embedding:
        return Embedding(self.weight)

    def forward(self, tokens: Array, rng: Any = None) -> tuple[Array, Any]:
        """tokens (...) int -> y (..., d)."""
        y, base = Embedding.forward(self, tokens)
        if self.merged:
            return y, (base, None)
        z, branch = self.lookup(tokens)
        y += z
        return y, (base, branch)

    def backward(self, dy: Array, cache: Any, grads: Gradients) -> None:
        """dy (..., d): the table's term and the branch's get the same dy."""
        base, branch = cache
        Embedding.backward(self, dy, base, grads)
        self.lookup_backward(dy, branch, grads)

    def unembed(self, x: Array, rng: Any = None) -> tuple[Array, Any]:
        """x (..., d) -> logits (..., V)."""
        y, base = Embedding.unembed(self, x)
        if self.merged:
            return y, (base, None)
        z, branch = self.branch(x, rng)
        y += z
        return y, (base, branch)

    def unembed_backward(self, dlogits: Array, cache: Any, grads: Gradients, need_dx: bool = True) -> Array | None:
        """dlogits (..., V) -> dx (..., d)."""
        base, branch = cache
        dx = Embedding.unembed_backward(self, dlogits, base, grads, need_dx)
        branch_dx = self.branch_backward(dlogits, branch, grads, need_dx)
        if dx is not None:
            dx += branch_dx
        return dx


def lora_layers(model: Module) -> Iterator[tuple[str, LoraLayer]]:
    """(path, layer) of every layer that has a LoRA."""
    return ((path, module) for path, module in model.named_modules() if isinstance(module, LoraLayer))


def mergeable_layers(model: Module) -> Iterator[tuple[str, MergeableLayer]]:
    """(path, layer) of every layer with an update that can be merged: those of `lora_layers`, or of a bank."""
    return ((path, module) for path, module in model.named_modules() if isinstance(module, MergeableLayer))


def lora_config(model: Module) -> LoraConfig | None:
    """The config that the model's LoRA was added with, or None if it has none."""
    return next((layer.config for _, layer in lora_layers(model)), None)


def resolved_config(model: Module) -> LoraConfig | None:
    """`lora_config` in plain names: each regular expression gives way to the paths that it chose."""
    config, paths = lora_config(model), [path for path, _ in lora_layers(model)]
    if config is None:
        return None
    return replace(
        config,
        target_modules=tuple(paths) if isinstance(config.target_modules, str) else config.target_modules,
        rank_pattern={path: config.rank(path) for path in paths if config.rank(path) != config.r},
        alpha_pattern={path: config.alpha(path) for path in paths if config.alpha(path) != config.lora_alpha},
    )


def add_lora(model: Model, config: LoraConfig, seed: int = 0) -> Model:
    """Give every targeted layer an A and a B, freeze everything else, and return the model.

    B = 0, so the model computes what it did before, to the bit (section 4.1). A is drawn from `seed`, layer by
    layer in the model's order.
    ValueError if a target names no layer; LoraError if the model has a LoRA already.
    """
    if any(lora_layers(model)):
        raise LoraError("the model has a LoRA already: call remove_lora(model) first")
    trained = lora_shapes(model.shapes(), config)
    model.freeze()
    rng = np.random.default_rng(seed)
    for path in [name.removesuffix(".lora_A") for name in trained if name.endswith(".lora_A")]:
        layer: Any = model.get_submodule(path)
        lora = LoraEmbedding if isinstance(layer, Embedding) else LoraLinear
        model.set_submodule(path, lora(layer, config, rng, path))
    for name, parameter in model.named_parameters().items():
        parameter.trainable |= name in trained
    return model


def lora_shapes(shapes: Mapping[str, tuple[int, ...]], config: LoraConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of all that a LoRA of this config trains: each A and B, then the biases that train along.

    shapes  name -> shape of every parameter of the model, which may have this LoRA already
    ValueError if a target names no layer.
    """
    matrices = [name.removesuffix(".weight") for name, s in shapes.items() if name.endswith(".weight") and len(s) == 2]
    adapted = _targeted(matrices, config)
    found: dict[str, tuple[int, ...]] = {}
    for path in adapted:
        (d, k), r = shapes[f"{path}.weight"], config.rank(path)
        found |= {f"{path}.lora_A": (r, k), f"{path}.lora_B": (d, r)}
    if config.bias == "all":
        biases = [name for name in shapes if name.endswith(".bias")]
    else:
        biases = [name for path in adapted if (name := f"{path}.bias") in shapes and config.bias == "lora_only"]
    return found | {name: shapes[name] for name in biases}


def _targeted(paths: list[str], config: LoraConfig) -> list[str]:
    """Those of the layers at these paths that the config adapts.  ValueError if a target names none of them."""
    if isinstance(config.target_modules, str):
        idle = [] if any(map(config.targets, paths)) else [config.target_modules]
    else:
        idle = [name for name in config.target_modules if not any(_ends_with(path, name) for path in paths)]
    if idle:
        known = sorted({path.rpartition(".")[2] for path in paths})
        raise ValueError(f"no layer matches the target {idle[0]!r}: this model has {', '.join(known)}")
    return [path for path in paths if config.targets(path)]


def merge(model: Model, keep_base: bool = True) -> Model:
    """Write W = W0 + (alpha/r) B A into every adapted weight: no latency is left (section 4.1).

    keep_base=True keeps W0 aside, so that `unmerge` puts its very bits back; False is the paper's own way,
    which needs no memory and rounds: see `minilora.testing.unmerge_drift_bound`.
    LoraError if there is no LoRA, or it is merged already.
    """
    layers = _lora_layers_in_state(model, merged=False, cure="call unmerge(model) before you merge again")
    for layer in layers:
        layer.merge(keep_base)
    return model


def unmerge(model: Model) -> Model:
    """Undo `merge`.  LoraError if there is no LoRA, or it is not merged."""
    for layer in _lora_layers_in_state(model, merged=True, cure="call merge(model) first"):
        layer.unmerge()
    return model


def _lora_layers_in_state(model: Module, merged: bool, cure: str) -> list[MergeableLayer]:
    layers = [layer for _, layer in mergeable_layers(model)]
    if not layers:
        raise LoraError("the model has no LoRA: call add_lora(model, config) first")
    if any(layer.merged != merged for layer in layers):
        raise LoraError(f"the LoRA is {'not merged' if merged else 'merged already'}: {cure}")
    return layers


def is_merged(model: Module) -> bool:
    """Whether a LoRA is merged into the model's weights now."""
    return any(layer.merged for _, layer in mergeable_layers(model))


def remove_lora(model: Model) -> Model:
    """Drop every A and B; the weights stay as they stand: W0, or the merged W after `merge`.

    The layers are plain again and every parameter trains, as in a new model.  LoraError if there is no LoRA.
    """
    layers = list(lora_layers(model))
    if not layers:
        raise LoraError("the model has no LoRA to remove")
    for path, layer in layers:
        model.set_submodule(path, layer.plain())
    model.unfreeze()
    return model


def trainable_report(model: Module) -> str:
    """One line in PEFT's words: "trainable params: 32,768 || all params: 900,608 || trainable%: 3.6384"."""
    parameters = model.named_parameters().values()
    trainable = sum(p.size for p in parameters if p.trainable)
    total = sum(p.size for p in parameters)
    return f"trainable params: {trainable:,} || all params: {total:,} || trainable%: {100 * trainable / total:.4f}"
