"""Exercise 25 (lesson 12): from one task to another on the same base (Hu et al. 2021, section 4.1)."""

import numpy as np

Adapter = tuple[np.ndarray, np.ndarray, float]  # A (r, k), B (d, r), alpha; r may differ from adapter to adapter


def switch(W: np.ndarray, old: Adapter, new: Adapter) -> np.ndarray:
    """The weight with `new` merged, from the weight W (d, k) that has `old` merged.

    The base is not at hand: recover it by subtracting the old update, then add the new one. W must be as before
    when you return.

    Returns a weight (d, k).
    """
    raise NotImplementedError
