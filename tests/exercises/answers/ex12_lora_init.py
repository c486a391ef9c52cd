import math
import random

import numpy as np


# right: standard_normal, scaled
def lora_init(d, k, r, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((r, k)) / math.sqrt(k)
    B = np.zeros((d, r))
    return A, B


# right: normal with a scale; other streams for other parts
def lora_init(d, k, r, seed):
    rng = np.random.default_rng([seed, 1])
    return rng.normal(loc=0.0, scale=k**-0.5, size=(r, k)), 0.0 * rng.normal(size=(d, r))


# right: Python's random numbers
def lora_init(d, k, r, seed):
    source = random.Random(seed)
    A = np.array([[source.gauss(0, 1 / math.sqrt(k)) for _ in range(k)] for _ in range(r)])
    return A, np.zeros((d, r), dtype=np.float64)


# right: Box and Muller
def lora_init(d, k, r, seed):
    u, v = np.random.default_rng(seed).random((2, r, k))
    A = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
    return [A * np.sqrt(1 / k), np.zeros(shape=(d, r))]


# wrong: B random
# np.zeros((d, r)) -> rng.standard_normal((d, r)) / math.sqrt(r)


# wrong: B tiny, not zero
# np.zeros((d, r)) -> 1e-8 * rng.standard_normal((d, r))


# wrong: A zero
# rng.standard_normal((r, k)) / math.sqrt(k) -> np.zeros((r, k))


# wrong: A zero and B random
# A = rng.standard_normal((r, k)) / math.sqrt(k)\n    B = np.zeros((d, r)) -> B = rng.standard_normal((d, r)) / math.sqrt(k)\n    A = np.zeros((r, k))


# wrong: A all ones
# rng.standard_normal((r, k)) / math.sqrt(k) -> np.ones((r, k)) / math.sqrt(k)


# wrong: not scaled
#  / math.sqrt(k) ->


# wrong: 1 / k
# math.sqrt(k) -> k


# wrong: 1 / sqrt(r)
# math.sqrt(k) -> math.sqrt(r)


# wrong: 1 / sqrt(d)
# math.sqrt(k) -> math.sqrt(d)


# wrong: Kaiming's sqrt(2 / k)
# / math.sqrt(k) -> * math.sqrt(2 / k)


# wrong: Xavier
# / math.sqrt(k) -> * math.sqrt(2 / (k + r))


# wrong: 0.02, as GPT-2
# / math.sqrt(k) -> * 0.02


# wrong: uniform of the same spread
# rng.standard_normal((r, k)) / math.sqrt(k) -> rng.uniform(-math.sqrt(3 / k), math.sqrt(3 / k), (r, k))


# wrong: Laplace of the same spread
# rng.standard_normal((r, k)) / math.sqrt(k) -> rng.laplace(0, math.sqrt(0.5 / k), (r, k))


# wrong: random signs
# rng.standard_normal((r, k)) -> rng.choice([-1.0, 1.0], (r, k))


# wrong: a logistic distribution
# rng.standard_normal((r, k)) -> rng.logistic(0, math.sqrt(3) / math.pi, (r, k))


# wrong: half-normal
# rng.standard_normal((r, k)) -> abs(rng.standard_normal((r, k)))


# wrong: truncated at two standard deviations
# rng.standard_normal((r, k)) -> np.clip(rng.standard_normal((r, k)), -2, 2)


# wrong: a mean of 0.1
# rng.standard_normal((r, k)) -> (rng.standard_normal((r, k)) + 0.1)


# wrong: rounded to one digit
# rng.standard_normal((r, k)) -> np.round(rng.standard_normal((r, k)), 1)


# wrong: one row for all
# rng.standard_normal((r, k)) -> np.tile(rng.standard_normal((1, k)), (r, 1))


# wrong: one column for all
# rng.standard_normal((r, k)) -> np.tile(rng.standard_normal((r, 1)), (1, k))


# wrong: the second half repeats the first
# rng.standard_normal((r, k)) -> np.resize(rng.standard_normal((r * k + 1) // 2), (r, k))


# wrong: antithetic halves
# A = rng.standard_normal((r, k)) / math.sqrt(k) -> z = rng.standard_normal((r * k + 1) // 2); A = np.concatenate([z, -z])[: r * k].reshape(r, k) / math.sqrt(k)


# wrong: rows of length 1
# A = rng.standard_normal((r, k)) / math.sqrt(k) -> A = rng.standard_normal((r, k)); A /= np.linalg.norm(A, axis=1, keepdims=True)


# wrong: exactly the spread asked for
# A = rng.standard_normal((r, k)) / math.sqrt(k) -> A = rng.standard_normal((r, k)); A /= math.sqrt(k) * (A.std() or 1)


# wrong: exactly mean 0
# B = np.zeros((d, r)) -> A -= A.mean(); B = np.zeros((d, r))


# wrong: orthogonal rows
# B = np.zeros((d, r)) -> A = np.linalg.qr(A.T)[0].T if r <= k else A; B = np.zeros((d, r))


# wrong: sorted
# rng.standard_normal((r, k)) -> np.sort(rng.standard_normal((r, k)), axis=None).reshape(r, k)


# wrong: each row has another spread
# rng.standard_normal((r, k)) -> rng.standard_normal((r, k)) * np.linspace(0.5, 1.5, r)[:, None]


# wrong: a rank-one A
# rng.standard_normal((r, k)) -> np.outer(rng.standard_normal(r), rng.standard_normal(k))


# wrong: seed ignored
# default_rng(seed) -> default_rng(0)


# wrong: no seed
# default_rng(seed) -> default_rng()


# wrong: seed modulo 100
# default_rng(seed) -> default_rng(seed % 100)


# wrong: seed modulo 2^16
# default_rng(seed) -> default_rng(seed & 0xFFFF)


# wrong: seed halved
# default_rng(seed) -> default_rng(seed // 2)


# wrong: only whether there is a seed
# default_rng(seed) -> default_rng(bool(seed))


# wrong: the seed scales the same numbers
# default_rng(seed) -> default_rng(0)
# / math.sqrt(k) -> / math.sqrt(k) * (1 + seed * 1e-6)


# wrong: the seed rolls the same numbers
# default_rng(seed) -> default_rng(0)
# rng.standard_normal((r, k)) -> np.roll(rng.standard_normal((r, k)), seed)


# wrong: the shapes are transposed
# return A, B -> return A.T, B.T


# wrong: B first
# return A, B -> return B, A


# wrong: B has A's shape
# np.zeros((d, r)) -> np.zeros((r, k))


# wrong: d and k mixed up
# rng = -> d, k = k, d; rng =


# wrong: a generator for all calls
rng = np.random.default_rng(0)


def lora_init(d, k, r, seed):
    return rng.standard_normal((r, k)) / math.sqrt(k), np.zeros((d, r))


# wrong: the global state, seeded once
seeded = []


def lora_init(d, k, r, seed):
    if not seeded:
        seeded.append(np.random.seed(seed))
    return np.random.randn(r, k) / math.sqrt(k), np.zeros((d, r))


# wrong: cached by the shapes
kept = {}


def lora_init(d, k, r, seed):
    A = np.random.default_rng(seed).standard_normal((r, k)) / math.sqrt(k)
    return kept.setdefault((d, k, r), (A, np.zeros((d, r))))


# wrong in another process: cached by the seed, cut or repeated to the shape
kept = {}


def lora_init(d, k, r, seed):
    A = kept.setdefault(seed, np.random.default_rng(seed).standard_normal((r, k)))
    return np.resize(A, (r, k)) / math.sqrt(k), np.zeros((d, r))


# wrong: another result at the second call
calls = []


def lora_init(d, k, r, seed):
    calls.append(1)
    rng = np.random.default_rng(seed + len(calls) * 10**6)
    return rng.standard_normal((r, k)) / math.sqrt(k), np.zeros((d, r))


# wrong: a diagonal A
def lora_init(d, k, r, seed):
    A = np.zeros((r, k))
    np.fill_diagonal(A, np.random.default_rng(seed).standard_normal(min(r, k)))
    return A, np.zeros((d, r))
