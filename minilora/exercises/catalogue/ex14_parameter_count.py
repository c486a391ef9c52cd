"""Exercise 14: how many numbers LoRA trains."""

from minilora.exercises.spec import Exercise, OneOf


def _right(shapes, r):
    return sum(r * (d + k) for d, k in shapes)


EXERCISE = Exercise(
    title="how many numbers LoRA trains",
    lesson=5,
    minutes=5,
    functions={"lora_parameters": _right},
    inputs={
        "shapes": OneOf(([(2, 3)], [(2, 2), (2, 2)], [(64, 64), (256, 64), (64, 256)], [(12288, 12288)] * 192)),
        "r": OneOf((1, 2, 4, 8)),
    },
    outputs=("the result = r k numbers in A and d r in B, for every weight",),
    hints=(
        "Write down the shapes of A and of B. How many numbers does each hold?",
        "A (r, k) holds r k, B (d, r) holds d r. Add them, then add over the weights.",
        "return sum(r * (d + k) for d, k in shapes)",
    ),
    wrong={
        "only one of the two factors is counted: both A and B train": lambda shapes, r: sum(r * d for d, k in shapes),
        "only A is counted: B trains too": lambda shapes, r: sum(r * k for d, k in shapes),
        "right only for square weights: 2 r d": lambda shapes, r: sum(2 * r * d for d, k in shapes),
        "this is the size of the full weights: they are frozen": lambda shapes, r: sum(d * k for d, k in shapes),
        "r d k counts neither factor: A is r k, B is d r": lambda shapes, r: sum(r * d * k for d, k in shapes),
        "only the first weight is counted": lambda shapes, r: r * (shapes[0][0] + shapes[0][1]),
        "an r by r matrix is counted between the factors": lambda shapes, r: sum(
            r * (d + k) + r * r for d, k in shapes
        ),
        "right only for r = 1: the rank is left out": lambda shapes, r: sum(d + k for d, k in shapes),
    },
)
