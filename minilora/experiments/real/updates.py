"""What is measured on the weights that changed: how large dW is beside W, how many directions it has, what it
amplifies (sections 4.1 and 7 of the paper), each beside a random control."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minilora.analysis import gaussian_control, random_similarity, rank_for_energy, similarity_grid
from minilora.files.adapter import Adapter
from minilora.hf import load_pretrained
from minilora.lora import lora_layers
from minilora.machine.blas import single_threaded_blas
from minilora.nn import Decoder

BLOCKS = 2  # how many are looked at closely, evenly spaced


def measured(model: Decoder, base: Path) -> dict[str, dict[str, float]]:
    """Kind of matrix -> its numbers, means over blocks; {} if the method changes no matrix by itself.

    norm       ||dW|| / ||W0||, Frobenius, over all blocks together
    and for the blocks looked at closely:
    rank90     directions that hold 90 % of ||dW||^2;  rank90_W0, rank90_noise: the same of W0, and of Gaussian noise
    amplified  ||dW|| / ||U^T W0 V|| in dW's own r directions (table 7), r its rank, at most 4
    own, random, in_W  ||U^T W0 V|| in the r directions of dW, of noise, and of W0 itself
    """
    fresh = load_pretrained(base)[0].named_parameters()
    depth, sums = model.layers, defaultdict[str, list[tuple[float, float]]](list)
    close: dict[str, list[dict[str, float]]] = defaultdict(list)
    looked_at = {round(i * (depth - 1) / max(1, BLOCKS - 1)) for i in range(BLOCKS)}
    rng = np.random.default_rng(0)
    with single_threaded_blas():
        for path, dW in changes(model, fresh):
            block, kind = int(path.split(".")[1]), path.rpartition(".")[2]
            W0 = fresh[f"{path}.weight"].data
            sums[kind].append((float(np.linalg.norm(dW)) ** 2, float(np.linalg.norm(W0)) ** 2))
            if block in looked_at:
                close[kind].append(_closely(W0, dW, rng))
    return {
        kind: {
            "norm": round(float(np.sqrt(np.divide(*np.sum(pairs, axis=0)))), 5),
            **{name: round(float(np.mean([one[name] for one in close[kind]])), 4) for name in close[kind][0]},
        }
        for kind, pairs in sums.items()
    }


def changes(model: Decoder, fresh: Any) -> Iterator[tuple[str, np.ndarray]]:
    """(path, dW) of every matrix in the blocks that the method has changed."""
    for path, layer in lora_layers(model):
        if path.startswith("blocks."):
            yield path, layer.delta()
    for name, parameter in model.named_parameters().items():
        if name in fresh and parameter.trainable and name.startswith("blocks.") and parameter.data.ndim == 2:
            yield name.removesuffix(".weight"), parameter.data - fresh[name].data


def _closely(W0: np.ndarray, dW: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    svds = [np.linalg.svd(M, full_matrices=False) for M in (dW, W0, gaussian_control(dW, rng).astype(dW.dtype))]
    sigma = svds[0][1]
    r = min(4, int((sigma > 1e-4 * sigma[0]).sum()))
    own, in_W, random = (float(np.linalg.norm(U[:, :r].T @ W0 @ Vt[:r].T)) for U, _, Vt in svds)
    ranks = [rank_for_energy(values) for _, values, _ in svds]
    norm = float(np.linalg.norm(dW))
    return {
        **dict(zip(("rank90", "rank90_W0", "rank90_noise"), ranks, strict=True)),
        **{"amplified": norm / own, "own": own, "random": random, "in_W": in_W},
    }


def shared(one: Adapter, other: Adapter) -> dict[str, dict[str, float]]:
    """Kind of matrix -> how much of A's directions two adapters share (figures 3 and 4), means over blocks.

    top: phi(1, 1);  all: phi(r, r), r the smaller rank;  chance: phi(r, r) of random directions
    """
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for path in one.paths:
        A, other_A = one.tensors[f"{path}.lora_A"], other.tensors[f"{path}.lora_A"]
        grid, r = similarity_grid(A, other_A), min(len(A), len(other_A))
        chance = random_similarity(r, r, A.shape[1])
        found[path.rpartition(".")[2]].append((float(grid[0, 0]), float(grid[r - 1, r - 1]), chance))
    means = {kind: np.mean(rows, axis=0).round(4).tolist() for kind, rows in sorted(found.items())}
    return {kind: dict(zip(("top", "all", "chance"), values, strict=True)) for kind, values in means.items()}
