"""Exercise 11: the LoRA layer."""

from minilora.exercises.spec import Exercise, Floats, OneOf


def lora_forward(x, W0, A, B, alpha):
    base = x @ W0.T
    s = alpha / A.shape[0]
    return base + s * (x @ A.T @ B.T)


EXERCISE = Exercise(
    title="the LoRA layer, forward",
    lesson=5,
    minutes=10,
    functions={"lora_forward": lora_forward},
    inputs={
        "x": Floats("n k"),
        "W0": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "alpha": OneOf((2.0, 1.0, 8, 0.5, 0.0, -3.0, 1 / 3)),
    },
    outputs=("h = x W0^T + (alpha / r) x A^T B^T",),
    hints=(
        "Vectors are rows here, so W0 x becomes x @ W0.T. B A x goes through A first: what is its shape there?",
        "x @ A.T is (n, r); times B.T it is (n, d). The rank r is A.shape[0].",
        "return x @ W0.T + (alpha / A.shape[0]) * (x @ A.T) @ B.T",
    ),
    slips={
        "the scaling alpha / r is missing": "s * (x -> (x",
        "the scaling alpha / r is applied twice": "s * (x -> s * s * (x",
        "scaled by alpha, not alpha / r": "alpha / A.shape[0] -> alpha",
        "scaled by alpha / d: the rank is A.shape[0], not B.shape[0]": "alpha / A.shape[0] -> alpha / B.shape[0]",
        "the base's part x W0^T is scaled too": "base + -> s * base +",
        "the base's part x W0^T is missing": "base + -> ",
        "W0 is not transposed, which fits only if it is square": "W0.T -> W0",
        "right only for r = 1: the rank-one products are not summed": "A.T @ B.T -> A[:1].T @ B[:, :1].T",
        "W0 is changed in place: it is frozen": "return -> W0 += s * (B @ A); return x @ W0.T #",
    },
)
