"""Exercise 12 (lesson 5): how LoRA starts (Hu et al. 2021, section 4.1)."""

import numpy as np


def lora_init(d: int, k: int, r: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors at the start of training, such that B A = 0 but B still receives a gradient.

    d, k   the adapted weight is (d, k)
    r      the rank
    seed   from 0 to 2^32 - 1 (np.random.default_rng(seed)); equal seeds give equal factors, different seeds
           different ones

    Returns A (r, k), Gaussian with mean 0 and standard deviation 1 / sqrt(k), and B (d, r), all zeros.
    """
    raise NotImplementedError
