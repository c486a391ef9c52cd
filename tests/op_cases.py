"""Every function of `ops.py` and `attention.py` on inputs of every kind that it is called with."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from minilora import attention, ops
from minilora.testing.bounds import gamma

Case = tuple[Callable[..., Any], tuple[Any, ...]]


def cases(dtype: str, seed: int = 0) -> dict[str, Case]:
    """Name -> (function, arguments), arrays of `dtype` on the host.  Attention gets a block and a part of one."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    x, W, b, dy = normal(2, 5, 6), normal(4, 6), normal(4), normal(2, 5, 4)
    tokens, table, d_rows = rng.integers(7, size=(2, 5)), normal(7, 6), normal(2, 5, 6)
    gamma, beta = normal(6), normal(6)
    _, xhat, rstd = ops.layer_norm(x, gamma, beta, 1e-5)
    gelu, phi = ops.gelu(x)
    _, rms_xhat, rrms = ops.rms_norm(x, gamma, 1e-5)
    positions, frequencies = np.arange(5).astype(dtype), np.array([1, 0.1, 0.01], dtype)
    angles = ops.rotary_angles(positions, frequencies)
    T = attention.QUERY_BLOCK + 6
    q, k, v, d_attention = (normal(2, 3, T, 4) for _ in range(4))
    logits, targets = normal(10, 7), rng.integers(7, size=10)
    weights = rng.random(10).astype(dtype)
    softmax = ops.cross_entropy(logits, targets)[1]
    return {
        "linear": (ops.linear, (x, W, b)),
        "linear_dx": (ops.linear_dx, (dy, W)),
        "linear_dW": (ops.linear_dW, (dy, x)),
        "linear_db": (ops.linear_db, (dy,)),
        "embedding": (ops.embedding, (tokens, table)),
        "embedding_dW": (ops.embedding_dW, (d_rows, tokens, 7)),
        "layer_norm": (ops.layer_norm, (x, gamma, beta, 1e-5)),
        "layer_norm_dx": (ops.layer_norm_dx, (d_rows, xhat, rstd, gamma)),
        "layer_norm_dgamma": (ops.layer_norm_dgamma, (d_rows, xhat)),
        "rms_norm": (ops.rms_norm, (x, gamma, 1e-5)),
        "rms_norm_dx": (ops.rms_norm_dx, (d_rows, rms_xhat, rrms, gamma)),
        "silu": (ops.silu, (x,)),
        "silu_dx": (ops.silu_dx, (d_rows, *ops.silu(x))),
        "rotary_angles": (ops.rotary_angles, (positions, frequencies)),
        "rotary": (ops.rotary, (x, *angles)),
        "rotary_dx": (ops.rotary_dx, (d_rows, *angles)),
        "gelu": (ops.gelu, (x,)),
        "gelu_dx": (ops.gelu_dx, (d_rows, x, gelu, phi)),
        **attention_cases("plain ", ops, q, k, v, d_attention),
        **attention_cases("", attention, q, k, v, d_attention),
        "causal_attention, one query": (attention.causal_attention, (q[:, :, -1:], k, v)),
        "causal_attention, grouped": (attention.causal_attention, (q, k[:, :1].copy(), v[:, :1].copy())),
        "cross_entropy": (ops.cross_entropy, (logits, targets)),
        "cross_entropy_dlogits": (ops.cross_entropy_dlogits, (softmax, targets, weights)),
    }


def attention_cases(prefix: str, module: ModuleType, q: Any, k: Any, v: Any, dy: Any) -> dict[str, Case]:
    y, P = module.causal_attention(q, k, v)
    dS = module.causal_attention_dscores(dy, v, y, P)
    arguments = {"": (q, k, v), "_dv": (dy, v, P), "_dscores": (dy, v, y, P), "_dq": (dS, q, k), "_dk": (dS, q, k)}
    names = {f"causal_attention{suffix}": a for suffix, a in arguments.items()}
    return {prefix + name: (getattr(module, name), a) for name, a in names.items()}


def moved(value: Any, move: Callable[[Any], Any]) -> Any:
    """`value` with `move` applied to every array in it; a number without axes is an array too."""
    if isinstance(value, (tuple, list)):
        return [moved(item, move) for item in value]
    return move(value) if hasattr(value, "dtype") else value


