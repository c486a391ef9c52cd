"""Exercise 19 keeping the bits of W0 as the exclusive or of both weights' bits."""

import numpy as np


def merge(W0, A, B, alpha):
    W = (W0 + alpha / len(A) * (B @ A)).astype(W0.dtype)
    bits = np.uint32 if W0.dtype == np.float32 else np.uint64
    return W, {"difference": W.view(bits) ^ np.ascontiguousarray(W0).view(bits)}


def unmerge(W, kept):
    return (W.view(kept["difference"].dtype) ^ kept["difference"]).view(W.dtype)
