"""Exercise 27: the size of a LoRA checkpoint."""

from minilora.exercises.spec import Exercise, OneOf


def lora_checkpoint_bytes(n_layer, matrices, d_model, r, bytes_per_number):
    A, B = r * d_model, d_model * r
    return (A + B) * n_layer * matrices * bytes_per_number


EXERCISE = Exercise(
    title="the checkpoint of GPT-3",
    lesson=13,
    minutes=5,
    functions={"lora_checkpoint_bytes": lora_checkpoint_bytes},
    inputs={
        "n_layer": OneOf((1, 96, 97)),
        "matrices": OneOf((1, 2, 7)),
        "d_model": OneOf((3, 769, 12289)),
        "r": OneOf((1, 4, 1001)),
        "bytes_per_number": OneOf((2, 4, 1, 8)),
    },
    outputs=("the result = bytes of all the A and B",),
    hints=(
        "Start with one adapted matrix: A is (r, d_model), B is (d_model, r). How many numbers are in both?",
        "2 d_model r numbers per matrix, n_layer * matrices matrices. (In the paper's 2 x L x d_model x r, L counts "
        "matrices, not layers.)",
        "return 2 * n_layer * matrices * d_model * r * bytes_per_number",
    ),
    slips={
        "A and B both count: one of them is missing": "A + B -> A",
        "2 x layers x d_model x r leaves out how many matrices a layer has": " * matrices -> ",
        "numbers, not bytes: multiply by bytes_per_number": " * bytes_per_number\n\n -> \n\n",
        "bits, not bytes": " * bytes_per_number\n ->  * bytes_per_number * 8\n",
        "this is the size of the full matrices: A and B are thin": "(A + B) -> d_model * d_model",
        "the rank is left out: right only for r = 1": "A, B = r * d_model, d_model * r -> A, B = d_model, d_model",
        "the number of layers is left out": " * n_layer -> ",
        "Adam's moments are counted: a checkpoint for use holds only A and B": "A + B -> 3 * (A + B)",
    },
)
