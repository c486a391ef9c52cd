"""Adam, gradient clipping and learning-rate schedules, on dictionaries of gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from minilora.machine.backend import Array, Scalar, array_module, to_host
from minilora.machine.sums import slices_of_rows
from minilora.nn import Gradients, Module, check_finite


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), with decoupled weight decay (AdamW, Loshchilov and Hutter 2019).

        m <- beta1 m + (1 - beta1) g             mhat = m / (1 - beta1^t)
        v <- beta2 v + (1 - beta2) g^2           vhat = v / (1 - beta2^t)
        w <- w - lr * weight_decay * w - lr * mhat / (sqrt(vhat) + eps)

    The state is two arrays for each *trainable* parameter and none for a frozen one: this is how LoRA saves memory
    (section 4.2). m and v start with a parameter's first gradient. `lr` may be changed before any step.

    lr_factor   a name, or its ending from a dot on, -> what `lr` is multiplied by there: {"lora_B": 16} is LoRA+. Of
                several that fit, the longest counts. ValueError if one fits no parameter.
    """

    def __init__(
        self,
        model: Module,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        lr_factor: Mapping[str, float] | None = None,
    ) -> None:
        for name, value in {"lr": lr, "weight_decay": weight_decay, "eps": eps}.items():
            check_finite(name, value)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2 or not all(_is_share(beta) for beta in betas):
            raise ValueError(f"betas={betas} must lie in [0, 1)")
        self.model, self.lr, self.weight_decay, self.betas, self.eps = model, lr, weight_decay, betas, eps
        self.lr_factor = _by_name(model, lr_factor or {})
        self.t = 0
        self.m: dict[str, Array] = {}
        self.v: dict[str, Array] = {}

    def step(self, grads: Gradients) -> None:
        """Update, in place, every parameter that has a gradient.

        ValueError, before any change, if a gradient has no parameter or `lr` has been set to what is no rate.
        """
        check_finite("lr", self.lr)
        parameters = {parameter.name: parameter for parameter in self.model.parameters}
        if unknown := [name for name in grads if name not in parameters or not parameters[name].trainable]:
            raise ValueError(f"{unknown[0]} has a gradient but is not a trainable parameter of this model")
        self.t += 1
        for name, g in grads.items():
            w, lr = parameters[name].data, self.lr * self.lr_factor.get(name, 1.0)
            if name not in self.m:
                self.m[name], self.v[name] = array_module(w).zeros_like(w), array_module(w).zeros_like(w)
            for rows in slices_of_rows(w):
                self._update(w[rows], g[rows], self.m[name][rows], self.v[name][rows], lr)

    def reach(self, size: float) -> float:
        """About how far a step moves weights of this size: `lr` at most (Kingma and Ba 2015, section 2.1), and what
        decays.  ValueError if `lr` has been set to what is no rate."""
        check_finite("lr", self.lr)
        return self.lr * max(self.lr_factor.values(), default=1.0) * (1 + self.weight_decay * size)

    def _update(self, w: Array, g: Array, m: Array, v: Array, lr: float) -> None:
        xp = array_module(w)
        beta1, beta2 = self.betas
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        if self.weight_decay:
            w *= 1 - lr * self.weight_decay
        # mhat / (sqrt(vhat) + eps), with the corrections as two numbers instead of two arrays.
        root = xp.sqrt(v)
        root *= 1 / math.sqrt(1 - beta2**self.t)
        root += self.eps
        xp.divide(m, root, out=root)
        root *= lr / (1 - beta1**self.t)
        w -= root

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies on the host: "t", and "m.NAME" and "v.NAME" for each parameter that has been updated."""
        state = {"t": np.array(self.t, np.int64)}  # the same on every platform
        for prefix, moments in (("m", self.m), ("v", self.v)):
            state |= {f"{prefix}.{name}": to_host(array).copy() for name, array in moments.items()}
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state_dict` returned."""
        parameters = self.model.named_parameters()
        self.t, self.m, self.v = int(state["t"]), {}, {}
        for key, array in state.items():
            prefix, _, name = key.partition(".")
            if key != "t":
                data = parameters[name].data
                moments = self.m if prefix == "m" else self.v
                moments[name] = array_module(data).array(array, dtype=data.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of m and v: twice those of the parameters that have been updated."""
        return sum(a.nbytes for moments in (self.m, self.v) for a in moments.values())


def _by_name(model: Module, lr_factor: Mapping[str, float]) -> dict[str, float]:
    """Parameter's name -> factor, from `Adam`'s `lr_factor`."""
    names, found = list(model.named_parameters()), dict[str, float]()
    for ending in sorted(lr_factor, key=len):
        check_finite(f"lr_factor[{ending!r}]", lr_factor[ending])
        fitting = [name for name in names if name == ending or name.endswith(f".{ending}")]
        if not fitting:
            raise ValueError(f"lr_factor has {ending!r}, and no parameter ends so: give an ending such as 'lora_B'")
        found |= dict.fromkeys(fitting, float(lr_factor[ending]))
    return found


def _is_share(value: Any) -> bool:
    return isinstance(value, (float, int, np.number)) and bool(0 <= value < 1)


def global_norm(grads: Gradients) -> Scalar:
    """The Euclidean norm of all gradients laid end to end, infinite only if it is too large for a float64."""
    if not grads:
        return 0.0
    xp = array_module(next(iter(grads.values())))
    if xp is not np:  # in float64 from the start: asking whether float32 overflows would wait for the answer
        return xp.sqrt(sum(xp.square(g, dtype="float64").sum() for g in grads.values()))
    with np.errstate(over="ignore"):
        norm = math.sqrt(sum(g.ravel() @ g.ravel() for g in grads.values()))
    if math.isinf(norm) and math.isfinite(largest := max(float(abs(g).max()) for g in grads.values())):
        return largest * global_norm({name: g / largest for name, g in grads.items()})
    return norm


def clip_grad_norm(grads: Gradients, max_norm: float) -> Scalar:
    """Scale all gradients in place by one factor, so that their global norm is at most `max_norm`.

    Returns the norm before clipping; one that is infinite or NaN has no such factor, and the gradients stay as they
    are.  Pascanu, Mikolov and Bengio 2013, algorithm 1.  ValueError unless max_norm is above 0; math.inf clips nothing.
    """
    if not isinstance(max_norm, Real) or isinstance(max_norm, bool) or not max_norm > 0:
        raise ValueError(f"the norm to clip to is {max_norm!r}: give a number above 0, or math.inf to clip nothing")
    if not isinstance(grads, Mapping) or not all(hasattr(g, "ravel") for g in grads.values()):
        raise ValueError(f"grads is {grads!r:.80}: give name -> gradient, as loss_and_grads returns them")
    norm = global_norm(grads)
    if not grads or math.isinf(max_norm):
        return norm
    xp = array_module(next(iter(grads.values())))
    if xp is np and not max_norm < norm < math.inf:  # asking this of a GPU would wait for the norm
        return norm
    factor = max_norm / norm if xp is np else xp.minimum(1, max_norm / norm)
    for g in grads.values():
        g *= factor
    return norm


def warmup_cosine(step: int, steps: int, lr: float, warmup: int = 0, min_lr: float = 0.0) -> float:
    """The learning rate for step 0 .. steps-1: linear up to `lr` over `warmup` steps, then half a cosine down to
    `min_lr` at the last step (Loshchilov and Hutter 2017, eq. 5)."""
    for name, value in {"step": step, "steps": steps, "lr": lr, "warmup": warmup, "min_lr": min_lr}.items():
        check_finite(name, value)
    if step < warmup:
        return lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
