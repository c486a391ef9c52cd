"""Exercise 16: a training step that leaves the frozen parameters alone."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def _right(parameters, gradients, trainable, lr):
    moving = set(trainable) & set(gradients)
    return {name: w - lr * gradients[name] if name in moving else w for name, w in parameters.items()}


def _arguments(case: Case):
    return {
        "parameters": {"weight": case["W"], "lora_A": case["A"], "lora_B": case["B"]},
        "gradients": {name: case[f"d_{name}"] for name in case["given"]},
        "trainable": ["lora_A", "lora_B"],
        "lr": case["lr"],
    }


def _magnitude(parameters, gradients, trainable, lr):
    return {name: np.abs(w) + lr * np.abs(gradients.get(name, 0.0)) for name, w in parameters.items()}


def _everything_moves(parameters, gradients, trainable, lr):
    return {name: w - lr * gradients.get(name, 0.0) for name, w in parameters.items()}


def _needs_all_gradients(parameters, gradients, trainable, lr):
    return {name: w - lr * gradients[name] if name in trainable else w for name, w in parameters.items()}


def _frozen_dropped(parameters, gradients, trainable, lr):
    return {name: w for name, w in _right(parameters, gradients, trainable, lr).items() if name in trainable}


def _frozen_decays(parameters, gradients, trainable, lr):
    moved = _right(parameters, gradients, trainable, lr)
    return {name: w if name in trainable else (1 - lr * 0.01) * w for name, w in moved.items()}


def _in_place(parameters, gradients, trainable, lr):
    for name in set(trainable) & set(gradients):
        parameters[name] -= lr * gradients[name]
    return parameters


EXERCISE = Exercise(
    title="a step that leaves frozen weights alone",
    lesson=5,
    minutes=10,
    functions={"train_step": _right},
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
    arguments=_arguments,
    magnitude=_magnitude,
    outputs=("the result = w - lr gradient for what trains and has a gradient, w for the rest",),
    hints=(
        "Build a new dictionary over parameters.items(). When does w move? Two things must be true.",
        "w moves if its name is in trainable and in gradients. Write w - lr * g, a new array, not w -= lr * g.",
        "return {n: w - lr * gradients[n] if n in trainable and n in gradients else w for n, w in parameters.items()}",
    ),
    wrong={
        "a frozen weight is updated because it has a gradient": _everything_moves,
        "a trainable parameter without a gradient is a KeyError: it stays": _needs_all_gradients,
        "the step goes up the gradient: subtract it": lambda p, g, t, lr: _right(p, g, t, -lr),
        "frozen parameters are missing from the result": _frozen_dropped,
        "frozen weights decay": _frozen_decays,
        "the learning rate is left out": lambda p, g, t, lr: _right(p, g, t, 1.0),
        "parameters are changed in place": _in_place,
    },
)
