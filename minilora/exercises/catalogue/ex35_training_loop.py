"""Exercise 35: a training loop from end to end."""

import numpy as np

from minilora.exercises.findings import equal, of_dtype, sizes_of, true, wide
from minilora.exercises.spec import Case, Exercise, Floats, OneOf


def tune(weights, A, alpha, lr, steps, gradient):
    A = dict(A)
    B = {name: np.zeros((len(weights[name]), len(A[name])), weights[name].dtype) for name in A}
    scale = {name: alpha / len(A[name]) for name in A}

    def merged():
        updates = {name: scale[name] * (B[name] @ A[name]) for name in A}
        return {name: W + updates[name] if name in A else W for name, W in weights.items()}

    for _ in range(steps):
        dW = gradient(merged())
        dA = {name: scale[name] * B[name].T @ dW[name] for name in A}
        dB = {name: scale[name] * dW[name] @ A[name].T for name in A}
        for name in A:
            A[name] = A[name] - lr * dA[name]
            B[name] = B[name] - lr * dB[name]
    return merged()


class Gradient:
    """dL/dW of L = c/2 (the sum of (W + 1)^2) + n/2 (the mean of W)^2, over all n numbers of all weights."""

    def __init__(self, c, shapes):
        self.c, self.shapes = c, shapes
        self.__doc__ = f"the gradients {c:g} (W + 1) + the mean of all weights, by name"

    def __call__(self, weights):
        if not isinstance(weights, dict) or {name: np.shape(W) for name, W in weights.items()} != self.shapes:
            raise ValueError(f"gradient takes all weights by name, of shapes {self.shapes}")
        mean = sum(W.sum() for W in weights.values()) / sum(W.size for W in weights.values())
        return {name: np.asarray(self.c * (W + 1) + mean, W.dtype) for name, W in weights.items()}


# Names that contain each other; which are adapted, and with which ranks, changes from case to case.
NAMES = ("q_proj", "blocks.0.q_proj", "blocks.0.q_proj.norm", "blocks.10.q_proj", "head")


def arguments(case: Case):
    """Every second weight is (d, k), the others (v, k).  A large model takes smaller steps, or the loop would diverge:
    the loss of a layer bends by (alpha / r)^2 |A|^2 along B, and by (alpha / r)^2 |B|^2 along A."""
    weights = {name: case.values["WV"[i % 2]][i] for i, name in enumerate(NAMES)}
    adapted = {name: case.values["A"][i, :rank] for i, (name, rank) in enumerate(case["adapted"].items())}
    gradient = Gradient(case["c"], {name: W.shape for name, W in weights.items()})
    given = case.laid_out({"weights": weights, "A": adapted})
    arrays = [*weights.values(), *adapted.values()]
    size = max(1, abs(case["alpha"])) * sum(float(np.linalg.norm(np.abs(a) + 1)) for a in arrays)
    lr = case["lr"] / size**2
    return {**given, "alpha": case["alpha"], "lr": lr, "steps": case["steps"], "gradient": gradient}


def judge(case, call):
    """With every term positive, the loop bounds the terms it adds up.  If A and B are out by e, then W + s B A is by
    2 e, dA and dB by 3 e, and A and B after the step as well: 3^steps e in the end, and twice that once merged."""
    given = EXERCISE.named_arguments(case)
    right, sizes = wide(given), sizes_of(wide(given))
    sizes["lr"], sizes["gradient"] = -abs(sizes["lr"]), Gradient(abs(case["c"]), given["gradient"].shapes)
    expected, got = tune(**right), call("tune", **given)
    yield true("returns a dictionary", isinstance(got, dict), "expected a dict")
    yield equal("all weights are there, and no others", sorted(expected), sorted(map(str, got)))
    frozen = {name: W for name, W in given["weights"].items() if name not in given["A"]}
    yield equal("frozen weights stay as they are", frozen, {name: got[name] for name in frozen})
    tolerance = case.rounding({name: 2 * 3.0 ** case["steps"] * size for name, size in tune(**sizes).items()})
    yield equal("the tuned weights, merged: W + (alpha / r) B A after all steps", expected, got, tolerance)
    yield of_dtype("weights keep their dtype", case.dtype, list(got.values()))


