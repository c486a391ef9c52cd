"""Exercise 18: merging."""

from minilora.exercises.spec import Exercise, Floats, OneOf


def merge(W0, A, B, alpha):
    s = alpha / A.shape[0]
    return W0 + s * (B @ A)


EXERCISE = Exercise(
    title="merging",
    lesson=7,
    minutes=5,
    functions={"merge": merge},
    inputs={
        "W0": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "alpha": OneOf((2.0, 1.0, 8, 0.5, 0.0, -3.0, 1 / 3)),
    },
    outputs=("W = W0 + (alpha / r) B A",),
    hints=(
        "x W^T must equal x W0^T + s x A^T B^T for every x. Take x out to the left.",
        "s A^T B^T = (s B A)^T, so W = W0 + s B A. Check the shape: (d, r) times (r, k).",
        "return W0 + (alpha / A.shape[0]) * (B @ A)",
    ),
    slips={
        "the merge forgets the scale alpha / r": "s * (B -> (B",
        "the scale is applied twice": "s * (B -> s * s * (B",
        "scaled by alpha, not alpha / r": "alpha / A.shape[0] -> alpha",
        "the update is subtracted: that is unmerging": "W0 + s -> W0 - s",
        "the update replaces W0: it must be added": "W0 + s -> s",
        "the update is transposed, which fits only if W0 is square": "(B @ A) -> (B @ A).T",
        "right only for r = 1: an outer product of the first row and column": "(B @ A) -> (B[:, :1] @ A[:1])",
        "float16 is used on the way": "(B @ A) -> (B.astype('f2') @ A.astype('f2')).astype(W0.dtype)",
        "W0 is changed in place": "return W0 + s * (B @ A) -> W0 += s * (B @ A); return W0",
    },
)
