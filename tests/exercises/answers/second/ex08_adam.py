import numpy as np


# right: the formulas
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    return w - lr * mhat / (np.sqrt(vhat) + eps), m, v


# right: moments move towards the gradient
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m1 = m + (1 - beta1) * (g - m)
    v1 = v + (1 - beta2) * (np.square(g) - v)
    c1, c2 = 1 - np.power(float(beta1), t), np.sqrt(1 - np.power(float(beta2), t))
    step = np.divide(m1, np.sqrt(v1) / c2 + eps) * (lr / c1)
    return np.subtract(w, step), m1, v1


# right: number by number
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    new = [np.empty(w.shape), np.empty(w.shape), np.empty(w.shape)]
    for i in np.ndindex(w.shape):
        a = beta1 * float(m[i]) + (1.0 - beta1) * float(g[i])
        b = beta2 * float(v[i]) + (1.0 - beta2) * float(g[i]) ** 2
        new[0][i] = w[i] - lr * (a / (1 - beta1**t)) / ((b / (1 - beta2**t)) ** 0.5 + eps)
        new[1][i], new[2][i] = a, b
    return tuple(new)


# right: in place on copies, the efficient order with eps scaled along
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    w, m, v = w.copy(), m.copy(), v.copy()
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    root = (1 - beta2**t) ** 0.5
    w -= lr * root / (1 - beta1**t) * m / (np.sqrt(v) + eps * root)
    return w, m, v


# wrong: the efficient order, eps not scaled along
# return w - lr * mhat / (np.sqrt(vhat) + eps), m, v -> return w - lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps), m, v


# wrong: eps below the root
# (np.sqrt(vhat) + eps) -> np.sqrt(vhat + eps)


# wrong: eps squared below the root
# (np.sqrt(vhat) + eps) -> np.sqrt(vhat + eps**2)


# wrong: eps only against 0
# (np.sqrt(vhat) + eps) -> np.maximum(np.sqrt(vhat), eps)


# wrong: the usual eps
# + eps) -> + 1e-8)


# wrong: counts the steps itself
# mhat = m -> COUNT.append(1)\n    t = len(COUNT)\n    mhat = m
# def adam -> COUNT = []\n\n\ndef adam


# wrong: counts the steps of each shape itself
# mhat = m -> COUNT[w.shape] = t = COUNT.get(w.shape, 0) + 1\n    mhat = m
# def adam -> COUNT = {}\n\n\ndef adam


# wrong: keeps the moments itself
# m = beta1 * m + (1 - beta1) * g -> m = MOMENTS.get(w.shape, m) * beta1 + (1 - beta1) * g\n    MOMENTS[w.shape] = m
# def adam -> MOMENTS = {}\n\n\ndef adam


# wrong: corrected only in the first step
# mhat = m / (1 - beta1**t) -> t = 1 if t == 1 else 10**9\n    mhat = m / (1 - beta1**t)


# wrong: no correction from step 100 on
# mhat = m / (1 - beta1**t) -> t = t if t < 100 else 10**9\n    mhat = m / (1 - beta1**t)


# wrong: t counted from 0
# t) -> (t + 1))


# wrong: beta^t as beta t
# beta1**t -> beta1 * t
# beta2**t -> beta2 * t


# wrong: one beta corrects both
# beta2**t -> beta1**t


# wrong: the moments in place
# m = beta1 * m + (1 - beta1) * g -> m *= beta1\n    m += (1 - beta1) * g


# wrong: w in place
# return w - lr * mhat / (np.sqrt(vhat) + eps), m, v -> w -= lr * mhat / (np.sqrt(vhat) + eps)\n    return w, m, v


# wrong: hats are returned
# + eps), m, v -> + eps), mhat, vhat


# wrong: the second moment is the variance
# (1 - beta2) * g**2 -> (1 - beta2) * (g - m) ** 2


# wrong: the step is kept below lr
# return w - lr * mhat / (np.sqrt(vhat) + eps), m, v -> return w - lr * np.clip(mhat / (np.sqrt(vhat) + eps), -1, 1), m, v


# wrong: weight decay
# return w - -> return w * (1 - lr * 0.01) -


# wrong: no step where the gradient is 0
# return w - lr * mhat / (np.sqrt(vhat) + eps), m, v -> return np.where(g == 0, w, w - lr * mhat / (np.sqrt(vhat) + eps)), m, v


# wrong: the gradient is clipped to norm 1
# m = beta1 * m -> g = g / max(1.0, float(np.sqrt((g * g).sum())))\n    m = beta1 * m


# wrong: v never falls
# mhat = m -> v = np.maximum(v, V0)\n    mhat = m
# m = beta1 * m -> V0 = v\n    m = beta1 * m


# wrong: single precision moments
# mhat = m -> v = v.astype(np.float32)\n    mhat = m


# wrong: w, v, m
# + eps), m, v -> + eps), v, m


# wrong: a scalar becomes a vector
# return w - -> w, m, v = np.atleast_1d(w), np.atleast_1d(m), np.atleast_1d(v)\n    return w -


# wrong: beta1 and beta2 swapped
# beta1 * m + (1 - beta1) -> beta2 * m + (1 - beta2)
# beta2 * v + (1 - beta2) -> beta1 * v + (1 - beta1)
