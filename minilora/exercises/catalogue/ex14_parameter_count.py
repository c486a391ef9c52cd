"""Exercise 14: how many numbers LoRA trains."""

from minilora.exercises.spec import Exercise, OneOf


def lora_parameters(shapes, r):
    return sum(r * k + d * r for d, k in shapes)


EXERCISE = Exercise(
    title="how many numbers LoRA trains",
    lesson=5,
    minutes=5,
    functions={"lora_parameters": lora_parameters},
    inputs={
        "shapes": OneOf(
            ([(2, 3)], [(5, 1)], [], [(2, 2), (2, 2)], [(7, 4), (1, 9), (4, 7)], [(12289, 49157), (12301, 12289)] * 95)
        ),
        "r": OneOf((1, 2, 7, 1023)),
    },
    outputs=("the result = r k numbers in A and d r in B, for every weight",),
    hints=(
        "Write down the shapes of A and of B. How many numbers does each hold?",
        "A (r, k) holds r k, B (d, r) holds d r. Add them, then add over the weights.",
        "return sum(r * (d + k) for d, k in shapes)",
    ),
    slips={
        "only B is counted: A trains too": "r * k + d * r -> d * r",
        "only A is counted: B trains too": "r * k + d * r -> r * k",
        "right only for square weights: 2 r d": "r * k + d * r -> 2 * r * d",
        "this is the size of the full weights: they are frozen": "r * k + d * r -> d * k",
        "r d k counts neither factor: A is r k, B is d r": "r * k + d * r -> r * d * k",
        "only the first weight is counted": "in shapes -> in shapes[:1]",
        "an r by r matrix is counted between the factors": "r * k + d * r -> r * k + d * r + r * r",
        "right only for r = 1: the rank is left out": "r * k + d * r -> k + d",
    },
)
