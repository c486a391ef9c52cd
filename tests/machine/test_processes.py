"""Processes that share a batch agree with a single process, and exchange only A's and B's gradients."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from minilora import GPT, LoraConfig, add_lora, fit, loss_and_grads
from minilora.analysis import reduced_bytes
from minilora.files.adapter import read_adapter
from minilora.machine.processes import process_share, world
from minilora.testing.bounds import gamma
from tests.models import LLAMAS, TINY, assert_same, batch, gpt, llama, scramble

MPIRUN = shutil.which("mpirun", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
TARGETS = ("q_proj", "v_proj", "down_proj")
ROUNDING = gamma(64 * 24, "float64")  # as in test_side_by_side: sums of a few dozen terms, a few dozen deep


class ThreadWorld:
    """As much of MPI as `all_reduce` uses, between threads, counting the bytes that each contributes."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, threading.Barrier(size, timeout=60)
        self.sent: list[np.ndarray] = [np.empty(0)] * size
        self.bytes = [0] * size

    def run(self, work: Callable[[ThreadComm], object]) -> list:
        """What `work` returns in each process."""
        results: list = [None] * self.size

        def process(rank: int) -> None:
            results[rank] = work(ThreadComm(self, rank))

        threads = [threading.Thread(target=process, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class ThreadComm:
    def __init__(self, world: ThreadWorld, rank: int) -> None:
        self.world, self.rank, self.size = world, rank, world.size

    def Allreduce(self, sent: np.ndarray, total: np.ndarray) -> None:
        self.world.sent[self.rank] = sent
        self.world.bytes[self.rank] += sent.nbytes
        self.world.barrier.wait()
        total[...] = sum(self.world.sent)
        self.world.barrier.wait()


def adapted(**options) -> GPT:
    return scramble(add_lora(gpt(), LoraConfig(r=2, target_modules=TARGETS, **options)))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_one_process(size, dropout):
    """With dropout too, since each piece of the batch has its own seed; and with more processes than pieces."""
    model, (tokens, targets, weights) = adapted(lora_dropout=dropout), batch(B=5)

    def work(comm):
        return loss_and_grads(model, tokens, targets, weights, rng=np.random.default_rng(0), comm=comm)

    loss, grads = loss_and_grads(model, tokens, targets, weights, rng=np.random.default_rng(0))
    results = ThreadWorld(size).run(work)
    for process_loss, process_grads in results:
        assert abs(process_loss - loss) <= ROUNDING * loss
        assert process_grads.keys() == grads.keys()
        for name, g in grads.items():
            assert process_grads[name].shape == g.shape
            assert np.abs(process_grads[name] - g).max() <= ROUNDING * np.abs(g).max()
        assert_same(process_grads, results[0][1])


@pytest.mark.parametrize("config", LLAMAS.values(), ids=LLAMAS)
def test_a_whole_llama_has_the_gradients_of_one_process(config):
    model, (tokens, targets, weights) = llama(config), batch(B=5)
    loss, grads = loss_and_grads(model, tokens, targets, weights)
    for process_loss, process_grads in ThreadWorld(3).run(
        lambda comm: loss_and_grads(model, tokens, targets, weights, comm=comm)
    ):
        assert abs(process_loss - loss) <= ROUNDING * loss
        assert process_grads.keys() == grads.keys()
        for name, g in grads.items():
            assert np.abs(process_grads[name] - g).max() <= ROUNDING * np.abs(g).max()


def test_what_is_reduced_is_a_and_b_and_the_loss():
    model = adapted()
    C, r = TINY.n_embd, 2
    by_hand = 8 * TINY.n_layer * (2 * r * (C + C) + r * (4 * C + C))  # q and v, and down_proj, in float64
    everything = 8 * TINY.parameter_count
    threads = ThreadWorld(2)
    threads.run(lambda comm: loss_and_grads(model, *batch(B=4), comm=comm))
    assert reduced_bytes(model) == (by_hand, everything)
    assert threads.bytes == [by_hand + 8] * 2
    full = ThreadWorld(2)
    full.run(lambda comm: loss_and_grads(gpt(), *batch(B=4), comm=comm))
    assert full.bytes == [everything + 8] * 2


def test_worker_threads_reduce_a_and_b_only():
    """Each worker's gradients are a dictionary of what trains; nothing as large as W0 is allocated."""
    model = adapted()
    _, grads = loss_and_grads(model, *batch(B=6), workers=3)
    assert sum(g.nbytes for g in grads.values()) == reduced_bytes(model).trainable
    assert all(name.endswith(("lora_A", "lora_B")) for name in grads)


def test_processes_share_all_pieces():
    for pieces in range(9):
        for size in range(1, 6):
            shares = [process_share(pieces, ThreadComm(ThreadWorld(size), rank)) for rank in range(size)]
            assert [piece for share in shares for piece in share] == list(range(pieces))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fit_over_processes_ends_in_one_model_and_one_checkpoint(tmp_path):
    data = np.random.default_rng(0).integers(TINY.vocab_size, size=80)

    def work(comm):
        model = adapted(lora_dropout=0.1)
        checkpoint = tmp_path / f"{comm.rank}.npz"
        result = fit(model, data, steps=3, lr=0.01, batch_size=5, checkpoint=checkpoint, progress=False, comm=comm)
        return model.state_dict(), result.losses

    alone = adapted(lora_dropout=0.1)
    result = fit(alone, data, steps=3, lr=0.01, batch_size=5, progress=False)
    for state, losses in ThreadWorld(3).run(work):
        np.testing.assert_allclose(losses, result.losses, rtol=3 * 0.01 * ROUNDING / 1e-8)
        for name, array in alone.state_dict().items():
            # Adam divides by at least 1e-8: an error e in a gradient moves a weight by at most lr e / 1e-8 a step.
            assert np.abs(state[name] - array).max() <= 3 * 0.01 * ROUNDING / 1e-8
    assert [path.name for path in tmp_path.iterdir()] == ["0.npz"]


def test_without_an_mpi_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ValueError, match=r"install minilora\[mpi\]"):
        world()


@pytest.mark.skipif(MPIRUN is None or not importlib.util.find_spec("mpi4py"), reason="needs mpi4py and an MPI")
def test_mpirun_trains_what_one_process_trains(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("It was the best of times, it was the worst of times. " * 20, encoding="utf-8")
    options = f"--data {text} --steps 3 --block-size 16 --batch-size 4 --threads 1".split()
    train = [sys.executable, "-m", "minilora", "train", *options]
    # By default, Open MPI refuses to run as root or with more processes than cores.
    allowed = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }

    def run(*command: str) -> str:
        result = subprocess.run(command, env=os.environ | allowed, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        return result.stdout

    run(*train, "--out", str(tmp_path / "one.npz"))
    printed = run(str(MPIRUN), "-n", "2", *train, "--mpi", "--out", str(tmp_path / "two.npz"))
    assert "processes: 2, each reduces 65,536 bytes of gradients a step; full fine-tuning would reduce" in printed
    assert printed.count("wrote") == 1
    # The batch is two pieces, one per process, so they add the same two numbers that one process would add.
    assert_same(*(read_adapter(tmp_path / f"{name}.npz").tensors for name in ("two", "one")))
