"""Exercise 23: BitFit."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf

# Inputs W, b, g, c are the parameters of these names, and dW, db, dg, dc their gradients. Two names mislead.
NAMES = {"W": "attn.q_proj.weight", "b": "attn.q_proj.bias", "g": "ln_1.weight", "c": "debias.weight"}


def bitfit_step(parameters, gradients, lr):
    result = {}
    for name, w in parameters.items():
        if name.split(".")[-1] == "bias":
            w = w - lr * gradients[name]
        result[name] = w
    return result


def arguments(case: Case):
    return {
        "parameters": {name: case[key] for key, name in NAMES.items()},
        "gradients": {name: case["d" + key] for key, name in NAMES.items()},
        "lr": case["lr"],
    }


EXERCISE = Exercise(
    title="BitFit",
    lesson=11,
    minutes=5,
    functions={"bitfit_step": bitfit_step},
    inputs={
        **{prefix + key: Floats("d k" if key == "W" else "d") for prefix in ("", "d") for key in NAMES},
        "lr": OneOf((1.0, 0.1)),
    },
    arguments=arguments,
    magnitude=lambda parameters, gradients, lr: {
        name: np.abs(w) + lr * np.abs(gradients[name]) for name, w in parameters.items()
    },
    outputs=("the result = w - lr gradient for biases, w for the rest",),
    hints=(
        "It is exercise 16 with another rule for what trains: here the name decides.",
        'The last part of the name must be exactly "bias": name.split(".")[-1]. Other names may contain the word.',
        '{n: w - lr * gradients[n] if n.split(".")[-1] == "bias" else w for n, w in parameters.items()}',
    ),
    slips={
        "any name that contains bias trains: look at its last part": 'name.split(".")[-1] == "bias" -> "bias" in name',
        "every vector trains: LayerNorm's weight is not a bias": 'name.split(".")[-1] == "bias" -> w.ndim == 1',
        "everything trains": 'if name.split(".")[-1] == "bias" -> if True',
        "the weights train and the biases do not": '[-1] == "bias" -> [-1] != "bias"',
        "the step goes up the gradient: subtract it": "w - lr -> w + lr",
        "the learning rate is left out": "lr * -> ",
        "frozen parameters are missing from the result": "        result[name] = w ->             result[name] = w",
        "parameters are changed in place": "w = w - lr -> w -= lr",
    },
)
