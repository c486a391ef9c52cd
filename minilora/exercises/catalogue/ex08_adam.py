"""Exercise 8: one step of Adam."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def _moments(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2


def _right(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _moments(g, m, v, beta1, beta2)
    return w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def _magnitude(w, g, m, v, t, lr, beta1, beta2, eps):
    """m's two terms may cancel, and 1 - beta^t loses as many digits as beta^t is close to 1."""
    m_size, v_size = _moments(np.abs(g), np.abs(m), v, beta1, beta2)
    correction = 1 / (1 - beta1**t) + 1 / (1 - beta2**t)
    step = lr * m_size / (1 - beta1**t) / (np.sqrt(v_size / (1 - beta2**t)) + eps)
    return np.abs(w) + step * correction, m_size, v_size


def _arguments(case: Case):
    w, g, m, v = (case[name] for name in "wgmv")
    (beta1, beta2), eps = case["betas"], case["eps"]
    return dict(w=w, g=g, m=m, v=np.abs(v), t=case["t"], lr=case["lr"], beta1=beta1, beta2=beta2, eps=eps)


def _no_correction(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _moments(g, m, v, beta1, beta2)
    return w - lr * m / (np.sqrt(v) + eps), m, v


def _eps_inside(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _moments(g, m, v, beta1, beta2)
    return w - lr * (m / (1 - beta1**t)) / np.sqrt(v / (1 - beta2**t) + eps), m, v


def _no_root(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _moments(g, m, v, beta1, beta2)
    return w - lr * (m / (1 - beta1**t)) / (v / (1 - beta2**t) + eps), m, v


def _returns_hats(w, g, m, v, t, lr, beta1, beta2, eps):
    w, m, v = _right(w, g, m, v, t, lr, beta1, beta2, eps)
    return w, m / (1 - beta1**t), v / (1 - beta2**t)


def _gradient_not_squared(w, g, m, v, t, lr, beta1, beta2, eps):
    w, m, _ = _right(w, g, m, v, t, lr, beta1, beta2, eps)
    return w, m, beta2 * v + (1 - beta2) * g


def _in_place(w, g, m, v, t, lr, beta1, beta2, eps):
    m *= beta1
    m += (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


EXERCISE = Exercise(
    title="one step of Adam",
    lesson=3,
    minutes=15,
    functions={"adam_step": _right},
    inputs={
        **{name: Floats("n") for name in "wgmv"},
        "t": OneOf((1, 2, 10)),
        "lr": OneOf((1.0, 0.01)),
        "betas": OneOf(((0.5, 0.75), (0.9, 0.999))),
        "eps": OneOf((0.1, 1e-3)),
    },
    arguments=_arguments,
    magnitude=_magnitude,
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
    wrong={
        "the bias corrections 1 - beta^t are missing": _no_correction,
        "eps is inside the root: it is sqrt(vhat) + eps": _eps_inside,
        "the root of vhat is missing": _no_root,
        "t is counted from 0: the first step has t = 1": lambda w, g, m, v, t, lr, beta1, beta2, eps: _right(
            w, g, m, v, t + 1, lr, beta1, beta2, eps
        ),
        "m and v are returned with hats: the next step needs them without": _returns_hats,
        "v takes g where g^2 belongs": _gradient_not_squared,
        "the step goes up the gradient: subtract it": lambda w, g, m, v, t, lr, beta1, beta2, eps: _right(
            w, g, m, v, t, -lr, beta1, beta2, eps
        ),
        "m is changed in place": _in_place,
    },
)
