"""Exercise 33: DoRA, forward and backward.

A row of W0 + s B A whose terms cancel has no digits left in its direction: the judge skips such cases.
"""

import numpy as np

from minilora.exercises.findings import compare, sizes_of, wide
from minilora.exercises.spec import Exercise, Floats, OneOf

LOST = 1e-2


def dora_forward(x, W0, A, B, m, alpha):
    s = alpha / A.shape[0]
    V = W0 + s * (B @ A)
    length = np.sqrt((V**2).sum(axis=1))
    return x @ (m / length * V.T)


def dora_backward(dy, x, W0, A, B, m, alpha):
    scale = alpha / A.shape[0]
    V = W0 + scale * (B @ A)
    norm = np.sqrt((V**2).sum(axis=1))
    dx = dy @ ((m / norm)[:, None] * V)
    dW = dy.T @ x
    dm = (dW * V).sum(axis=1) / norm
    dV = (m / norm)[:, None] * dW
    dA = scale * B.T @ dV
    dB = scale * dV @ A.T
    return dx, dA, dB, dm


def judge(case, call):
    """An error of V, relative to its terms' size, reaches the length, and both reach the weight m V / |V|."""
    *arrays, alpha = wide([case.values[name] for name in EXERCISE.inputs])
    W0, A, B = arrays[2:5]
    length = np.linalg.norm(W0 + alpha / len(A) * B @ A, axis=1)
    dy, x, W0, A, B, m, s = sizes_of([*arrays, alpha / len(A)])
    terms = W0 + s * B @ A
    if (length <= LOST * np.linalg.norm(terms, axis=1)).any():
        return
    lost = 1 + np.linalg.norm(terms, axis=1, keepdims=True) / length[:, None]
    size, dW = (m / length)[:, None] * terms * lost, dy.T @ x
    dV = (m / length)[:, None] * dW * lost
    sizes = {
        "dora_forward": x @ size.T,
        "dora_backward": (dy @ size, s * B.T @ dV, s * dV @ A.T, (dW * terms * lost).sum(axis=1) / length),
    }
    named = EXERCISE.named_arguments(case)
    for function, right in EXERCISE.functions.items():
        arguments = {name: named[name] for name in named if name != "dy" or function == "dora_backward"}
        expected, got = right(**wide(arguments)), call(function, **arguments)
        yield from compare(EXERCISE.outputs[function], expected, got, case.rounding(sizes[function]))


EXERCISE = Exercise(
    title="DoRA, forward and backward",
    lesson=11,
    minutes=30,
    functions={"dora_forward": dora_forward, "dora_backward": dora_backward},
    inputs={
        "dy": Floats("n d"),
        "x": Floats("n k"),
        "W0": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "m": Floats("d"),
        "alpha": OneOf((2.0, 1.0, 8, 0.5, 0.0, -3.0, 1 / 3)),
    },
    judge=judge,
    outputs={
        "dora_forward": ("y = x W^T, row i of W = m_i V_i / |V_i|, V = W0 + (alpha / r) B A",),
        "dora_backward": (
            "dx = dy W",
            "dA = s B^T dV, dV = (m / |V|) dW",
            "dB = s dV A^T",
            "dm = dW . V / |V|, row by row",
        ),
    },
    hints=(
        "Build V = W0 + s B A first, then the length of each of its rows, (d,). Row i of W is m_i times a direction.",
        "dW = dy^T x is the gradient of W itself. W_i = (m_i / |V_i|) V_i with |V_i| a constant, so dV_i = "
        "(m_i / |V_i|) dW_i; from V, dA and dB as in exercise 13. And dm_i = dW_i . V_i / |V_i|.",
        "n = np.linalg.norm(V, axis=1); dV = (m / n)[:, None] * (dy.T @ x); dA = s * B.T @ dV; dB = s * dV @ A.T; "
        "dm = (dy.T @ x * V).sum(axis=1) / n; dx = dy @ ((m / n)[:, None] * V)",
    ),
    slips={
        "the lengths are of V's columns: each output has its row": (
            "length = np.sqrt((V**2).sum(axis=1)) -> length = np.sqrt((V**2).sum(axis=0))[:, None]",
            "return x @ (m / length * V.T) -> return x @ (V.T / length * m)",
        ),
        "the length is of W0, not of W0 + s B A": "length = np.sqrt((V**2) -> length = np.sqrt((W0**2)",
        "V is divided by its squared length": "length = np.sqrt((V**2).sum(axis=1)) -> length = (V**2).sum(axis=1)",
        "one length for the whole matrix: each row has its own": "length = np.sqrt((V**2).sum(axis=1)) -> "
        "length = np.linalg.norm(V)",
        "V is not divided by its length": "return x @ (m / length * V.T) -> return x @ (m * V.T)",
        "m is left out": "return x @ (m / length * V.T) -> return x @ (V.T / length)",
        "only the update is normalised: W0 + m s B A / |s B A|": (
            "length = np.sqrt((V**2).sum(axis=1)) -> U = s * (B @ A); length = np.sqrt((U**2).sum(axis=1)) + 1e-30",
            "return x @ (m / length * V.T) -> return x @ (W0.T + m / length * U.T)",
        ),
        "the forward's scaling alpha / r is missing": "s = alpha / A.shape[0] -> s = 1",
        "the forward is scaled by alpha, not alpha / r": "s = alpha / A.shape[0] -> s = alpha",
        "the length's own gradient is in dA and dB: here it is held constant": "dV = (m / norm)[:, None] * dW -> "
        "dV = (m / norm)[:, None] * (dW - (dW * V).sum(axis=1, keepdims=True) * V / norm[:, None] ** 2)",
        "dA and dB lack m / |V|": "dV = (m / norm)[:, None] * dW -> dV = dW",
        "dA and dB lack 1 / |V|": "dV = (m / norm)[:, None] * dW -> dV = m[:, None] * dW",
        "dA and dB lack m": "dV = (m / norm)[:, None] * dW -> dV = dW / norm[:, None]",
        "dA and dB lack the scaling alpha / r": ("dA = scale * -> dA = ", "dB = scale * -> dB = "),
        "dx is LoRA's: dy V, without m / |V|": "dx = dy @ ((m / norm)[:, None] * V) -> dx = dy @ V",
        "dx has only the base's path": "dx = dy @ ((m / norm)[:, None] * V) -> dx = dy @ ((m / norm)[:, None] * W0)",
        "dm lacks 1 / |V|: m multiplies a direction, of length 1": "(dW * V).sum(axis=1) / norm -> "
        "(dW * V).sum(axis=1)",
        "dm uses W0, not V": "(dW * V) -> (dW * W0)",
        "dm has a factor m": "(dW * V).sum(axis=1) / norm -> m * (dW * V).sum(axis=1) / norm",
    },
)
