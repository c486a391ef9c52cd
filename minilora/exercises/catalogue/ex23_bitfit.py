"""Exercise 23: BitFit."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf

# Inputs W, b, g, c are the parameters of these names, and dW, db, dg, dc their gradients. Two names mislead.
NAMES = {"W": "attn.q_proj.weight", "b": "attn.q_proj.bias", "g": "ln_1.weight", "c": "debias.weight"}


def _arguments(case: Case):
    return {
        "parameters": {name: case[key] for key, name in NAMES.items()},
        "gradients": {name: case["d" + key] for key, name in NAMES.items()},
        "lr": case["lr"],
    }


def _moving(moves, sign=-1, lr_used=True):
    """The step on the parameters that `moves` names."""
    return lambda parameters, gradients, lr: {
        name: w + sign * (lr if lr_used else 1.0) * gradients[name] if moves(name, w) else w
        for name, w in parameters.items()
    }


def _is_bias(name, w):
    return name.split(".")[-1] == "bias"


_right = _moving(_is_bias)


def _biases_only(parameters, gradients, lr):
    return {name: w for name, w in _right(parameters, gradients, lr).items() if _is_bias(name, w)}


def _in_place(parameters, gradients, lr):
    for name, w in parameters.items():
        if _is_bias(name, w):
            w -= lr * gradients[name]
    return parameters


EXERCISE = Exercise(
    title="BitFit",
    lesson=11,
    minutes=5,
    functions={"bitfit_step": _right},
    inputs={
        **{prefix + key: Floats("d k" if key == "W" else "d") for prefix in ("", "d") for key in NAMES},
        "lr": OneOf((1.0, 0.1)),
    },
    arguments=_arguments,
    magnitude=lambda parameters, gradients, lr: {
        name: np.abs(w) + lr * np.abs(gradients[name]) for name, w in parameters.items()
    },
    outputs=("the result = w - lr gradient for biases, w for the rest",),
    hints=(
        "It is exercise 16 with another rule for what trains: here the name decides.",
        'The last part of the name must be "bias", whole: name.split(".")[-1]. Other names may contain the word.',
        '{n: w - lr * gradients[n] if n.split(".")[-1] == "bias" else w for n, w in parameters.items()}',
    ),
    wrong={
        "any name that contains bias trains: look at its last part": _moving(lambda name, w: "bias" in name),
        "every vector trains: LayerNorm's weight is no bias": _moving(lambda name, w: np.ndim(w) == 1),
        "everything trains": _moving(lambda name, w: True),
        "the weights train and the biases do not": _moving(lambda name, w: not _is_bias(name, w)),
        "the step goes up the gradient: subtract it": _moving(_is_bias, sign=1),
        "the learning rate is left out": _moving(_is_bias, lr_used=False),
        "frozen parameters are missing from the result": _biases_only,
        "parameters are changed in place": _in_place,
    },
)
