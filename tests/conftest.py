"""Hypothesis for the whole suite: no time limits, nothing left on disk, the same examples on every CI run."""

import os
import sys
import tempfile

# Read when hypothesis starts; without it, a .hypothesis folder would appear wherever the tests are run.
_folder = tempfile.TemporaryDirectory(prefix="hypothesis-")
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = _folder.name
# Read when NumPy starts: on the tests' small matrices, the BLAS's own threads only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "minilora",
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("minilora")


@pytest.fixture
def no_matplotlib(monkeypatch):
    """As if matplotlib were not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
