"""Exercise 8 with the corrections in two numbers (Kingma and Ba 2015, end of section 2)."""

import math

import numpy as np


def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    m = m + (1 - beta1) * (g - m)
    v = v + (1 - beta2) * (g * g - v)
    root = math.sqrt(1 - beta2**t)
    return w - (lr * root / (1 - beta1**t)) * m / (np.sqrt(v) + eps * root), m, v
