"""The floor: only the matrix products of a LoRA step, on two threads with half the batch each.

No NumPy implementation of the same step can be faster than this. The products are those of minilora's step,
with attention in the same blocks of queries, so skipping masked work lowers the floor too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from minilora.attention import query_blocks
from minilora.machine.blas import single_threaded_blas
from tests.benchmarks.shapes import LORA, WORKERS, Shape


def products(shape: Shape, B: int) -> Callable[[], None]:
    """Runs the products of B rows, with operands of the right shapes, allocated once."""
    V, T, n_layer, H, C, _ = shape
    r = LORA.r
    rng = np.random.default_rng(0)

    def array(*size: int) -> np.ndarray:
        return rng.standard_normal(size).astype(np.float32)

    x, h, xr, logits = array(B * T, C), array(B * T, 4 * C), array(B * T, r), array(B * T, V)
    W, up, down, wte, A, Bm = array(C, C), array(4 * C, C), array(C, 4 * C), array(V, C), array(r, C), array(C, r)
    q = array(B, H, T, C // H)
    blocks = [(queries, keys, array(B, H, keys.stop, T)[..., queries].copy()) for queries, keys in query_blocks(T, T)]

    def forward_layer() -> None:
        for _ in range(4):  # q, k, v, o
            x @ W.T
        for _ in range(2):  # LoRA on q and v
            x @ A.T, xr @ Bm.T
        for queries, keys, E in blocks:
            q[:, :, keys] @ q[:, :, queries].swapaxes(-1, -2), E.swapaxes(-1, -2) @ q[:, :, keys]
        x @ up.T, h @ down.T

    def backward_layer(lowest: bool) -> None:
        x @ down, h @ up, x @ W  # the MLP and o_proj
        for queries, keys, E in blocks:
            E @ q[:, :, queries]  # dv
            q[:, :, keys] @ q[:, :, queries].swapaxes(-1, -2)  # dP
            E.swapaxes(-1, -2) @ q[:, :, keys]  # dq
            if not lowest:
                E @ q[:, :, queries]  # dk
        for _ in range(2):  # dB, dh, dA and the branch's dx
            x.T @ xr, x @ Bm, xr.T @ x
            if not lowest:
                xr @ A
        if not lowest:
            for _ in range(3):  # dx through q, k, v
                x @ W

    def run() -> None:
        for _ in range(n_layer):
            forward_layer()
        x @ wte.T, logits @ wte
        for i in reversed(range(n_layer)):
            backward_layer(lowest=i == 0)

    return run


def floor_step(shape: Shape) -> Callable[[], None]:
    """Runs the products of the whole batch, each worker's share on its own thread."""
    share = products(shape, shape.batch_size // WORKERS)

    def step() -> None:
        with single_threaded_blas():
            threads = [threading.Thread(target=share) for _ in range(WORKERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    return step
