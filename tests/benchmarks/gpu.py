"""A training step on the GPU beside the CPU's: time, tokens a second, share of the device's own rate, memory.

    python -m tests.benchmarks.gpu                # all shapes, up to GPT-2 small's
    python -m tests.benchmarks.gpu --only S,M --seconds 2

A step is forward, backward and Adam, until they are done. `of its rate`: 6 operations a parameter and token (2 forward,
4 backward; LoRA skips the 2 of dW) over the time, as part of what the device does in a product of two 4096 x 4096
float32 matrices. `peak MiB` is what the memory pool took from the device. Transfers (arrays copied in and out in one
step) are counted on the tests' stand-in, since CuPy counts none.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from minilora.machine.backend import DeviceError, load_cupy, synchronize
from minilora.machine.timing import interleaved
from tests.benchmarks.report import markdown
from tests.benchmarks.shapes import SHAPES, Shape, our_model, step_of
from tests.machine import strict_array

ALL = {**SHAPES, "GPT-2 small": Shape(50257, 1024, 12, 12, 768, 4)}


def seconds_of(run: Callable[[], object], wait: Callable[[], None], seconds: float) -> float:
    """Median time of a call that is waited for, over about `seconds`, at least three calls, after one untimed."""

    def waited() -> None:
        run()
        wait()

    waited()
    return interleaved({"call": waited}, rounds=3, seconds=seconds)["call"]


def matmul_rate(xp: ModuleType, n: int = 4096, seconds: float = 1.0) -> float:
    """Operations a second in a float32 product of two n x n matrices."""
    a = xp.ones((n, n), dtype=np.float32)
    return 2 * n**3 / seconds_of(lambda: a @ a, lambda: synchronize(a), seconds)


def transfers_of_a_step(shape: Shape, lora: bool) -> tuple[int, int]:
    """Arrays to the device and back in one step: the same code on the stand-in, at two rows of a small shape."""
    small = Shape(16, 8, shape.n_layer, 2, 8, 2)
    with strict_array.installed():
        step = step_of(our_model(small, lora).to("cupy"), small.tokens(), workers=1)
        strict_array.transfers.reset()
        step()
        return strict_array.transfers.to_device, strict_array.transfers.to_host


def step_row(
    name: str, shape: Shape, lora: bool, seconds: float, cpu: bool = True, rate: float | None = None
) -> dict[str, Any]:
    """One row of the table."""
    xp, model = load_cupy(), our_model(shape, lora)
    pool = xp.get_default_memory_pool()
    pool.free_all_blocks()
    device = copy.deepcopy(model).to("cupy")
    gpu = seconds_of(step_of(device, shape.tokens(), workers=1), lambda: synchronize(device.wte.weight.data), seconds)
    peak = pool.total_bytes()
    host = seconds_of(step_of(model, shape.tokens()), lambda: None, seconds) if cpu else None
    tokens = shape.batch_size * shape.block_size
    operations = (4 if lora else 6) * shape.config.parameter_count * tokens
    arrays_in, arrays_out = transfers_of_a_step(shape, lora)
    return {
        "shape": name,
        "trains": "LoRA" if lora else "full",
        "CPU ms": None if host is None else 1e3 * host,
        "GPU ms": 1e3 * gpu,
        "CPU tokens/s": None if host is None else tokens / host,
        "GPU tokens/s": tokens / gpu,
        "of its rate": None if rate is None else f"{operations / gpu / rate:.1%}",
        "peak MiB": peak / 2**20,
        "arrays in": arrays_in,
        "arrays out": arrays_out,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default=",".join(ALL), help="comma-separated shapes (default: all)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each number (default: 3)")
    parser.add_argument("--no-cpu", action="store_true", help="leave the CPU's column out")
    args = parser.parse_args(argv)
    names = args.only.split(",")
    if unknown := [name for name in names if name not in ALL]:
        parser.error(f"{unknown[0]!r} is no shape: choose from {', '.join(ALL)}")
    try:
        xp = load_cupy()
    except DeviceError as error:
        print(f"tests.benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    rate = matmul_rate(xp)
    device = xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(
        f"{device}, CuPy {xp.__version__}, CUDA runtime {xp.cuda.runtime.runtimeGetVersion()}, NumPy {np.__version__}; "
        f"{rate / 1e12:.1f} TFLOP/s in a float32 product\n"
    )
    rows = []
    for name in names:
        for lora in (True, False):
            print(f"measuring {name}, {'LoRA' if lora else 'full'} ...", file=sys.stderr, flush=True)
            rows.append(step_row(name, ALL[name], lora, args.seconds, not args.no_cpu, rate))
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
