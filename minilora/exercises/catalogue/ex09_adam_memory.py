"""Exercise 9: what training keeps in memory."""

from minilora.exercises.spec import Exercise, OneOf


def training_bytes(parameters, trainable, bytes_per_number):
    counts = {"weights": parameters, "gradients": trainable, "adam": 2 * trainable}
    return {name: count * bytes_per_number for name, count in counts.items()}


EXERCISE = Exercise(
    title="the memory of Adam",
    lesson=4,
    minutes=5,
    functions={"training_bytes": training_bytes},
    inputs={
        "parameters": OneOf((10, 1001, 175_255_879_681, 2**53 + 1)),
        "trainable": OneOf((1, 0, 10, 4, 175_255_879_679)),
        "bytes_per_number": OneOf((4, 2, 8)),
    },
    arguments=lambda case: {**case.values, "trainable": min(case["trainable"], case["parameters"])},
    outputs=("the result = bytes of weights, of gradients, and of Adam's m and v",),
    hints=(
        "Count numbers first: how many weights, how many gradients, how many moments? Then multiply by the bytes.",
        "Adam keeps two numbers, m and v, for each number that trains, and none for a frozen one.",
        '{"weights": parameters * b, "gradients": trainable * b, "adam": 2 * trainable * b}',
    ),
    slips={
        "Adam keeps two moments, m and v: one is counted": "2 * trainable -> trainable",
        "moments are counted for frozen numbers too": "2 * trainable -> 2 * parameters",
        "gradients are counted for frozen numbers too": '"gradients": trainable -> "gradients": parameters',
        "only the trainable weights are counted: the frozen ones are in memory too": (
            '"weights": parameters -> "weights": trainable'
        ),
        "only the frozen weights are counted": '"weights": parameters -> "weights": parameters - trainable',
        "numbers, not bytes: multiply by bytes_per_number": "count * bytes_per_number -> count",
        "always 4 bytes per number: use bytes_per_number": "count * bytes_per_number -> count * 4",
    },
)
