"""Exercise 16: a training step that leaves the frozen parameters alone."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def train_step(parameters, gradients, trainable, lr):
    result = {}
    for name, w in parameters.items():
        if name in trainable and name in gradients:
            w = w - lr * gradients[name]
        result[name] = w
    return result


def magnitude(parameters, gradients, trainable, lr):
    moved = {name: np.abs(lr * gradients[name]) + np.abs(parameters[name]) for name in gradients if name in trainable}
    return {name: moved.get(name, 0.0 * np.abs(w)) for name, w in parameters.items()}


# Name -> the input that it is part of: matrices, vectors, numbers, an array of three axes. Names contain each other.
NAMES = {"weight": "W", "lora_A": "W", "x.lora_A": "W", "lora_AB": "b", "lora": "b", "lora_A.scale": "s", "kernel": "K"}


def arguments(case: Case):
    parameters, gradients = (
        {name: np.asarray(case[prefix + kind][..., i]) for i, (name, kind) in enumerate(NAMES.items())}
        for prefix in ("", "d")
    )
    given = {name: gradients[name] for name in case["given"]}
    return {"parameters": parameters, "gradients": given, "trainable": list(case["trainable"]), "lr": case["lr"]}


EXERCISE = Exercise(
    title="a step that leaves frozen weights alone",
    lesson=5,
    minutes=10,
    functions={"train_step": train_step},
    inputs={
        **{prefix + "W": Floats("d k p") for prefix in ("", "d")},
        **{prefix + "b": Floats("d p") for prefix in ("", "d")},
        **{prefix + "s": Floats("p") for prefix in ("", "d")},
        **{prefix + "K": Floats("d k n p") for prefix in ("", "d")},
        "trainable": OneOf((("lora_A", "lora_AB"), (), ("weight",), ("lora", "lora_A.scale"), ("x.lora_A", "kernel"))),
        "given": OneOf((tuple(NAMES), ("lora_A", "weight", "kernel"), tuple(NAMES)[::-1], ())),
        "lr": OneOf((1.0, 0.1, 0.0, -0.3, 2.5)),
    },
    sizes={"p": (len(NAMES), len(NAMES)), "n": (1, 2)},
    longest=12,
    cases=30,
    arguments=arguments,
    magnitude=magnitude,
    outputs=("the result = w - lr gradient for what trains and has a gradient, w for the rest",),
    hints=(
        "Build a new dictionary over parameters.items(). When does w move? Two things must be true.",
        "w moves if its name is in trainable and in gradients. Write w - lr * g, a new array, not w -= lr * g.",
        "return {n: w - lr * gradients[n] if n in trainable and n in gradients else w for n, w in parameters.items()}",
    ),
    slips={
        "a frozen weight is updated because it has a gradient": "name in trainable and -> ",
        "a trainable parameter without a gradient is a KeyError: it stays": " and name in gradients -> ",
        "the step goes up the gradient: subtract it": "w - lr -> w + lr",
        "frozen parameters are missing from the result": "result[name] = w -> if name in trainable: result[name] = w",
        "frozen weights decay": "result[name] = w -> result[name] = w if name in trainable else (1 - lr * 0.01) * w",
        "the learning rate is left out": "lr * -> ",
        "parameters are changed in place": "w = w - lr -> w -= lr",
    },
)
