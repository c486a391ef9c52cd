import numpy as np


# right: one draw
def lora_init(d, k, r, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)), np.zeros((d, r))


# right: standard normals row by row, scaled
def lora_init(d, k, r, seed):
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    A = np.stack([rng.standard_normal(k) for _ in range(r)])
    return A / k**0.5, np.full((d, r), 0.0)


# right: the older generator, B first
def lora_init(d, k, r, seed):
    B = np.zeros(shape=(d, r), dtype=np.float64)
    A = np.random.RandomState(np.random.SeedSequence(seed).generate_state(4)).randn(r, k)
    A *= 1.0 / np.sqrt(float(k))
    return A, B


# right: Box and Muller
def lora_init(d, k, r, seed):
    rng = np.random.Generator(np.random.Philox(seed))
    radius = np.sqrt(-2 * np.log1p(-rng.random((r, k))))
    angle = 2 * np.pi * rng.random((r, k))
    return radius * np.cos(angle) / np.sqrt(k), np.zeros((d, r))


# wrong: the seed 0 is taken for none
# default_rng(seed) -> default_rng(seed or None)


# wrong: the seed is not used
# default_rng(seed) -> default_rng()


# wrong: always the seed 0
# default_rng(seed) -> default_rng(0)


# wrong: a seed of two digits
# default_rng(seed) -> default_rng(seed % 100)


# wrong: a seed of 16 bits
# default_rng(seed) -> default_rng(seed & 0xFFFF)


# wrong: half the seed
# default_rng(seed) -> default_rng(seed // 2)


# wrong: the seed in floating point
# default_rng(seed) -> default_rng(int(float(np.float32(seed))))


# wrong: the seed's largest value is 1000
# default_rng(seed) -> default_rng(min(seed, 1000))


# wrong: the seed counts calls
# default_rng(seed) -> default_rng(seed + len(CALLS))
# rng = -> CALLS.append(1)\n    rng =
# def lora -> CALLS = []\n\n\ndef lora


# wrong: one generator for all calls
# rng = np.random.default_rng(seed) -> rng = RNGS.setdefault(seed, np.random.default_rng(seed))
# def lora -> RNGS = {}\n\n\ndef lora


# wrong: the same numbers, turned on by the seed
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng = np.random.default_rng(7)\n    return np.roll(rng.normal(0.0, 1 / np.sqrt(k), size=r * k), seed).reshape(r, k)


# wrong: the same numbers, the sign by the seed
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng = np.random.default_rng(7)\n    return (-1) ** seed * rng.normal(0.0, 1 / np.sqrt(k), size=(r, k))


# wrong: the variance is 1 / sqrt(k)
# 1 / np.sqrt(k) -> k**-0.25


# wrong: the standard deviation is 1 / k
# 1 / np.sqrt(k) -> 1 / k


# wrong: by the rank
# 1 / np.sqrt(k) -> 1 / np.sqrt(r)


# wrong: by the output's width
# 1 / np.sqrt(k) -> 1 / np.sqrt(d)


# wrong: by both widths
# 1 / np.sqrt(k) -> np.sqrt(2 / (d + k))


# wrong: uniform of the same variance
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng.uniform(-np.sqrt(3 / k), np.sqrt(3 / k), size=(r, k))


# wrong: Laplace of the same variance
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng.laplace(0.0, 1 / np.sqrt(2 * k), size=(r, k))


# wrong: signs only
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng.choice([-1.0, 1.0], size=(r, k)) / np.sqrt(k)


# wrong: triangular of the same variance
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> (rng.random((r, k)) - rng.random((r, k))) * np.sqrt(6 / k)


# wrong: Student's t with five degrees of freedom, of the same variance
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng.standard_t(5, size=(r, k)) * np.sqrt(3 / 5 / k)


# wrong: cut off at two standard deviations
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> np.clip(rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)), -2 / np.sqrt(k), 2 / np.sqrt(k))


# wrong: positive numbers only
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> np.abs(rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)))


# wrong: every row alike
# size=(r, k)) -> size=k) * np.ones((r, 1))


# wrong: every column alike
# size=(r, k)) -> size=(r, 1)) * np.ones(k)


# wrong: rows of length 1
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> A = rng.normal(size=(r, k))\n    A /= np.linalg.norm(A, axis=1, keepdims=True)\n    return A


# wrong: the second half is the first with its sign turned
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> A = rng.normal(0.0, 1 / np.sqrt(k), size=r * k)\n    half = r * k // 2\n    A[r * k - half :] = -A[:half]\n    A = A.reshape(r, k)\n    return A


# wrong: sorted numbers
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> np.sort(rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)), axis=1)


# wrong: orthogonal rows
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> A = rng.normal(size=(k, max(r, 1)))\n    A = np.linalg.qr(A, mode="complete")[0][:, : min(r, k)].T\n    A = np.vstack([A] * (r // k + 1))[:r]\n    return A


# wrong: the numbers are rounded to tenths
# rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> np.round(rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)), 1)


# wrong: B starts tiny
# np.zeros((d, r)) -> np.full((d, r), 1e-12)


# wrong: A is zero, B is not
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)), np.zeros((d, r)) -> return np.zeros((r, k)), rng.normal(0.0, 1 / np.sqrt(k), size=(d, r))


# wrong: B as (r, d)
# np.zeros((d, r)) -> np.zeros((r, d))


# wrong: cut out of one large matrix that the seed shifts
# return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k)) -> rng = np.random.default_rng(7)\n    rng.normal(size=seed % 997)\n    return rng.normal(0.0, 1 / np.sqrt(k), size=(r, k))


# wrong: the rank is at most d and k
# rng = np -> r = min(d, k, r)\n    rng = np
