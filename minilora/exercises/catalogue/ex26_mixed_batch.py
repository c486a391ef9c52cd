"""Exercise 26: one batch, many tasks."""

from minilora.exercises.spec import Case, Exercise, Floats, Indices, OneOf


def mixed_forward(x, which, W0, adapters):
    y = x @ W0.T
    for i, (A, B, alpha) in enumerate(adapters):
        rows = which == i
        s = alpha / len(A)
        y[rows] += s * (x[rows] @ A.T) @ B.T
    return y


def arguments(case: Case):
    """Adapter 0 is none. The others have ranks and alphas of their own, some of them equal."""
    ranks = case["rank"] + 1
    adapters = [
        (case["A"][i, : ranks[i]], case["B"][i, :, : ranks[i]], case["alphas"][i % len(case["alphas"])])
        for i in range(1, case.sizes["m"])
    ]
    return {"x": case["x"], "which": case["which"] - 1, "W0": case["W0"], "adapters": adapters}


EXERCISE = Exercise(
    title="a batch of mixed tasks",
    lesson=12,
    minutes=15,
    functions={"mixed_forward": mixed_forward},
    inputs={
        "x": Floats("n k"),
        "which": Indices("n", of="m"),
        "W0": Floats("d k"),
        "A": Floats("m r k"),
        "B": Floats("m d r"),
        "rank": Indices("m", of="r"),
        "alphas": OneOf(((2.0,), (1, 8, 3), (0.5, -2.7), (0.0, 4.0))),
    },
    sizes={"m": (2, 5), "n": (1, 6), "r": (1, 3)},
    arguments=arguments,
    outputs=("row n of y = W0 x_n + (alpha / r) B A x_n with adapter which[n]",),
    hints=(
        "W0 serves every row: compute x @ W0.T once. Then go through the adapters, not through the rows.",
        "rows = which == i picks the rows of adapter i. Add its update to these rows of y. -1 is no adapter's number.",
        "for i, (A, B, alpha) in enumerate(adapters): rows = which == i; "
        "y[rows] += alpha / A.shape[0] * (x[rows] @ A.T) @ B.T",
    ),
    slips={
        "-1 picks the last adapter, as Python's lists do: it means none": "which == i -> which % len(adapters) == i",
        "every row gets the first row's adapter": "which == i -> (which[0] == i) | (which != which)",
        "every row gets all adapters": "which == i -> which == which",
        "rows come back sorted by adapter: put them back in the order of x": "return y -> return y[which.argsort()]",
        "rows without an adapter are zero: they get W0 x": "return y -> y[which < 0] = 0; return y",
        "the scaling alpha / r is missing": "s = alpha / len(A) -> s = 1",
        "scaled by alpha, not alpha / r": "s = alpha / len(A) -> s = alpha",
        "the first adapter's alpha is used for all": "s = alpha -> s = adapters[0][2]",
        "x is changed in place": "return y -> x *= 2; return y",
    },
)