EXERCISE = Exercise(
    title="a training loop from end to end",
    lesson=7,
    minutes=30,
    functions={"tune": tune},
    inputs={
        "W": Floats("w d k", decades=(-1,)),
        "V": Floats("w v k", decades=(-1,)),
        "A": Floats("a r k", decades=(-1,)),
        "adapted": OneOf(
            (
                {"q_proj": 2},
                {"blocks.0.q_proj": 1, "q_proj": 2},
                {},
                {"head": 3, "q_proj": 3},
                {"blocks.0.q_proj.norm": 2, "head": 1, "blocks.0.q_proj": 3},
            )
        ),
        "alpha": OneOf((2.0, 1.0, 3, 0.5, 0.0, -1.5, 1 / 3)),
        "lr": OneOf((4.0, 10.0, 1.0, -2.0)),
        "steps": OneOf((1, 2, 3, 0, 5)),
        "c": OneOf((1.0, -0.3, 0.1)),
    },
    sizes={"w": (len(NAMES), len(NAMES)), "a": (3, 3), "r": (3, 3), "d": (1, 3), "v": (1, 3), "k": (1, 3)},
    arguments=arguments,
    judge=judge,
    hints=(
        "Three parts. Before the loop: a B of zeros for every A. In it: the weights with their updates, their "
        "gradients, one step. After it: the weights with their updates.",
        "With s = alpha / r and W + s B A in the forward, dB = s dW A^T and dA = s B^T dW. Compute both before you "
        "change either. r is each A's own number of rows.",
        "A = dict(A), then in each step: now = {n: W + s[n] * B[n] @ A[n] if n in A else W ...}; dW = gradient(now); "
        "for n in A: A[n], B[n] = A[n] - lr * s[n] * B[n].T @ dW[n], B[n] - lr * s[n] * dW[n] @ A[n].T",
    ),
    slips={
        "the gradient is taken at the frozen weights: inject first, so that it is taken at W + (alpha / r) B A": (
            "gradient(merged()) -> gradient(weights)"
        ),
        "the merge forgets the scale alpha / r": "    return merged()\n\n -> "
        "    return {name: W + B[name] @ A[name] if name in A else W for name, W in weights.items()}\n\n",
        "the weights are returned without their updates: B never moved, or was not merged": "    return "
        "merged()\n\n ->     return dict(weights)\n\n",
        "the scaling alpha / r is missing everywhere": "alpha / len(A[name]) -> 1",
        "scaled by alpha, not alpha / r": "alpha / len(A[name]) -> alpha",
        "one rank for all: each A has its own": "alpha / len(A[name]) -> alpha / len(next(iter(A.values())))",
        "dA and dB lack the scaling alpha / r": ("scale[name] * B[name].T -> B[name].T", "scale[name] * dW -> dW"),
        "dA uses the B that has just moved: compute both gradients, then step": (
            "A[name] = A[name] - lr * dA[name] -> pass",
            "B[name] = B[name] - lr * dB[name] -> B[name] = B[name] - lr * dB[name]; A[name] = A[name] - lr * "
            "scale[name] * B[name].T @ dW[name]",
        ),
        "B starts at ones: at zero, the model starts as the base": "np.zeros( -> np.ones(",
        "only B trains: A does too": "A[name] = A[name] - lr * dA[name] -> pass",
        "the step goes up the gradient: subtract it": ("- lr * dA -> + lr * dA", "- lr * dB -> + lr * dB"),
        "the learning rate is left out": ("- lr * dA -> - dA", "- lr * dB -> - dB"),
        "one step too few": "range(steps) -> range(steps - 1)",
        "one step too many": "range(steps) -> range(steps + 1)",
        "only one step is taken": "range(steps) -> range(min(steps, 1))",
        "W is trained itself: that is full fine-tuning": "    return merged()\n\n -> "
        "    full = dict(weights)\n    for _ in range(steps):\n        dW = gradient(full)\n        full = {name: "
        "W - lr * dW[name] if name in A else W for name, W in full.items()}\n    return full\n\n",
        "all weights move: those without an A are frozen": "if name in A else W for name, W in weights.items()} -> "
        "if name in A else W - lr * gradient(weights)[name] for name, W in weights.items()}",
        "the update is merged after every step, and then counted again": (
            "B[name] = B[name] - lr * dB[name] -> B[name] = B[name] - lr * dB[name]\n        weights = merged()"
        ),
        "the result is float64: np.zeros is, unless it is told": ", weights[name].dtype) -> )",
        "A is changed: work on a copy": ("    A = dict(A)\n -> ", "A[name] = A[name] - lr * dA -> A[name] -= lr * dA"),
    },
)