def bounds(name: str, dtype: str) -> list[np.ndarray]:
    """How far each array of `cases(dtype)[name]` may be from the same op in exact arithmetic on the same inputs.

    To first order in u, for sums in any order: gamma_n times the sum of the terms' sizes, which is the op itself on
    absolute values. exp, tanh and log are taken to be right to 4 u (CUDA's float32 ones are said to be to 2 u).
    """
    _, arguments = cases(dtype)[name]
    a = moved(arguments, lambda x: np.asarray(x, np.float64) if x.dtype.kind == "f" else x)
    size = moved(a, np.abs)

    def g(n: int) -> float:
        return gamma(n, dtype)

    op, module = name.removeprefix("plain ").partition(",")[0], ops if name.startswith("plain ") else attention
    if op == "linear":
        return [g(a[1].shape[1] + 1) * ops.linear(*size)]
    if op == "linear_dx":
        return [g(a[1].shape[0]) * ops.linear_dx(*size)]
    if op in ("linear_dW", "linear_db"):
        return [g(a[0][..., 0].size) * getattr(ops, op)(*size)]
    if op == "embedding":
        return [np.zeros((*a[0].shape, a[1].shape[1]))]
    if op == "embedding_dW":
        return [g(a[0][..., 0].size) * ops.embedding_dW(*size)]
    if op == "layer_norm":
        # The centred x errs by D = gamma_(d+4) 2 max|x|; rstd relatively by D rstd (as mean|x - m| <= 1 / rstd) and
        # gamma_(d/2+4), so xhat by (1 + |xhat|) (D rstd + gamma_(d/2+4)).
        x, weight, bias, _ = size
        d = x.shape[-1]
        _, xhat, rstd = ops.layer_norm(*a)
        relative = g(2 * d + 8) * (1 + x.max(axis=-1, keepdims=True) * rstd)
        of_xhat = relative * (1 + abs(xhat))
        return [weight * of_xhat + g(2) * (abs(xhat) * weight + bias), of_xhat, relative * rstd]
    if op == "layer_norm_dx":
        # g - mean(g) - xhat mean(g xhat), each mean a sum of d terms.
        dy, xhat, rstd, weight = size
        d, terms = dy.shape[-1], dy * weight
        spread = terms.mean(-1, keepdims=True) + xhat * (terms * xhat).mean(-1, keepdims=True)
        return [g(d + 6) * rstd * (terms + spread)]
    if op == "layer_norm_dgamma":
        return [g(a[0][..., 0].size + 1) * ops.layer_norm_dgamma(*size)]
    if op == "rms_norm":
        y, xhat, rrms = (abs(part) for part in ops.rms_norm(*a))
        return [g(y.shape[-1] + 10) * part for part in (y, xhat, rrms)]
    if op == "rms_norm_dx":
        dy, xhat, rrms, weight = size
        terms = dy * weight
        return [g(dy.shape[-1] + 6) * rrms * (terms + xhat * (terms * xhat).mean(-1, keepdims=True))]
    if op == "silu":
        return [g(12) * size[0], np.full(size[0].shape, g(10))]
    if op == "silu_dx":
        dy, y, s = size
        return [g(6) * dy * (s + y * (1 + s))]
    if op == "rotary_angles":
        return [g(8) + g(2) * size[0][:, None] * size[1]] * 2
    if op in ("rotary", "rotary_dx"):
        x, cos, sin = size
        first, second = np.split(x, 2, axis=-1)
        return [g(3) * np.concatenate([first * cos + second * sin, second * cos + first * sin], axis=-1)]
    if op == "gelu":  # |u (1 - tanh(u)^2)| < 1/2, so phi in [0, 1] errs by what u, tanh and the sum round
        return [g(12) * size[0], np.full(size[0].shape, g(10))]
    if op == "gelu_dx":
        dy, x, y, phi = size
        return [g(10) * ops.gelu_dx(dy, x, -y, phi)]
    if op == "causal_attention":
        # An error e of all scores changes their exponentials by a factor of up to exp(e), and so does it their sum.
        q, k, v = a
        e = g(q.shape[-1] + 8) * (size[0] @ size[1].swapaxes(-1, -2)).max() / np.sqrt(q.shape[-1])
        relative = 2 * e + g(2 * k.shape[-2] + 12)
        found: list[np.ndarray] = []
        moved(module.causal_attention(q, k, size[2]), lambda x: found.append(relative * x))
        return found
    if op == "causal_attention_dv":
        return [g(a[0].shape[-2] + 1) * module.causal_attention_dv(*size)]
    if op == "causal_attention_dscores":
        dy, v, y, P = size
        found = []
        moved([module.causal_attention_dscores(dy, v, -y, P)], lambda x: found.append(g(v.shape[-1] + 3) * x))
        return found
    if op in ("causal_attention_dq", "causal_attention_dk"):
        return [g(a[1].shape[-2] + 3) * getattr(module, op)(*size)]
    logits, targets = a[:2]
    if op == "cross_entropy":
        # exp(x) for x down to -range errs by (range + 4) u relatively, the sum and its log by V more.
        nll, P = ops.cross_entropy(logits, targets)
        spread = np.ptp(logits, axis=-1)
        relative = g(logits.shape[-1] + 8) * (1 + spread)
        return [relative + g(4) * (abs(nll) + size[0].max(axis=-1)), relative[:, None] * P]
    assert op == "cross_entropy_dlogits", f"{name} has no bound yet"
    return [g(3) * size[2][:, None] * (size[0] + 1)]
