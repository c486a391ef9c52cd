"""Exercise 7: the backward of causal attention."""

import math

import numpy as np

from minilora.exercises.spec import Exercise, Floats


def attention_backward(dy, q, k, v):
    T, D = q.shape
    scale = 1 / math.sqrt(D)
    S = q @ k.T * scale
    S = np.where(np.tril(np.ones((T, T), bool)), S, -np.inf)
    P = np.exp(S - S.max(axis=-1, keepdims=True))
    P = P / P.sum(axis=-1, keepdims=True)
    dP = dy @ v.T
    dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True))
    return dS @ k * scale, dS.T @ q * scale, P.T @ dy


def magnitude(dy, q, k, v):
    """S carries an error of u sum |q||k|, exp makes it a relative one of P, and dS is a sum of T D products."""
    T, D = q.shape
    size = [max(1.0, float(np.abs(a).max())) for a in (dy, q, k, v)]
    return T * D * math.prod(size) * (1 + D * size[1] * size[2])


EXERCISE = Exercise(
    title="causal attention, backward",
    lesson=2,
    minutes=30,
    functions={"attention_backward": attention_backward},
    inputs={
        **{"dy": Floats("T D"), "q": Floats("T D", decades=(-4,)), "k": Floats("T D", decades=(-4,))},
        "v": Floats("T D"),
    },
    magnitude=magnitude,
    outputs=("dq = dS k / sqrt(D)", "dk = dS^T q / sqrt(D)", "dv = P^T dy"),
    hints=(
        "Compute S and P forward first. y = P v is a product: dv = P^T dy and dP = dy v^T.",
        "Through the softmax, row by row: dS = P * (dP - sum_j P_j dP_j). Masked places have P = 0, so dS = 0.",
        "dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True)); dq = dS @ k / sqrt(D); dk = dS.T @ q / sqrt(D)",
    ),
    slips={
        "1 / sqrt(D) is missing in dq and dk": "dS @ k * scale, dS.T @ q * scale -> dS @ k, dS.T @ q",
        "the scores are divided by D: it is sqrt(D)": "math.sqrt(D) -> D",
        "the scores are not scaled": "1 / math.sqrt(D) -> 1",
        "the causal mask is missing": "np.where(np.tril(np.ones((T, T), bool)), S, -np.inf) -> S",
        "dS lacks the subtracted sum of P dP: the softmax's entries depend on each other": "dP - (P * dP)"
        ".sum(axis=-1, keepdims=True) -> dP",
        "dk uses dS, it must be dS^T: sum over queries": "dS.T @ q -> dS @ q",
        "dv uses P, it must be P^T: sum over queries": "P.T @ dy -> P @ dy",
        "dq and dk are swapped": "dS @ k * scale, dS.T @ q * scale -> dS.T @ q * scale, dS @ k * scale",
    },
)
