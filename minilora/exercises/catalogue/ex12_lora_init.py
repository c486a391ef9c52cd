"""Exercise 12: how LoRA starts.

A has r k >= 3200 numbers. The spread of their mean is 1 / sqrt(r k) of theirs, that of their standard deviation
1 / sqrt(2 r k), so 6 spreads are at most 0.11 and 0.075: a right answer misses by that once in 10^8 seeds, and
the seeds are fixed. The largest of 3200 Gaussian numbers is above 2.5 standard deviations but for 1 in 10^17;
a uniform one never is above 1.74.
"""

import math

import numpy as np

from minilora.exercises.spec import Call, Case, Exercise, OneOf, check_results, check_that


def _right(d, k, r, seed):
    return np.random.default_rng(seed).standard_normal((r, k)) / math.sqrt(k), np.zeros((d, r))


def _judge(exercise: Exercise, case: Case, call: Call) -> None:
    arguments = dict(case.values)
    d, k, r = case["d"], case["k"], case["r"]
    pair = call("lora_init", **arguments)
    check_results(("A", "B"), (0, 0), pair)
    for name, factor, shape in zip("AB", pair, ((r, k), (d, r)), strict=True):
        found = np.shape(factor)
        check_that("A is (r, k) and B is (d, r)", found == shape, f"{name} has shape {found}, expected {shape}")
    A, B = (np.asarray(factor, np.float64) for factor in pair)
    check_that("B A = 0 at the start", not (B @ A).any(), "the first forward pass must be the base's")
    check_that("B is all zeros", not B.any(), "the paper starts A at random and B at zero")
    check_that("B receives a gradient: A is not 0", bool(A.any()), "dB = s dy^T x A^T is 0 when A is, and dA when B is")
    spread = math.sqrt(k) * A
    check_that("A has mean 0", abs(spread.mean()) < 6 / math.sqrt(r * k), "", 0.0, float(A.mean()))
    std = float(spread.std())
    near = abs(std - 1) < 6 / math.sqrt(2 * r * k)
    check_that("A has standard deviation 1 / sqrt(k)", near, "", 1 / math.sqrt(k), std / math.sqrt(k))
    check_that("A is Gaussian", np.abs(spread).max() > 2.5, "none of its numbers is beyond 2.5 standard deviations")
    again = call("lora_init", **arguments)
    check_that("equal seeds give equal factors", np.array_equal(again[0], A), "A differs from call to call")
    other = call("lora_init", **{**arguments, "seed": case["seed"] + 1})
    check_that("different seeds give different factors", not np.array_equal(other[0], A), "A ignores the seed")


EXERCISE = Exercise(
    title="LoRA's start: A random, B zero",
    lesson=5,
    minutes=5,
    functions={"lora_init": _right},
    inputs={"d": OneOf((3, 5)), "k": OneOf((400, 900)), "r": OneOf((8, 12)), "seed": OneOf((0, 1, 7))},
    judge=_judge,
    hints=(
        "dA is proportional to B and dB to A. If both start at 0, nothing ever moves; if neither does, B A is not 0.",
        "rng = np.random.default_rng(seed); rng.standard_normal((r, k)) has standard deviation 1. Scale it.",
        "return rng.standard_normal((r, k)) / np.sqrt(k), np.zeros((d, r))",
    ),
    wrong={
        "A and B are both random: the model changes before training has begun": lambda d, k, r, seed: (
            _right(d, k, r, seed)[0],
            np.random.default_rng(seed).standard_normal((d, r)),
        ),
        "A and B are both zero: no gradient will ever move them": lambda d, k, r, seed: (
            np.zeros((r, k)),
            np.zeros((d, r)),
        ),
        "A is zero and B random: the paper has it the other way round": lambda d, k, r, seed: (
            np.zeros((r, k)),
            np.random.default_rng(seed).standard_normal((d, r)),
        ),
        "the shapes are transposed: A is (r, k), B is (d, r)": lambda d, k, r, seed: (
            _right(d, k, r, seed)[0].T,
            np.zeros((r, d)),
        ),
        "A and B are swapped: return A first": lambda d, k, r, seed: _right(d, k, r, seed)[::-1],
        "A is not scaled by 1 / sqrt(k)": lambda d, k, r, seed: (
            np.random.default_rng(seed).standard_normal((r, k)),
            np.zeros((d, r)),
        ),
        "A is scaled by 1 / k: it is 1 / sqrt(k)": lambda d, k, r, seed: (
            np.random.default_rng(seed).standard_normal((r, k)) / k,
            np.zeros((d, r)),
        ),
        "A is uniform in [0, 1), so its mean is not 0": lambda d, k, r, seed: (
            np.random.default_rng(seed).random((r, k)),
            np.zeros((d, r)),
        ),
        "the seed is not used": lambda d, k, r, seed: _right(d, k, r, 0),
        "a generator without a seed is used": lambda d, k, r, seed: (
            np.random.default_rng().standard_normal((r, k)) / math.sqrt(k),
            np.zeros((d, r)),
        ),
    },
)
