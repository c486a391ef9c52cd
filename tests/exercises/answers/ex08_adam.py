import numpy as np


# right: the four lines
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    mhat = m / (1 - beta1**t)
    vhat = v / (1 - beta2**t)
    return w - lr * mhat / (np.sqrt(vhat) + eps), m, v


# right: moved towards g
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    new_m = m + (1 - beta1) * (g - m)
    new_v = v + (1 - beta2) * (g * g - v)
    step = (new_m / (1 - beta1**t)) / ((new_v / (1 - beta2**t)) ** 0.5 + eps)
    return [w + -lr * step, new_m, new_v]


# right: corrections in the learning rate and in eps
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + g - beta1 * g, beta2 * v + np.square(g) - beta2 * np.square(g)
    root = (1 - beta2**t) ** 0.5
    return w - lr * root / (1 - beta1**t) * m / (np.sqrt(v) + eps * root), m, v


# right: copies, then in place
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    w, m, v = (np.array(a, copy=True) for a in (w, m, v))
    m[...] = np.multiply(m, beta1) + np.multiply(g, 1 - beta1)
    v[...] = np.multiply(v, beta2) + np.multiply(np.power(g, 2), 1 - beta2)
    w[...] -= lr * np.divide(m, 1 - np.power(beta1, t)) / (np.sqrt(np.divide(v, 1 - np.power(beta2, t))) + eps)
    return w, m, v


# wrong: no corrections
# mhat = m / (1 - beta1**t) -> mhat = m
# vhat = v / (1 - beta2**t) -> vhat = v


# wrong: m only is corrected
# vhat = v / (1 - beta2**t) -> vhat = v


# wrong: v only is corrected
# mhat = m / (1 - beta1**t) -> mhat = m


# wrong: betas swapped in the corrections
# (1 - beta1**t) -> (1 - beta3**t)
# (1 - beta2**t) -> (1 - beta1**t)
# beta3 -> beta2


# wrong: t from 0
# **t) -> **(t - 1 or 1))


# wrong: t + 1
# **t) -> **(t + 1))


# wrong: the first step's correction at every step
# **t) -> **1)


# wrong: beta * t for beta ** t
# beta1**t -> beta1 * t / (1 + t)


# wrong: eps inside the root
# (np.sqrt(vhat) + eps) -> np.sqrt(vhat + eps)


# wrong: eps squared inside the root
# (np.sqrt(vhat) + eps) -> np.sqrt(vhat + eps**2)


# wrong: eps before the correction
# np.sqrt(vhat) + eps -> (np.sqrt(v) + eps) / np.sqrt(1 - beta2**t)


# wrong: no root
# np.sqrt(vhat) -> vhat


# wrong: no eps
# np.sqrt(vhat) + eps -> np.sqrt(vhat)


# wrong: eps as a floor
# np.sqrt(vhat) + eps -> np.maximum(np.sqrt(vhat), eps)


# wrong: up the gradient
# w - lr -> w + lr


# wrong: lr left out
# lr * mhat -> mhat


# wrong: hats returned
# eps), m, v -> eps), mhat, vhat


# wrong: the moments before the step are returned
# m = beta1 * m + -> old = m, v; m = beta1 * m +
# eps), m, v -> eps), *old


# wrong: g for g^2
# g**2 -> g


# wrong: m^2 for g^2
# g**2 -> m**2


# wrong: |g| for g^2
# g**2 -> abs(g)


# wrong: the new gradient with beta
# beta1 * m + (1 - beta1) * g -> (1 - beta1) * m + beta1 * g


# wrong: momentum without 1 - beta
# (1 - beta1) * g -> g


# wrong: Nesterov's step
# lr * mhat -> lr * (beta1 * mhat + (1 - beta1) * g / (1 - beta1**t))


# wrong: AMSGrad
# vhat = v / -> vhat = np.maximum(v, g**2) / 


# wrong: weight decay
# return w - -> return 0.999 * w -


# wrong: the sign of mhat
# mhat / (np.sqrt(vhat) + eps) -> np.sign(mhat)


# wrong: order of the results
# eps), m, v -> eps), v, m


# wrong: m in place
# m = beta1 * m + (1 - beta1) * g -> m *= beta1; m += (1 - beta1) * g


# wrong: w in place
# return w - lr * mhat / (np.sqrt(vhat) + eps), m, v -> w -= lr * mhat / (np.sqrt(vhat) + eps); return w, m, v


# wrong: counts its steps itself
calls = []


def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    calls.append(1)
    t = len(calls)
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


# wrong: keeps the moments itself
state = {}


def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = state.get(w.shape, (m, v))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    state[w.shape] = m, v
    return w - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


# wrong: scalars only become arrays: a result of one axis more for 0-D
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    w, g, m, v = (np.atleast_1d(a) for a in (w, g, m, v))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return w - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


# wrong: a vector's loop
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    new = [[], [], []]
    for i in range(len(w)):
        mi = beta1 * m[i] + (1 - beta1) * g[i]
        vi = beta2 * v[i] + (1 - beta2) * g[i] ** 2
        wi = w[i] - lr * mi / (1 - beta1**t) / (float(np.sqrt(vi / (1 - beta2**t))) + eps)
        for values, value in zip(new, (wi, mi, vi)):
            values.append(value)
    return tuple(np.array(values) for values in new)
