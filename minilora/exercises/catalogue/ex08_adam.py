"""Exercise 8: one step of Adam."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    return w - lr * mhat / (np.sqrt(vhat) + eps), m, v


def magnitude(w, g, m, v, t, lr, beta1, beta2, eps):
    """m may be m + g - beta g, whose terms are larger than their sum, and v likewise; 1 - beta^t loses digits when
    beta^t is near 1."""
    new_v = beta2 * v + (1 - beta2) * g**2
    m, v = np.abs(m) + np.abs(g), v + g**2
    step = lr * m / (1 - beta1**t) / (np.sqrt(new_v / (1 - beta2**t)) + eps)
    lost = v / np.maximum(new_v, np.finfo(float).tiny) + 1 / (1 - beta1**t) + 1 / (1 - beta2**t)
    return np.abs(w) + step * lost, m, v


def arguments(case: Case):
    return {**case.values, "v": np.abs(case.values["v"])}


EXERCISE = Exercise(
    title="one step of Adam",
    lesson=3,
    minutes=15,
    functions={"adam_step": adam_step},
    inputs={
        **{name: Floats("n? k? m?") for name in "wgmv"},
        "t": OneOf((1, 2, 10, 5000)),
        "lr": OneOf((1.0, 0.01, 0.0)),
        "beta1": OneOf((0.5, 0.9, 0.0)),
        "beta2": OneOf((0.75, 0.999, 0.95)),
        "eps": OneOf((0.1, 1e-3, 1e-8)),
    },
    arguments=arguments,
    magnitude=magnitude,
    outputs=(
        "w = w - lr mhat / (sqrt(vhat) + eps)",
        "m = beta1 m + (1 - beta1) g",
        "v = beta2 v + (1 - beta2) g^2",
    ),
    hints=(
        "Four lines, in the order of the docstring: m, v, the two hats, w. Make new arrays: m = beta1 * m + ...",
        "The hats are used in w's line and then forgotten: return m and v without them. eps is outside the root.",
        "return w - lr * mhat / (np.sqrt(vhat) + eps), m, v, with mhat = m / (1 - beta1**t)",
    ),
    slips={
        "the bias corrections 1 - beta^t are missing": (" / (1 - beta1**t) -> ", " / (1 - beta2**t) -> "),
        "eps is inside the root: it is sqrt(vhat) + eps": "(np.sqrt(vhat) + eps) -> np.sqrt(vhat + eps)",
        "the root of vhat is missing": "np.sqrt(vhat) -> vhat",
        "t is counted from 0: the first step has t = 1": "**t) -> **(t + 1))",
        "m and v are returned with hats: the next step needs them without": ", m, v\n -> , mhat, vhat\n",
        "v takes g where g^2 belongs": "g**2 -> g",
        "the step goes up the gradient: subtract it": "w - lr -> w + lr",
        "m is changed in place": "m = beta1 * m + -> m *= beta1; m +=",
    },
)
