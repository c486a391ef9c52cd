"""Every function of `ops.py` on inputs of every kind it is called with: for a comparison of two array libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minilora import ops

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
    T = ops.QUERY_BLOCK + 6
    q, k, v, d_attention = (normal(2, 3, T, 4) for _ in range(4))
    attention, P = ops.causal_attention(q, k, v)
    dS = ops.causal_attention_dscores(d_attention, v, attention, P)
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
        "gelu": (ops.gelu, (x,)),
        "gelu_dx": (ops.gelu_dx, (d_rows, x, gelu, phi)),
        "causal_attention_plain": (ops.causal_attention_plain, (q, k, v)),
        "causal_attention": (ops.causal_attention, (q, k, v)),
        "causal_attention, one query": (ops.causal_attention, (q[:, :, -1:], k, v)),
        "causal_attention_dv": (ops.causal_attention_dv, (d_attention, v, P)),
        "causal_attention_dscores": (ops.causal_attention_dscores, (d_attention, v, attention, P)),
        "causal_attention_dq": (ops.causal_attention_dq, (dS, q, k)),
        "causal_attention_dk": (ops.causal_attention_dk, (dS, q, k)),
        "cross_entropy": (ops.cross_entropy, (logits, targets)),
        "cross_entropy_dlogits": (ops.cross_entropy_dlogits, (softmax, targets, weights)),
    }


def moved(value: Any, move: Callable[[Any], Any]) -> Any:
    """`value` with `move` applied to every array in it; a number without axes is an array too."""
    if isinstance(value, (tuple, list)):
        return [moved(item, move) for item in value]
    return move(value) if hasattr(value, "dtype") else value
