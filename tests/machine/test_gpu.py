"""CuPy against NumPy: every op, a step, fifty steps, the benchmark. Marked `gpu`, and skipped where there is none:

    python -m pytest tests/machine/test_gpu.py -m gpu -rs

Without a GPU, the comparisons and bounds run on the stand-in (`strict_array`).
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from minilora import GPT, Adam, GPTConfig, TextData, fit, generate, loss_and_grads
from minilora.machine.backend import DeviceError, load_cupy, to_host
from minilora.testing.bounds import gamma
from tests.benchmarks import gpu as benchmark
from tests.benchmarks.shapes import Shape
from tests.machine import strict_array
from tests.methods.test_methods import BOUNDARY, OPTIONS, trained
from tests.models import batch
from tests.op_cases import bounds, cases, moved

SHAPE = GPTConfig(vocab_size=32, block_size=16, n_layer=2, n_head=2, n_embd=16)


@pytest.fixture(params=["stand-in", pytest.param("gpu", marks=pytest.mark.gpu)])
def xp(request) -> Iterator[ModuleType]:
    """CuPy, or what stands in for it."""
    if request.param == "stand-in":
        with strict_array.installed():
            yield strict_array.cupy
        return
    try:
        yield load_cupy()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases("float32"))
def test_every_op_is_right_to_rounding(xp, name, dtype):
    """float32 against the host's float64; float64 against the host's as well, where both sides may err."""
    function, arguments = cases(dtype)[name]
    double = moved(arguments, lambda x: x.astype(np.float64) if x.dtype.kind == "f" else x)
    expected: list[np.ndarray] = []
    found: list[np.ndarray] = []
    moved([function(*double)], expected.append)
    moved([function(*moved(arguments, xp.asarray))], lambda x: found.append(to_host(x)))
    both = 1 if dtype == "float32" else 2
    for one, other, bound in zip(found, expected, bounds(name, dtype), strict=True):
        assert one.dtype == dtype
        assert (abs(one - other) <= both * bound).all(), f"{name} errs by {(abs(one - other) / bound).max():.2g} bounds"


@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_of_every_method_is_the_hosts_to_rounding(xp, name):
    """In float64, where rounding is far below what a mistake would change. A loss or gradient is some dozens of sums
    deep, of at most 4 C = 24 or B T = 20 terms; gradients are compared with the largest of their array."""
    host = trained(name)
    device = copy.deepcopy(host).to("cupy")
    tokens, rounding = batch(B=5), gamma(64 * 24, "float64")
    (loss, grads), (found_loss, found) = loss_and_grads(host, *tokens), loss_and_grads(device, *tokens)
    assert abs(float(found_loss) - loss) <= rounding * loss
    assert found.keys() == grads.keys()
    for name, g in grads.items():
        assert abs(to_host(found[name]) - g).max() <= rounding * max(abs(g).max(), 1e-3), name
    # Adam's update from the same gradients: a dozen roundings of the weight and of the update, which is below lr = 0.1.
    before = host.state_dict()
    for model, gradients in ((host, grads), (device, {name: xp.asarray(g) for name, g in grads.items()})):
        Adam(model, lr=0.1).step(gradients)
    after = device.state_dict()
    for name, w in host.state_dict().items():
        assert (abs(after[name] - w) <= gamma(16, "float64") * (abs(before[name]) + 0.1)).all(), name


def test_fifty_steps_stray_no_further_than_float32_does_on_the_host(xp):
    """Training magnifies rounding by an unknown factor, so we measure it: the distance between the host's own float32
    and float64. The device may stray from float64 by four times the largest of these."""
    data = TextData(np.random.default_rng(0).integers(32, size=400), 16)
    options = dict(steps=50, lr=1e-2, batch_size=8, progress=False)
    losses = {}
    runs = {"exact": ("float64", "numpy"), "host": ("float32", "numpy"), "device": ("float32", "cupy")}
    for name, (dtype, device) in runs.items():
        model = GPT(replace(SHAPE, dtype=dtype), seed=0).to(device)
        losses[name] = np.array(fit(model, data, **options).losses)
    strayed = abs(losses["host"] - losses["exact"]).max()
    assert losses["exact"][-1] < losses["exact"][0] - 0.05
    assert 0 < strayed < 1e-3
    assert abs(losses["device"] - losses["exact"]).max() <= 4 * strayed


@pytest.mark.parametrize("name", OPTIONS)
def test_greedy_text_is_the_hosts(xp, name):
    host, prompts = trained(name), [[0, BOUNDARY, 1], [2, 2, BOUNDARY]]
    device = copy.deepcopy(host).to("cupy")
    texts = [generate(model, prompts, 4, temperature=0) for model in (device, host)]
    np.testing.assert_array_equal(*texts)


@pytest.mark.parametrize("lora", [True, False])
def test_the_benchmark_measures(xp, lora):
    row = benchmark.step_row("tiny", Shape(16, 8, 1, 2, 8, 2), lora, seconds=0.01)
    assert row["GPU ms"] > 0 and row["CPU ms"] > 0 and row["GPU tokens/s"] > 0
    assert (row["arrays in"], row["arrays out"]) == (3, 0)
    assert benchmark.matmul_rate(xp, n=8, seconds=0.01) > 0


def test_the_benchmark_says_in_one_line_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert benchmark.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "no GPU: CuPy cannot be imported" in said.err
