"""Exercise 27: the size of a LoRA checkpoint."""

from minilora.exercises.spec import Exercise, OneOf


def _right(n_layer, matrices, d_model, r, bytes_per_number):
    return 2 * n_layer * matrices * d_model * r * bytes_per_number


EXERCISE = Exercise(
    title="the checkpoint of GPT-3",
    lesson=13,
    minutes=5,
    functions={"lora_checkpoint_bytes": _right},
    inputs={
        "n_layer": OneOf((1, 12, 96)),
        "matrices": OneOf((1, 2, 4)),
        "d_model": OneOf((3, 768, 12288)),
        "r": OneOf((1, 3, 4, 8)),
        "bytes_per_number": OneOf((2, 4)),
    },
    outputs=("the result = bytes of all the A and B",),
    hints=(
        "Start with one adapted matrix: A is (r, d_model), B is (d_model, r). How many numbers are in both?",
        "2 d_model r numbers a matrix, n_layer * matrices of them. (In 2 x L x d_model x r, L is not the layers.)",
        "return 2 * n_layer * matrices * d_model * r * bytes_per_number",
    ),
    wrong={
        "A and B both count: one of them is missing": lambda L, m, d, r, b: L * m * d * r * b,
        "2 x layers x d_model x r leaves out how many matrices a layer has": lambda L, m, d, r, b: 2 * L * d * r * b,
        "numbers, not bytes: multiply by bytes_per_number": lambda L, m, d, r, b: 2 * L * m * d * r,
        "bits, not bytes": lambda L, m, d, r, b: 2 * L * m * d * r * b * 8,
        "this is the size of the full matrices: A and B are thin": lambda L, m, d, r, b: L * m * d * d * b,
        "the rank is left out: right only for r = 1": lambda L, m, d, r, b: 2 * L * m * d * b,
        "the number of layers is left out": lambda L, m, d, r, b: 2 * m * d * r * b,
        "Adam's moments are counted: a checkpoint for use holds A and B alone": lambda L, m, d, r, b: (
            6 * L * m * d * r * b
        ),
    },
)
