"""The mathematics: one pure function per forward, one per partial derivative.

Read this file with a pencil. Each forward is followed by its derivatives: `dy` is always dL/dy, the gradient of
the scalar loss L with respect to the forward's result y, and a function named `f_dx` turns it into dL/dx by the
chain rule. A result depends only on the arguments, and no function changes an array that it was given. (What
`functools.cache` keeps are constants.)

Shapes: N is any number of rows (batch x time, flattened or not: `...` below), B the batch, T the time steps, H the
heads, D the size of a head, V the vocabulary. Vectors are rows, so a linear map with weight W (d, k) = (out, in)
reads y = x W^T where the LoRA paper, with columns, has h = W x.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

from minilora.machine.backend import Array, array_module
from minilora.machine.products import times_transposed

# ---------------------------------------------------------------------------------------------- linear


def linear(x: Array, W: Array, b: Array | None = None) -> Array:
    """y = x W^T + b.  x (..., k), W (d, k), b (d,) -> y (..., d)."""
    # One product over all rows at once: a (B, T, k) operand would be B small products.
    y = times_transposed(x.reshape(-1, x.shape[-1]), W)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], W.shape[0])


def linear_dx(dy: Array, W: Array) -> Array:
    """y_i = sum_j W_ij x_j, so dL/dx_j = sum_i dy_i W_ij: dx = dy W.  dy (..., d), W (d, k) -> (..., k)."""
    return (dy.reshape(-1, dy.shape[-1]) @ W).reshape(*dy.shape[:-1], W.shape[1])


def linear_dW(dy: Array, x: Array) -> Array:
    """dL/dW_ij = sum over rows of dy_i x_j: dW = dy^T x.  dy (..., d), x (..., k) -> (d, k)."""
    return dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])


def linear_db(dy: Array) -> Array:
    """b is added to every row, so db is the sum of dy over rows.  dy (..., d) -> (d,)."""
    return dy.reshape(-1, dy.shape[-1]).sum(axis=0)


# ------------------------------------------------------------------------------------------- embedding


def embedding(tokens: Array, W: Array) -> Array:
    """y[b, t] = W[tokens[b, t]].  tokens (B, T) int, W (V, d) -> y (B, T, d)."""
    return W[tokens]


def embedding_dW(dy: Array, tokens: Array, vocab_size: int) -> Array:
    """Row v of dW is the sum of dy over the places where the token is v.  dy (B, T, d) -> (V, d)."""
    xp = array_module(dy)
    dW = xp.zeros((vocab_size, dy.shape[-1]), dtype=dy.dtype)
    # Unbuffered add: a token that occurs twice must be added twice, which dW[tokens] += dy would not do.
    xp.add.at(dW, tokens.reshape(-1), dy.reshape(-1, dy.shape[-1]))
    return dW


# ------------------------------------------------------------------------------------------- LayerNorm


def _mean(x: Array) -> Array:
    """Mean over the last axis, kept as an axis of 1.  For short rows a product takes a fifth of x.mean's time."""
    return x @ _averaging_column(array_module(x), x.shape[-1], x.dtype)


@functools.cache
def _averaging_column(xp: ModuleType, d: int, dtype: Any) -> Array:
    """(d, 1), all 1/d: a row's product with it is the row's mean."""
    return xp.full((d, 1), 1 / d, dtype=dtype)


def _mean_product(x: Array, y: Array) -> Array:
    """Mean of x * y over the last axis, kept as an axis of 1, without forming x * y: one dot product per row."""
    return (x[..., None, :] @ y[..., :, None])[..., 0] * (1 / x.shape[-1])


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
    """y = gamma * xhat + beta with xhat = (x - mean) * rstd and rstd = 1 / sqrt(var + eps).

    Mean and (biased) variance are over the last axis.  x (..., d), gamma and beta (d,)
    -> y (..., d), xhat (..., d), rstd (..., 1).  Ba, Kiros and Hinton 2016, eq. 4.
    """
    xp = array_module(x)
    xhat = x - _mean(x)
    rstd = 1 / xp.sqrt(_mean_product(xhat, xhat) + eps)
    xhat *= rstd
    y = xhat * gamma
    y += beta
    return y, xhat, rstd


