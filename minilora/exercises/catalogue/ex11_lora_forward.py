"""Exercise 11: the LoRA layer."""

from minilora.exercises.spec import Exercise, Floats, OneOf


def _right(x, W0, A, B, alpha):
    return x @ W0.T + (alpha / A.shape[0]) * (x @ A.T) @ B.T


def _in_place(x, W0, A, B, alpha):
    W0 += (alpha / A.shape[0]) * B @ A
    return x @ W0.T


EXERCISE = Exercise(
    title="the LoRA layer, forward",
    lesson=5,
    minutes=10,
    functions={"lora_forward": _right},
    inputs={
        "x": Floats("n k"),
        "W0": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "alpha": OneOf((2.0, 1.0, 8.0, 16.0)),
    },
    outputs=("h = x W0^T + (alpha / r) x A^T B^T",),
    hints=(
        "Rows are vectors, so W0 x becomes x @ W0.T. B A x goes through A first: what is its shape there?",
        "x @ A.T is (n, r); times B.T it is (n, d). The rank r is A.shape[0].",
        "return x @ W0.T + (alpha / A.shape[0]) * (x @ A.T) @ B.T",
    ),
    wrong={
        "the scaling alpha / r is missing": lambda x, W0, A, B, alpha: x @ W0.T + x @ A.T @ B.T,
        "the scaling alpha / r is applied twice": lambda x, W0, A, B, alpha: (
            x @ W0.T + (alpha / len(A)) ** 2 * x @ A.T @ B.T
        ),
        "scaled by alpha, not alpha / r": lambda x, W0, A, B, alpha: x @ W0.T + alpha * x @ A.T @ B.T,
        "scaled by alpha / d: the rank is A.shape[0], not B.shape[0]": lambda x, W0, A, B, alpha: (
            x @ W0.T + alpha / len(B) * x @ A.T @ B.T
        ),
        "the base's part x W0^T is scaled too": lambda x, W0, A, B, alpha: alpha / len(A) * (x @ W0.T + x @ A.T @ B.T),
        "the base's part x W0^T is missing": lambda x, W0, A, B, alpha: alpha / len(A) * x @ A.T @ B.T,
        "W0 is not transposed, which fits only if it is square": lambda x, W0, A, B, alpha: (
            x @ W0 + alpha / len(A) * x @ A.T @ B.T
        ),
        "right only for r = 1: the rank-one products are not summed": lambda x, W0, A, B, alpha: (
            x @ W0.T + alpha / len(A) * x @ A[:1].T @ B[:, :1].T
        ),
        "W0 is changed in place: it is frozen": _in_place,
    },
)
