"""Exercise 23: BitFit."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf

# Name -> the input that it is part of: matrices, vectors, numbers and one array of three axes. Many names mislead.
NAMES = {
    **dict.fromkeys(("blocks.0.attn.q_proj.weight", "attn.relative.bias", "bias.table"), "W"),
    **dict.fromkeys(
        ("blocks.0.attn.q_proj.bias", "blocks.0.ln_1.weight", "blocks.0.ln_1.bias", "bias", "head.bias"), "b"
    ),
    **dict.fromkeys(
        (
            "debias.weight",
            "x.debias",
            "bias.weight",
            "attn.bias_k",
            "in_proj_bias",
            "biases",
            "norm.Bias",
            "x.bias.scale",
        ),
        "b",
    ),
    **{"gate.bias": "s", "temperature": "s", "kernel": "K", "conv.bias": "K"},
}


def bitfit_step(parameters, gradients, lr):
    result = {}
    for name, w in parameters.items():
        if name.split(".")[-1] == "bias":
            w = w - lr * gradients[name]
        result[name] = w
    return result


def magnitude(parameters, gradients, lr):
    bias = {name for name in NAMES if name == "bias" or name.endswith(".bias")}
    return {name: (np.abs(w) + np.abs(lr * gradients[name])) * (name in bias) for name, w in parameters.items()}


def arguments(case: Case):
    parameters, gradients = (
        {name: np.asarray(case[prefix + kind][..., i]) for i, (name, kind) in enumerate(NAMES.items())}
        for prefix in ("", "d")
    )
    return {"parameters": parameters, "gradients": dict(list(gradients.items())[:: case["order"]]), "lr": case["lr"]}


EXERCISE = Exercise(
    title="BitFit",
    lesson=11,
    minutes=5,
    functions={"bitfit_step": bitfit_step},
    inputs={
        **{prefix + "W": Floats("d k p") for prefix in ("", "d")},
        **{prefix + "b": Floats("d p") for prefix in ("", "d")},
        **{prefix + "s": Floats("p") for prefix in ("", "d")},
        **{prefix + "K": Floats("d k n p") for prefix in ("", "d")},
        "lr": OneOf((1.0, 0.1, 0.0, -0.3, 2.5)),
        "order": OneOf((1, -1)),
    },
    sizes={"p": (len(NAMES), len(NAMES)), "n": (1, 2)},
    longest=12,
    cases=30,
    arguments=arguments,
    magnitude=magnitude,
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
