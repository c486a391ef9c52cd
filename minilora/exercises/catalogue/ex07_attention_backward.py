"""Exercise 7: the backward of causal attention."""

import math

import numpy as np

from minilora.exercises.spec import Exercise, Floats


def _backward(dy, q, k, v, scale=None, mask=True, jacobian=True):
    """dq, dk, dv and what they are made of."""
    T, D = q.shape
    scale = 1 / math.sqrt(D) if scale is None else scale
    S = q @ k.T * scale
    if mask:
        S = np.where(np.tril(np.ones((T, T), bool)), S, -np.inf)
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P = P / P.sum(axis=-1, keepdims=True)
    dP = dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True)) if jacobian else P * dP
    return dS @ k * scale, dS.T @ q * scale, P.T @ dy, dS, P


def _right(dy, q, k, v):
    return _backward(dy, q, k, v)[:3]


def _magnitude(dy, q, k, v):
    """S carries an error of u sum |q||k|, exp makes it a relative one of P, and dS is a sum of T D products."""
    T, D = q.shape
    size = [max(1.0, float(np.abs(a).max())) for a in (dy, q, k, v)]
    return T * D * math.prod(size) * (1 + D * size[1] * size[2])


def _unscaled(dy, q, k, v):
    dq, dk, dv, _, _ = _backward(dy, q, k, v)
    root = math.sqrt(q.shape[1])
    return dq * root, dk * root, dv


def _dk_not_transposed(dy, q, k, v):
    dq, _, dv, dS, _ = _backward(dy, q, k, v)
    return dq, dS @ q / math.sqrt(q.shape[1]), dv


def _dv_not_transposed(dy, q, k, v):
    dq, dk, _, _, P = _backward(dy, q, k, v)
    return dq, dk, P @ dy


def _swapped(dy, q, k, v):
    dq, dk, dv = _right(dy, q, k, v)
    return dk, dq, dv


EXERCISE = Exercise(
    title="causal attention, backward",
    lesson=2,
    minutes=30,
    functions={"attention_backward": _right},
    inputs={name: Floats("T D") for name in ("dy", "q", "k", "v")},
    magnitude=_magnitude,
    outputs=("dq = dS k / sqrt(D)", "dk = dS^T q / sqrt(D)", "dv = P^T dy"),
    hints=(
        "Compute S and P forward first. y = P v is a product: dv = P^T dy and dP = dy v^T.",
        "Through the softmax, row by row: dS = P * (dP - sum_j P_j dP_j). Masked places have P = 0, so dS = 0.",
        "dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True)); dq = dS @ k / sqrt(D); dk = dS.T @ q / sqrt(D)",
    ),
    wrong={
        "1 / sqrt(D) is missing in dq and dk": _unscaled,
        "the scores are divided by D: it is sqrt(D)": lambda dy, q, k, v: _backward(dy, q, k, v, scale=1 / q.shape[1])[
            :3
        ],
        "the scores are not scaled": lambda dy, q, k, v: _backward(dy, q, k, v, scale=1.0)[:3],
        "the causal mask is missing": lambda dy, q, k, v: _backward(dy, q, k, v, mask=False)[:3],
        "dS lacks the subtracted sum of P dP: the softmax's entries depend on each other": lambda dy, q, k, v: (
            _backward(dy, q, k, v, jacobian=False)[:3]
        ),
        "dk uses dS, it must be dS^T: sum over queries": _dk_not_transposed,
        "dv uses P, it must be P^T: sum over queries": _dv_not_transposed,
        "dq and dk are swapped": _swapped,
    },
)
