"""Exercise 12: how LoRA starts."""

import math

import numpy as np

from minilora.exercises.chance import not_gaussian
from minilora.exercises.findings import Finding, shapes, true
from minilora.exercises.spec import Exercise, OneOf

# 30 seeds, of which many are equal modulo something.
SEEDS = (*range(12), 97, 100, 101, 128, 200, 256, 257, 1000, 1024, 9973, 10_000, 2**16, 2**16 + 1, 10**6, 2**24, 2**31)
SEEDS += (2**31 + 1, 4096)


def lora_init(d, k, r, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((r, k)) / math.sqrt(k)
    B = np.zeros((d, r))
    return A, B


def judge(case, call):
    d, k, r, seed = (case[name] for name in ("d", "k", "r", "seed"))
    A, B = pair = call("lora_init", d=d, k=k, r=r, seed=seed)
    yield shapes("A is (r, k) and B is (d, r)", pair, A=(r, k), B=(d, r))
    yield true("B A = 0 at the start", not (B @ A).any(), "the first forward pass must be the base's")
    yield true("B is all zeros", not B.any(), "the paper starts A at random and B at zero")
    yield true("B receives a gradient: A is not 0", A.any(), "dB = s dy^T x A^T is 0 when A is, and dA when B is")
    other = call("lora_init", d=d, k=k, r=r, seed=seed + 1)
    yield true("different seeds give different factors", not np.array_equal(other[0], A), "A ignores the seed")
    again = call("lora_init", d=d, k=k, r=r, seed=seed)
    yield true("equal seeds give equal factors", np.array_equal(again[0], A), "A differs from call to call")
    if case["sample"] is None:
        return
    d, k, r = case["sample"]
    samples = np.stack([call("lora_init", d=d, k=k, r=r, seed=s)[0] for s in SEEDS]) * math.sqrt(k)
    near = abs(samples.std() - 1) < 6 / math.sqrt(2 * samples.size)  # 6 times the spread of a right answer's
    std = float(samples.std()) / math.sqrt(k)
    yield true("A has standard deviation 1 / sqrt(k)", near, "", 1 / math.sqrt(k), std)
    yield Finding("A is independent Gaussian numbers with mean 0, for every seed", not_gaussian(samples))


EXERCISE = Exercise(
    title="LoRA's start: A random, B zero",
    lesson=5,
    minutes=5,
    functions={"lora_init": lora_init},
    inputs={
        "sample": OneOf((None, None, None, (1, 40, 25), None, (5, 100, 10))),
        "d": OneOf((3, 1, 6)),
        "k": OneOf((2, 9, 1, 40)),
        "r": OneOf((2, 10, 1, 25)),
        "seed": OneOf((0, 1, 7, 123456)),
    },
    cases=6,
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
