"""Exercise 26: one batch, many tasks."""

import numpy as np

from minilora.exercises.spec import Case, Exercise, Floats, Indices, OneOf


def _updates(x, adapters, scaling=lambda alpha, r: alpha / r):
    """(adapter, row) -> the update's part of y, and zeros as the last adapter, which is number -1."""
    parts = [scaling(alpha, len(A)) * (x @ A.T) @ B.T for A, B, alpha in adapters]
    return np.stack([*parts, np.zeros_like(parts[0])])


def _mixed(x, which, W0, adapters, **how):
    return x @ W0.T + _updates(x, adapters, **how)[which, np.arange(len(x))]


def _right(x, which, W0, adapters):
    return _mixed(x, which, W0, adapters)


def _arguments(case: Case):
    count = case.sizes["m"] - 1
    alphas = (1.0, 3.0, 8.0)
    return {
        "x": case["x"],
        "which": case["which"] - 1,
        "W0": case["W0"],
        "adapters": [(case["A"][i], case["B"][i], alphas[i] * case["alpha"]) for i in range(count)],
    }


def _minus_one_is_the_last(x, which, W0, adapters):
    return _right(x, which % len(adapters), W0, adapters)


def _sorted_rows(x, which, W0, adapters):
    order = np.argsort(which, kind="stable")
    return _right(x[order], which[order], W0, adapters)


def _nothing_for_the_base(x, which, W0, adapters):
    y = _right(x, which, W0, adapters)
    y[which < 0] = 0
    return y


def _in_place(x, which, W0, adapters):
    y = _right(x, which, W0, adapters)
    x *= 2
    return y


EXERCISE = Exercise(
    title="a batch of mixed tasks",
    lesson=12,
    minutes=15,
    functions={"mixed_forward": _right},
    inputs={
        "x": Floats("n k"),
        "which": Indices("n", of="m"),
        "W0": Floats("d k"),
        "A": Floats("m r k"),
        "B": Floats("m d r"),
        "alpha": OneOf((2.0, 1.0)),
    },
    sizes={"m": (2, 4), "r": (1, 3)},
    arguments=_arguments,
    outputs=("row n of y = W0 x_n + (alpha / r) B A x_n with adapter which[n]",),
    hints=(
        "W0 serves every row: compute x @ W0.T once. Then go through the adapters, not through the rows.",
        "rows = which == i picks the rows of adapter i. Add its update to these rows of y. No adapter has number -1.",
        "for i, (A, B, alpha) in enumerate(adapters): rows = which == i; "
        "y[rows] += alpha / A.shape[0] * (x[rows] @ A.T) @ B.T",
    ),
    wrong={
        "-1 picks the last adapter, as Python's lists do: it means none": _minus_one_is_the_last,
        "every row gets the first row's adapter": lambda x, which, W0, adapters: _right(
            x, np.full_like(which, which[0]), W0, adapters
        ),
        "every row gets all adapters": lambda x, which, W0, adapters: x @ W0.T + _updates(x, adapters).sum(0),
        "rows come back sorted by adapter: put them back in the order of x": _sorted_rows,
        "rows without an adapter are zero: they get W0 x": _nothing_for_the_base,
        "the scaling alpha / r is missing": lambda x, which, W0, adapters: _mixed(
            x, which, W0, adapters, scaling=lambda alpha, r: 1
        ),
        "scaled by alpha, not alpha / r": lambda x, which, W0, adapters: _mixed(
            x, which, W0, adapters, scaling=lambda alpha, r: alpha
        ),
        "the first adapter's alpha is used for all": lambda x, which, W0, adapters: _right(
            x, which, W0, [(A, B, adapters[0][2]) for A, B, _ in adapters]
        ),
        "x is changed in place": _in_place,
    },
)
