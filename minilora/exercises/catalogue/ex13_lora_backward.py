"""Exercise 13: the backward of the LoRA layer."""

from minilora.exercises.spec import Exercise, Floats, OneOf


def lora_backward(dy, x, W0, A, B, alpha):
    s = alpha / A.shape[0]
    dx = dy @ W0 + s * dy @ B @ A
    dA = s * B.T @ dy.T @ x
    dB = s * dy.T @ x @ A.T
    return dx, dA, dB


EXERCISE = Exercise(
    title="the LoRA layer, backward",
    lesson=5,
    minutes=20,
    functions={"lora_backward": lora_backward},
    inputs={
        "dy": Floats("n d"),
        "x": Floats("n k"),
        "W0": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "alpha": OneOf((2.0, 1.0, 8, 0.5, 0.0, -3.0, 1 / 3)),
    },
    outputs=("dx = dy W0 + s dy B A", "dA = s B^T dy^T x", "dB = s dy^T x A^T"),
    hints=(
        "Name the middle: z = x A^T (n, r), y = x W0^T + s z B^T. Exercise 1 gives the gradients of each product.",
        "dz = s dy B. Then dA comes from z = x A^T and dB from s z B^T; x feeds two paths, so dx has two terms.",
        "dz = s * dy @ B; dx = dy @ W0 + dz @ A; dA = dz.T @ x; dB = s * dy.T @ (x @ A.T)",
    ),
    slips={
        "the scaling is missing everywhere: s = alpha / r": "s = alpha / A.shape[0] -> s = 1",
        "the scaling is missing in dA": "dA = s * -> dA = ",
        "dB is the right one times alpha / r: the scaling is applied twice": "dB = s -> dB = s * s",
        "scaled by alpha, not alpha / r": "alpha / A.shape[0] -> alpha",
        "dx lacks the path through the frozen W0": "dy @ W0 + -> ",
        "dx lacks the path through A and B": " + s * dy @ B @ A -> ",
        "dA and dB are means over the rows: they must be sums": "dx, dA, dB\n -> dx, dA / len(x), dB / len(x)\n",
        "dA and dB are transposed": "return dx, dA, dB -> return dx, dA.T, dB.T",
        "dy is changed in place": (
            "dx = dy @ W0 + s * dy @ B @ A -> dy *= s; dx = dy @ W0 + dy @ B @ A",
            "= s * -> = ",
        ),
    },
)
