"""Exercise 17: alpha / r = alpha' / r'."""

import math


def lora_scaling(alpha, r, use_rslora):
    return alpha / math.sqrt(r) if use_rslora else alpha / r


def same_scaling(alpha, r, new_r, use_rslora):
    ratio = new_r / r
    return alpha * (math.sqrt(ratio) if use_rslora else ratio)
