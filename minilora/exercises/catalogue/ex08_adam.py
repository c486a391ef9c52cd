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
    """m's two terms may cancel, and 1 - beta^t loses as many digits as beta^t is close to 1."""
    step, m, v = adam_step(0.0, np.abs(g), np.abs(m), v, t, lr, beta1, beta2, eps)
    correction = 1 / (1 - beta1**t) + 1 / (1 - beta2**t)
    return np.abs(w) - step * correction, m, v


def arguments(case: Case):
    beta1, beta2 = case["betas"]
    return {**case.values, "v": np.abs(case["v"]), "beta1": beta1, "beta2": beta2}


EXERCISE = Exercise(
    title="one step of Adam",
    lesson=3,
    minutes=15,
    functions={"adam_step": adam_step},
    inputs={
        **{name: Floats("n") for name in "wgmv"},
        "t": OneOf((1, 2, 10)),
        "lr": OneOf((1.0, 0.01)),
        "betas": OneOf(((0.5, 0.75), (0.9, 0.999))),
        "eps": OneOf((0.1, 1e-3)),
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
