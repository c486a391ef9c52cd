import numpy as np


# right: the chain rule
def subspace_step(theta0, P, z, gradient, lr):
    theta = theta0 + P @ z
    step = lr * P.T @ gradient(theta)
    return z - step


# right: entry by entry
def subspace_step(theta0, P, z, gradient, lr):
    g = gradient(theta0 + np.dot(P, z))
    return np.array([z[j] - lr * np.sum(P[:, j] * g) for j in range(z.shape[0])])


# right: einsum
def subspace_step(theta0, P, z, gradient, lr):
    theta = np.einsum("im,m->i", P, z) + theta0
    return np.subtract(z, lr * np.einsum("im,i->m", P, gradient(theta)))


# right: a vector times a matrix
def subspace_step(theta0, P, z, gradient, lr):
    new = z.copy()
    new -= lr * (gradient(sum((P[:, j] * z[j] for j in range(len(z))), theta0)) @ P)
    return new


# wrong: the gradient at theta0
# theta = theta0 + P @ z -> theta = theta0


# wrong: theta0 left out
# theta = theta0 + P @ z -> theta = P @ z


# wrong: minus P z
# theta0 + P @ z -> theta0 - P @ z


# wrong: P z twice
# theta0 + P @ z -> theta0 + 2 * P @ z


# wrong: P not transposed, when square
# lr * P.T @ -> lr * (P if P.shape[0] == P.shape[1] else P.T) @


# wrong: pinv for the transpose
# P.T @ -> np.linalg.pinv(P) @


# wrong: P normalised
# theta = -> P = P / np.linalg.norm(P, axis=0); theta =


# wrong: P normalised in the backward only
# step = lr * P.T -> step = lr * (P / np.linalg.norm(P, axis=0)).T


# wrong: up
# z - step -> z + step


# wrong: no rate
# lr * P.T -> P.T


# wrong: the step
# return z - step -> return -step


# wrong: theta
# return z - step -> return theta0 + P @ (z - step)


# wrong: the new theta, moved in full space
# return z - step -> return theta - lr * gradient(theta)


# wrong: two steps
# return z - step -> z = z - step; return z - lr * P.T @ gradient(theta0 + P @ z)


# wrong: the mean over D
# lr * P.T -> lr / len(theta0) * P.T


# wrong: the sign of the gradient
# gradient(theta) -> np.sign(gradient(theta))


# wrong: clipped
# gradient(theta) -> np.clip(gradient(theta), -1, 1)


# wrong: the gradient at the new point (an implicit step, once)
# gradient(theta) -> gradient(theta - lr * P @ (P.T @ gradient(theta)))


# wrong: weight decay on z
# return z - step -> return 0.99 * z - step


# wrong: a column
# return z - step -> return (z - step)[:, None]


# wrong: the first direction moves only
# return z - step -> step[1:] = 0; return z - step


# wrong: theta0 in place
# theta = theta0 + P @ z -> theta0 += P @ z; theta = theta0


# wrong: z in place
# return z - step -> z -= step; return z


# wrong: float32
# theta = theta0 + P @ z -> theta = (theta0 + P @ z).astype(np.float32)


# wrong: numerical slope of something it does not have
# gradient(theta) -> (gradient(theta + 1e-4) + gradient(theta - 1e-4)) / 2


# wrong: P of the first call
kept = {}


def subspace_step(theta0, P, z, gradient, lr):
    P = kept.setdefault(P.shape, P)
    return z - lr * P.T @ gradient(theta0 + P @ z)


# wrong: theta0 of the first call
kept = {}


def subspace_step(theta0, P, z, gradient, lr):
    theta0 = kept.setdefault(theta0.shape, theta0)
    return z - lr * P.T @ gradient(theta0 + P @ z)


# wrong: the gradient is cached by z
kept = {}


def subspace_step(theta0, P, z, gradient, lr):
    return z - lr * P.T @ kept.setdefault((z.tobytes(), len(theta0)), gradient(theta0 + P @ z))


# wrong: the result is cached without the rate
kept = {}


def subspace_step(theta0, P, z, gradient, lr):
    key = theta0.tobytes(), P.tobytes(), z.tobytes()
    return kept.setdefault(key, z - lr * P.T @ gradient(theta0 + P @ z))


# wrong: z goes on from its last value
kept = {}


def subspace_step(theta0, P, z, gradient, lr):
    z = kept.get((z.shape, theta0.shape), z)
    kept[z.shape, theta0.shape] = z - lr * P.T @ gradient(theta0 + P @ z)
    return kept[z.shape, theta0.shape]


# wrong: knows the gradient
def subspace_step(theta0, P, z, gradient, lr):
    theta = theta0 + P @ z
    return z - lr * P.T @ (theta**2 + 0.5)


# wrong: a linear gradient, from two points
def subspace_step(theta0, P, z, gradient, lr):
    at0 = gradient(np.zeros_like(theta0))
    slope = gradient(np.ones_like(theta0)) - at0
    return z - lr * P.T @ (at0 + slope * (theta0 + P @ z))
