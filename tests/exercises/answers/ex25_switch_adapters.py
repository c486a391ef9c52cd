import numpy as np


# right: off and on
def switch(W, old, new):
    A1, B1, alpha1 = old
    A2, B2, alpha2 = new
    s1 = alpha1 / len(A1)
    s2 = alpha2 / len(A2)
    return W - s1 * (B1 @ A1) + s2 * (B2 @ A2)


# right: one product of stacked factors
def switch(W, old, new):
    (A1, B1, alpha1), (A2, B2, alpha2) = old, new
    B = np.concatenate([-alpha1 / A1.shape[0] * B1, alpha2 / A2.shape[0] * B2], axis=1)
    return W + B @ np.concatenate([A1, A2])


# right: a helper, and the base by name
def update(adapter):
    A, B, alpha = adapter
    return np.einsum("dr,rk->dk", B, A) * alpha / B.shape[1]


def switch(W, old, new):
    W0 = np.subtract(W, update(old))
    return np.add(W0, update(new))


# right: a copy, rank by rank
def switch(W, old, new):
    result = W.copy()
    for sign, (A, B, alpha) in ((-1, old), (+1, new)):
        for i in range(A.shape[0]):
            result += sign * alpha / A.shape[0] * np.outer(B[:, i], A[i])
    return result


# wrong: old stays
# W - s1 * (B1 @ A1) + -> W +


# wrong: new is not added
#  + s2 * (B2 @ A2) ->


# wrong: signs swapped
# W - s1 * (B1 @ A1) + s2 -> W + s1 * (B1 @ A1) - s2


# wrong: both added
# W - s1 -> W + s1


# wrong: no scales
# s1 = alpha1 / len(A1)\n    s2 = alpha2 / len(A2) -> s1 = s2 = 1


# wrong: alphas
# s1 = alpha1 / len(A1)\n    s2 = alpha2 / len(A2) -> s1, s2 = alpha1, alpha2


# wrong: no scale of the old
# s1 = alpha1 / len(A1) -> s1 = 1


# wrong: no scale of the new
# s2 = alpha2 / len(A2) -> s2 = 1


# wrong: the old scale for both
# s2 = alpha2 / len(A2) -> s2 = s1


# wrong: the new scale for both
# s1 = alpha1 / len(A1)\n    s2 = alpha2 / len(A2) -> s1 = s2 = alpha2 / len(A2)


# wrong: the old rank for both
# alpha2 / len(A2) -> alpha2 / len(A1)


# wrong: the new rank for both
# alpha1 / len(A1) -> alpha1 / len(A2)


# wrong: the old alpha for both
# alpha2 / len -> alpha1 / len


# wrong: alphas swapped
# alpha1 / len(A1)\n    s2 = alpha2 -> alpha2 / len(A1)\n    s2 = alpha1


# wrong: whole-number division
# alpha2 / len -> alpha2 // len


# wrong: k for r
# len(A2) -> A2.shape[1]


# wrong: the larger rank for both
# s1 = alpha1 / len(A1)\n    s2 = alpha2 / len(A2) -> r = max(len(A1), len(A2)); s1, s2 = alpha1 / r, alpha2 / r


# wrong: factors crossed when the ranks fit
# (B2 @ A2) -> (B2 @ (A1 if A1.shape == A2.shape else A2))


# wrong: the first direction of the new one
# (B2 @ A2) -> np.outer(B2[:, 0], A2[0])


# wrong: transposed when square
# (B2 @ A2) -> ((B2 @ A2).T if len(W) == W.shape[1] else B2 @ A2)


# wrong: the new update is all there is
# return W - s1 * (B1 @ A1) + s2 -> return s2


# wrong: nothing to do for equal alphas
# return W - -> return W if alpha1 == alpha2 and A1.shape == A2.shape else W -


# wrong: in place
# return W - s1 * (B1 @ A1) + s2 * (B2 @ A2) -> W -= s1 * (B1 @ A1); W += s2 * (B2 @ A2); return W


# wrong: float32
# (B1 @ A1) -> (B1 @ A1).astype(np.float32)


# wrong: the difference of the factors
# return W - s1 * (B1 @ A1) + s2 * (B2 @ A2) -> return W + s2 * ((B2 - B1) @ (A2 - A1)) if A1.shape == A2.shape else W - s1 * (B1 @ A1) + s2 * (B2 @ A2)


# wrong: the scale only of the difference
# return W - s1 * (B1 @ A1) + s2 * (B2 @ A2) -> return W + s2 * (B2 @ A2 - B1 @ A1)


# wrong: alpha 0 means 1
# alpha2 / len -> (alpha2 or 1.0) / len


# wrong: an int for alpha
# s2 = alpha2 -> s2 = int(alpha2)


# wrong: the base of the first call
bases = {}


def switch(W, old, new):
    update = lambda adapter: adapter[2] / len(adapter[0]) * adapter[1] @ adapter[0]
    return bases.setdefault(W.shape, W - update(old)) + update(new)


# wrong: the base is cached by W
bases = {}


def switch(W, old, new):
    update = lambda adapter: adapter[2] / len(adapter[0]) * adapter[1] @ adapter[0]
    return bases.setdefault(W.tobytes(), W - update(old)) + update(new)


# wrong: updates are cached by A
updates = {}


def switch(W, old, new):
    def update(adapter):
        A, B, alpha = adapter
        return updates.setdefault((A.tobytes(), B.shape, alpha), alpha / len(A) * B @ A)

    return W - update(old) + update(new)


# wrong: updates are cached without alpha
updates = {}


def switch(W, old, new):
    def update(adapter):
        A, B, alpha = adapter
        return updates.setdefault((A.tobytes(), B.tobytes()), alpha / len(A) * B @ A)

    return W - update(old) + update(new)


# wrong: believes its own record of what is merged
merged = {}


def switch(W, old, new):
    update = lambda adapter: adapter[2] / len(adapter[0]) * adapter[1] @ adapter[0]
    old = merged.get(W.shape, old)
    merged[W.shape] = new
    return W - update(old) + update(new)
