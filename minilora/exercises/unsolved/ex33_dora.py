"""Exercise 33 (lesson 11): DoRA, forward and backward (Liu et al. 2024, equation 5 and section 4.3)."""

import numpy as np


def dora_forward(
    x: np.ndarray, W0: np.ndarray, A: np.ndarray, B: np.ndarray, m: np.ndarray, alpha: float
) -> np.ndarray:
    """y = x W^T, where row i of W has the length |m_i| and the direction of row i of V = W0 + (alpha / r) B A.

    W_i = m_i V_i / |V_i|, with |V_i| = sqrt(sum_j V_ij^2). No row of V is 0.

    x (n, k)   W0 (d, k)   A (r, k)   B (d, r)   m (d,), of either sign   alpha a number

    Returns y (n, d).
    """
    raise NotImplementedError


def dora_backward(
    dy: np.ndarray, x: np.ndarray, W0: np.ndarray, A: np.ndarray, B: np.ndarray, m: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The gradients for x, A, B and m from dy (n, d); W0 is frozen.

    Hold the lengths |V_i| constant: nothing flows through them, although A and B change them. (So do the paper, to
    save memory, and PEFT.)

    Returns dx (n, k), dA (r, k), dB (d, r), dm (d,).
    """
    raise NotImplementedError
