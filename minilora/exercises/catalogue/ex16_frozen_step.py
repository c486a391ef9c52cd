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
    return {name: np.abs(w) + lr * np.abs(gradients.get(name, 0.0)) for name, w in parameters.items()}


def arguments(case: Case):
    return {
        "parameters": {"weight": case["W"], "lora_A": case["A"], "lora_B": case["B"]},
        "gradients": {name: case[f"d_{name}"] for name in case["given"]},
        "trainable": ["lora_A", "lora_B"],
        "lr": case["lr"],
    }


EXERCISE = Exercise(
    title="a step that leaves frozen weights alone",
    lesson=5,
    minutes=10,
    functions={"train_step": train_step},
    inputs={
        "W": Floats("d k"),
        "A": Floats("r k"),
        "B": Floats("d r"),
        "d_weight": Floats("d k"),
        "d_lora_A": Floats("r k"),
        "d_lora_B": Floats("d r"),
        "given": OneOf((("weight", "lora_A", "lora_B"), ("lora_A", "lora_B"), ("weight", "lora_A"))),
        "lr": OneOf((1.0, 0.1)),
    },
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