def layer_norm_dx(dy: Array, xhat: Array, rstd: Array, gamma: Array) -> Array:
    """dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) with g = dL/dxhat = dy * gamma.

    From xhat = (x - m) rstd: moving x_j moves xhat_i directly (rstd if i = j), through the mean
    (-rstd / d) and through the variance, drstd/dx_j = -rstd^2 xhat_j / d, so
    dxhat_i/dx_j = rstd (delta_ij - 1/d - xhat_i xhat_j / d); contract with g_i.
    dy, xhat (..., d), rstd (..., 1), gamma (d,) -> (..., d).
    """
    g = dy * gamma
    along_xhat = xhat * _mean_product(g, xhat)
    g -= _mean(g)
    g -= along_xhat
    g *= rstd
    return g


def layer_norm_dgamma(dy: Array, xhat: Array) -> Array:
    """y = gamma * xhat + beta, so dgamma = sum over rows of dy * xhat.  (..., d) -> (d,)."""
    return (dy * xhat).reshape(-1, dy.shape[-1]).sum(axis=0)


# beta is a bias: its gradient is `linear_db`.

# --------------------------------------------------------------------------------------------- RMSNorm


def rms_norm(x: Array, gamma: Array, eps: float) -> tuple[Array, Array, Array]:
    """y = gamma * xhat with xhat = x * rrms and rrms = 1 / sqrt(mean(x^2) + eps): LayerNorm without mean and shift.

    x (..., d), gamma (d,) -> y (..., d), xhat (..., d), rrms (..., 1).  Zhang and Sennrich 2019, eq. 4.
    """
    rrms = 1 / array_module(x).sqrt(_mean_product(x, x) + eps)
    xhat = x * rrms
    return xhat * gamma, xhat, rrms


def rms_norm_dx(dy: Array, xhat: Array, rrms: Array, gamma: Array) -> Array:
    """dx = rrms * (g - xhat * mean(g * xhat)) with g = dL/dxhat = dy * gamma.

    From xhat = x rrms: moving x_j moves xhat_i directly (rrms if i = j) and through the root,
    drrms/dx_j = -rrms^2 xhat_j / d, so dxhat_i/dx_j = rrms (delta_ij - xhat_i xhat_j / d); contract with g_i.
    dy, xhat (..., d), rrms (..., 1), gamma (d,) -> (..., d).
    """
    g = dy * gamma
    g -= xhat * _mean_product(g, xhat)
    g *= rrms
    return g


# gamma enters as LayerNorm's does: its gradient is `layer_norm_dgamma`.

# ------------------------------------------------------------------------------------------------ GELU

_GELU_C = math.sqrt(2 / math.pi)
_GELU_A = 0.044715


def gelu(x: Array) -> tuple[Array, Array]:
    """y = x * phi with phi = (1 + tanh(u)) / 2 and u = c (x + a x^3): GPT-2's GELU.

    c = sqrt(2/pi), a = 0.044715; phi approximates the normal distribution function.
    x (any shape) -> y, phi (same shape).  Hendrycks and Gimpel 2016, section 2.
    """
    xp = array_module(x)
    phi = x * x
    phi *= _GELU_C * _GELU_A
    phi += _GELU_C
    phi *= x
    xp.tanh(phi, out=phi)
    phi += 1
    phi *= 0.5
    return x * phi, phi


def gelu_dx(dy: Array, x: Array, y: Array, phi: Array) -> Array:
    """dy/dx = phi + x phi', where phi' = 2 phi (1 - phi) u' because (1 - tanh^2) / 2 = 2 phi (1 - phi).

    With u' = c (1 + 3 a x^2) and x (1 - phi) = x - y:  dx = dy * phi * (1 + (x - y) 2 c (1 + 3 a x^2)).
    """
    slope = x * x
    slope *= 6 * _GELU_C * _GELU_A
    slope += 2 * _GELU_C
    slope *= x - y
    slope += 1
    slope *= phi
    slope *= dy
    return slope


