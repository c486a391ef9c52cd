"""The parity suite: torch, transformers and PEFT give the right answers. Skipped where they are not installed.

pip install "minilora[hf,parity,test]"
python -m pytest tests/parity                  # about a minute
python -m pytest tests/parity -m slow -s       # GPT-2 small's full shape: time and memory
"""

import os
import sys
from collections.abc import Callable

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers starts: nothing is ever fetched
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

WORST: dict[str, tuple[float, float, int]] = {}  # check -> worst error, its limit, how many comparisons


@pytest.fixture
def compare() -> Callable[..., None]:
    """compare(check, got, expected, limit) asserts and keeps the relative error max|got - expected| / max|expected|."""
    import numpy as np

    def compare(check: str, got, expected, limit: float) -> None:
        got, expected = np.asarray(got), np.asarray(expected)
        assert got.shape == expected.shape, check
        size = np.abs(expected).max(initial=0)
        error = np.abs(got - expected).max(initial=0)
        relative = float(error / size if size else error)  # what should be zero is zero or wrong
        worst, _, count = WORST.get(check, (0.0, limit, 0))
        WORST[check] = (max(worst, relative), limit, count + 1)
        assert relative <= limit, f"{check}: relative error {relative:.3g}, allowed {limit:.3g}"

    return compare


def pytest_terminal_summary(terminalreporter) -> None:
    if WORST:
        versions = (f"{name} {sys.modules[name].__version__}" for name in ("torch", "transformers", "peft", "numpy"))
        terminalreporter.section("worst relative error per check")
        terminalreporter.line("against " + ", ".join(versions))
        for check, (worst, limit, count) in WORST.items():
            terminalreporter.line(f"{check:<64} {worst:9.2e}  (limit {limit:.0e}, {count} comparisons)")
