"""Exercise 14 by adding up the sides."""

import numpy as np


def lora_parameters(shapes, r):
    return int(np.sum(shapes)) * r