# ------------------------------------------------------------------------------------------------ SiLU


def silu(x: Array) -> tuple[Array, Array]:
    """y = x * s with the logistic function s = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2, which cannot overflow.

    x (any shape) -> y, s (same shape).  SwiGLU, silu(x W^T) * (x V^T), is this and a product: Shazeer 2020, eq. 6.
    """
    s = x * 0.5
    array_module(x).tanh(s, out=s)
    s += 1
    s *= 0.5
    return x * s, s


def silu_dx(dy: Array, y: Array, s: Array) -> Array:
    """ds/dx = s (1 - s), so dy/dx = s + x s (1 - s) = s + y (1 - s)."""
    slope = 1 - s
    slope *= y
    slope += s
    slope *= dy
    return slope


# ---------------------------------------------------------------------------------- rotary positions


def rotary_angles(positions: Array, frequencies: Array) -> tuple[Array, Array]:
    """cos and sin of the angle position * frequency.  positions (T,), frequencies (D/2,) -> two of (T, D/2)."""
    xp = array_module(frequencies)
    angles = positions[:, None] * frequencies
    return xp.cos(angles), xp.sin(angles)


def rotary(x: Array, cos: Array, sin: Array) -> Array:
    """Turn the pair (x_i, x_{i + D/2}) by the angle of its position and frequency, for each i < D/2.

    Queries and keys turned so have q_m . k_n depend on the distance m - n only (Su et al. 2021, section 3.2): pairs are
    complex numbers, and (q e^{i m f}) conj(k e^{i n f}) = q conj(k) e^{i (m - n) f}. The paper pairs neighbours, 2i and
    2i + 1; the pairs here are those of Llama's files.
    In long passes: y = cos * x + sin * (-b, a), where x = (a, b).
    x (..., T, D), cos and sin (T, D/2) -> (..., T, D).
    """
    xp, half = array_module(x), x.shape[-1] // 2
    y = xp.empty_like(x)
    xp.negative(x[..., half:], out=y[..., :half])
    y[..., half:] = x[..., :half]
    y *= xp.concatenate((sin, sin), axis=-1)
    y += x * xp.concatenate((cos, cos), axis=-1)
    return y


def rotary_dx(dy: Array, cos: Array, sin: Array) -> Array:
    """A rotation's transpose is the rotation back.  (..., T, D) -> (..., T, D)."""
    return rotary(dy, cos, -sin)


# ------------------------------------------------------------------------------------ causal attention
#
# y = P v with P = softmax(S) over the keys that a query may see, S = q k^T / sqrt(D)  (Vaswani et al. 2017, eq. 1).
# Query i of Tq is position Tk - Tq + i and sees the keys up to its own: in training Tq = Tk and the mask is a
# triangle; with a key/value cache Tq is the few new positions.
# H query heads share K heads of keys and values, H / K of them each (Ainslie et al. 2023); in GPT-2, H = K.
# `attention.py` has the same functions made fast; training uses those.


