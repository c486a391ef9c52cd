import numpy as np


# right: the chain rule
def subspace_step(theta0, P, z, gradient, lr):
    return z - lr * (P.T @ gradient(theta0 + P @ z))


# right: the gradient times P from the left
def subspace_step(theta0, P, z, gradient, lr):
    theta = np.add(theta0, np.dot(P, z))
    g = np.asarray(gradient(theta)).copy()
    return z - np.dot(g, P) * lr


# right: coordinate by coordinate
def subspace_step(theta0, P, z, gradient, lr):
    theta = theta0.astype(float).copy()
    for column, number in zip(P.T, z):
        theta += number * column
    g = gradient(theta)
    new = np.empty(z.shape)
    for m in range(len(z)):
        new[m] = z[m] - lr * np.sum(P[:, m] * g)
    return new


# right: contraction
def subspace_step(theta0, P, z, gradient, lr):
    slope = np.einsum("Dm,D->m", P, gradient(theta0 + np.einsum("Dm,m->D", P, z)))
    return np.subtract(z, np.multiply(lr, slope))


# wrong: the gradient where training started
# gradient(theta0 + P @ z) -> gradient(theta0.copy())


# wrong: the gradient at P z
# theta0 + P @ z -> P @ z


# wrong: the gradient at theta0 - P z
# theta0 + P -> theta0 - P


# wrong: a square P is not transposed
# P.T @ -> (P.T if P.shape[0] != P.shape[1] else P) @


# wrong: the pseudo-inverse
# P.T @ -> np.linalg.pinv(P) @


# wrong: columns of length 1
# P.T @ -> (P / np.linalg.norm(P, axis=0)).T @


# wrong: P's columns of length 1 everywhere
# return z -> P = P / np.linalg.norm(P, axis=0)\n    return z


# wrong: moves theta0
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> theta0 += P @ z\n    return z - lr * (P.T @ gradient(theta0))


# wrong: moves theta0 and back
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> theta0 += P @ z\n    g = gradient(theta0)\n    theta0 -= P @ z\n    return z - lr * (P.T @ g)


# wrong: z in place
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> z -= lr * (P.T @ gradient(theta0 + P @ z))\n    return z


# wrong: uphill
# z - lr -> z + lr


# wrong: the step alone
# return z - -> return -


# wrong: the new theta
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> z = z - lr * (P.T @ gradient(theta0 + P @ z))\n    return theta0 + P @ z


# wrong: theta as a column
# theta0 + P @ z -> (theta0 + P @ z)[:, None]


# wrong: z comes back as a column
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> return (z - lr * (P.T @ gradient(theta0 + P @ z)))[:, None]


# wrong: one direction gives a number
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> return np.squeeze(z - lr * (P.T @ gradient(theta0 + P @ z)))


# wrong: two steps
# return z - -> z = z - lr * (P.T @ gradient(theta0 + P @ z))\n    return z -


# wrong: divided by the number of parameters
# lr * (P.T -> lr / len(theta0) * (P.T


# wrong: theta of the first call
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> theta = SEEN.setdefault(P.shape, theta0 + P @ z)\n    return z - lr * (P.T @ gradient(theta.copy()))
# def sub -> SEEN = {}\n\n\ndef sub


# wrong: P of the first call of its shape
# return z -> P = SEEN.setdefault(P.shape, P.copy())\n    return z
# def sub -> SEEN = {}\n\n\ndef sub


# wrong: the gradient of the first call
# return z -> gradient = SEEN.setdefault("gradient", gradient)\n    return z
# def sub -> SEEN = {}\n\n\ndef sub


# wrong: the gradient is shortened to length 1
# return z - lr * (P.T @ gradient(theta0 + P @ z)) -> g = P.T @ gradient(theta0 + P @ z)\n    return z - lr * g / max(1.0, float(np.sqrt(g @ g)))


# wrong: the learning rate 0 is taken for 0.01
# lr * (P.T -> (lr or 0.01) * (P.T


# wrong: no step from z = 0
# return z - -> if not z.any():\n        return z.copy()\n    return z -


# wrong: single precision theta
# theta0 + P @ z -> (theta0 + P @ z).astype(np.float32)


# wrong: reads P's memory row after row
# P.T @ -> P.ravel(order="K").reshape(P.shape).T @
