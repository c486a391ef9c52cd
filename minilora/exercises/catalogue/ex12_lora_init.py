"""Exercise 12: how LoRA starts.

A has r k >= 3200 numbers. The spread of their mean is 1 / sqrt(r k) of theirs, that of their standard deviation
1 / sqrt(2 r k), so 6 spreads are at most 0.11 and 0.075: a right answer is further off for one seed in 10^8, and
the seeds are fixed. The largest of 3200 Gaussian numbers is above 2.5 standard deviations but for one in 10^17;
a uniform one is never above 1.74.
"""

import math

import numpy as np

from minilora.exercises.findings import shapes, true
from minilora.exercises.spec import Exercise, OneOf


def lora_init(d, k, r, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((r, k)) / math.sqrt(k)
    B = np.zeros((d, r))
    return A, B


def judge(case, call):
    d, k, r, seed = (case[name] for name in ("d", "k", "r", "seed"))
    pair = call("lora_init", d=d, k=k, r=r, seed=seed)
    yield shapes("A is (r, k) and B is (d, r)", pair, A=(r, k), B=(d, r))
    A, B = (np.asarray(factor, np.float64) for factor in pair)
    yield true("B A = 0 at the start", not (B @ A).any(), "the first forward pass must be the base's")
    yield true("B is all zeros", not B.any(), "the paper starts A at random and B at zero")
    yield true("B receives a gradient: A is not 0", A.any(), "dB = s dy^T x A^T is 0 when A is, and dA when B is")
    spread = math.sqrt(k) * A
    yield true("A has mean 0", abs(spread.mean()) < 6 / math.sqrt(r * k), "", 0.0, float(A.mean()))
    near = abs(spread.std() - 1) < 6 / math.sqrt(2 * r * k)
    yield true("A has standard deviation 1 / sqrt(k)", near, "", 1 / math.sqrt(k), float(A.std()))
    tails = np.abs(spread).max() > 2.5
    yield true("A is Gaussian", tails, "none of its numbers is beyond 2.5 standard deviations")
    again = call("lora_init", d=d, k=k, r=r, seed=seed)
    yield true("equal seeds give equal factors", np.array_equal(again[0], A), "A differs from call to call")
    other = call("lora_init", d=d, k=k, r=r, seed=seed + 1)
    yield true("different seeds give different factors", not np.array_equal(other[0], A), "A ignores the seed")


EXERCISE = Exercise(
    title="LoRA's start: A random, B zero",
    lesson=5,
    minutes=5,
    functions={"lora_init": lora_init},
    inputs={"d": OneOf((3, 5)), "k": OneOf((400, 900)), "r": OneOf((8, 12)), "seed": OneOf((0, 1, 7))},
    judge=judge,
    hints=(
        "dA is proportional to B and dB to A. If both start at 0, nothing ever moves; if neither does, B A is not 0.",
        "rng = np.random.default_rng(seed); rng.standard_normal((r, k)) has standard deviation 1. Scale it.",
        "return rng.standard_normal((r, k)) / np.sqrt(k), np.zeros((d, r))",
    ),
    slips={
        "A and B are both random: the model changes before training has begun": "np.zeros( -> rng.standard_normal(",
        "A and B are both zero: no gradient will ever move them": "rng.standard_normal( -> np.zeros(",
        "A is zero and B random: the paper has it the other way round": (
            "np.zeros((d, r)) -> rng.standard_normal((d, r))",
            "rng.standard_normal((r, k)) -> np.zeros((r, k))",
        ),
        "the shapes are transposed: A is (r, k), B is (d, r)": "return A, B -> return A.T, B.T",
        "A and B are swapped: return A first": "return A, B -> return B, A",
        "A is not scaled by 1 / sqrt(k)": " / math.sqrt(k) -> ",
        "A is scaled by 1 / k: it is 1 / sqrt(k)": "math.sqrt(k) -> k",
        "A is uniform in [0, 1), so its mean is not 0": "standard_normal((r, k)) / math.sqrt(k) -> random((r, k))",
        "the seed is not used": "default_rng(seed) -> default_rng(0)",
        "a generator without a seed is used": "default_rng(seed) -> default_rng()",
    },
)