def causal_attention(q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """y and P.  q (B, H, Tq, D), k and v (B, K, Tk, D) -> y (B, H, Tq, D), P (B, H, Tq, Tk)."""
    xp, Tq, Tk = array_module(q), q.shape[2], k.shape[2]
    S = q @ _for_each_query_head(k, q).swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    S = xp.where(xp.tril(xp.ones((Tq, Tk), dtype=bool), k=Tk - Tq), S, -xp.inf)
    E = xp.exp(S - S.max(axis=-1, keepdims=True))  # exp cannot overflow, and the largest is 1
    P = E / E.sum(axis=-1, keepdims=True)
    return P @ _for_each_query_head(v, q), P


def causal_attention_dv(dy: Array, v: Array, P: Array) -> Array:
    """y = P v is linear in v: dv = P^T dy.  dy (B, H, Tq, D) -> (B, K, Tk, D)."""
    return _sum_over_query_heads(P.swapaxes(-1, -2) @ dy, v)


def causal_attention_dscores(dy: Array, v: Array, y: Array, P: Array) -> Array:
    """dL/dS.  dy, y (B, H, Tq, D) -> (B, H, Tq, Tk).

    dP = dy v^T; the softmax's Jacobian dP_j/dS_m = P_j (delta_jm - P_m) gives
    dS_m = P_m (dP_m - sum_j P_j dP_j), and sum_j P_j dP_j = sum_j P_j (v_j . dy) = y . dy,
    a sum over D rather than over Tk terms. Where a key is masked P = 0, so dS = 0.
    """
    dP = dy @ _for_each_query_head(v, dy).swapaxes(-1, -2)
    return P * (dP - (y * dy).sum(axis=-1, keepdims=True))


def causal_attention_dq(dS: Array, q: Array, k: Array) -> Array:
    """S_ij = q_i . k_j / sqrt(D): dq = dS k / sqrt(D).  -> (B, H, Tq, D)."""
    return dS @ _for_each_query_head(k, q) / math.sqrt(q.shape[-1])


def causal_attention_dk(dS: Array, q: Array, k: Array) -> Array:
    """S_ij = q_i . k_j / sqrt(D): dk = dS^T q / sqrt(D).  -> (B, K, Tk, D)."""
    return _sum_over_query_heads(dS.swapaxes(-1, -2) @ q, k) / math.sqrt(q.shape[-1])


def _for_each_query_head(x: Array, q: Array) -> Array:
    """Keys or values (B, K, Tk, D) -> (B, H, Tk, D): query head h reads head h // (H / K)."""
    return array_module(x).repeat(x, q.shape[1] // x.shape[1], axis=1)


def _sum_over_query_heads(dx: Array, x: Array) -> Array:
    """The gradient of `_for_each_query_head`: dx (B, H, Tk, D) -> (B, K, Tk, D), which is x's shape."""
    B, K, Tk, D = x.shape
    return dx.reshape(B, K, -1, Tk, D).sum(axis=2)


# --------------------------------------------------------------------------------------- cross-entropy


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Negative log-likelihood of each target, in nats: nll = log sum_v exp(logits_v) - logits_target.

    logits (N, V), targets (N,) int -> nll (N,), P (N, V), the softmax that the gradient needs.
    """
    xp = array_module(logits)
    P = logits - logits.max(axis=-1, keepdims=True)
    rows = xp.arange(len(targets))
    target_logit = P[rows, targets]
    xp.exp(P, out=P)
    total = P.sum(axis=-1, keepdims=True)
    nll = xp.log(total[:, 0]) - target_logit
    P /= total
    return nll, P


def cross_entropy_dlogits(P: Array, targets: Array, weights: Array) -> Array:
    """For L = sum_n weights_n nll_n:  dL/dlogits = weights * (P - onehot(target)).

    d(log sum exp)/dlogits is the softmax P, and the target's own logit has slope -1.
    P (N, V), targets (N,), weights (N,) -> (N, V).
    """
    xp = array_module(P)
    dlogits = P * weights[:, None]
    dlogits[xp.arange(len(targets)), targets] -= weights
    return dlogits


# --------------------------------------------------------------------------------------------- dropout


def dropout_mask(shape: tuple[int, ...], p: float, rng, like: Array) -> Array:
    """A mask of 0 and 1/(1-p) whose mean is 1: y = x * mask and dx = dy * mask.  Srivastava et al. 2014."""
    xp = array_module(like)
    keep = rng.random(shape, dtype="float32") >= p
    return xp.asarray(keep.astype(like.dtype) * (1 / (1 - p)), dtype=like.dtype)
