"""Exercise 13: the backward of the LoRA layer."""

from minilora.exercises.spec import Exercise, Floats, OneOf


def _backward(dy, x, W0, A, B, sx, sA, sB):
    """dx, dA and dB with scalings of their own."""
    dW = dy.T @ x
    return dy @ W0 + sx * dy @ B @ A, sA * B.T @ dW, sB * dW @ A.T


def _right(dy, x, W0, A, B, alpha):
    s = alpha / len(A)
    return _backward(dy, x, W0, A, B, s, s, s)


def _no_base(dy, x, W0, A, B, alpha):
    _, dA, dB = _right(dy, x, W0, A, B, alpha)
    return alpha / len(A) * dy @ B @ A, dA, dB


def _base_alone(dy, x, W0, A, B, alpha):
    _, dA, dB = _right(dy, x, W0, A, B, alpha)
    return dy @ W0, dA, dB


def _mean(dy, x, W0, A, B, alpha):
    dx, dA, dB = _right(dy, x, W0, A, B, alpha)
    return dx, dA / len(x), dB / len(x)


def _transposed(dy, x, W0, A, B, alpha):
    dx, dA, dB = _right(dy, x, W0, A, B, alpha)
    return dx, dA.T, dB.T


def _in_place(dy, x, W0, A, B, alpha):
    dy *= alpha / len(A)
    return dy @ W0 + dy @ B @ A, B.T @ dy.T @ x, dy.T @ x @ A.T


EXERCISE = Exercise(
    title="the LoRA layer, backward",
    lesson=5,
    minutes=20,
    functions={"lora_backward": _right},
    inputs={
        "dy": Floats("n d"),
        "x": Floats("n k"),
        "W0": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "alpha": OneOf((2.0, 1.0, 8.0, 16.0)),
    },
    outputs=("dx = dy W0 + s dy B A", "dA = s B^T dy^T x", "dB = s dy^T x A^T"),
    hints=(
        "Name the middle: z = x A^T (n, r), y = x W0^T + s z B^T. Exercise 1 gives the gradients of each product.",
        "dz = s dy B. Then dA comes from z = x A^T and dB from s z B^T; x feeds two paths, so dx has two terms.",
        "dz = s * dy @ B; dx = dy @ W0 + dz @ A; dA = dz.T @ x; dB = s * dy.T @ (x @ A.T)",
    ),
    wrong={
        "the scaling is missing everywhere: s = alpha / r": lambda dy, x, W0, A, B, alpha: _backward(
            dy, x, W0, A, B, 1, 1, 1
        ),
        "the scaling is missing in dA": lambda dy, x, W0, A, B, alpha: _backward(
            dy, x, W0, A, B, alpha / len(A), 1, alpha / len(A)
        ),
        "dB is the right one times alpha / r: the scaling is applied twice": lambda dy, x, W0, A, B, alpha: _backward(
            dy, x, W0, A, B, alpha / len(A), alpha / len(A), (alpha / len(A)) ** 2
        ),
        "scaled by alpha, not alpha / r": lambda dy, x, W0, A, B, alpha: _backward(
            dy, x, W0, A, B, alpha, alpha, alpha
        ),
        "dx lacks the path through the frozen W0": _no_base,
        "dx lacks the path through A and B": _base_alone,
        "dA and dB are means over the rows: they must be sums": _mean,
        "dA and dB are transposed": _transposed,
        "dy is changed in place": _in_place,
    },
)
