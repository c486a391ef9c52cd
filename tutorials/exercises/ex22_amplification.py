"""Exercise 22 (lesson 10): how much dW amplifies what W hardly used (Hu et al. 2021, section 7.3)."""

import numpy as np


def amplification_factor(W: np.ndarray, dW: np.ndarray, r: int) -> float:
    """||dW||_F / ||U^T W V||_F, U (d, r) and V (k, r) holding dW's r leading left and right singular vectors.

    W, dW   (d, k); dW is of rank r, and U^T W V is W's part in the directions that dW changes
    r       the rank

    Returns a number.
    """
    raise NotImplementedError
