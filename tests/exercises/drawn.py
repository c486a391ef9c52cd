"""The drawn cases of every exercise as hashes: the same at home and at school, whatever the version of NumPy.

python -m tests.exercises.drawn      # writes them anew, after a change to what is drawn
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from minilora.exercises import spec, worker
from minilora.exercises.drawing import cases

FILE = Path(__file__).with_suffix(".json")


def digest(name: str) -> str:
    """SHA-256 of all cases that an exercise is tried on with the default seed, to the last bit."""
    drawn = [
        (dict(case.sizes), np.dtype(case.dtype).str, case.layout, worker.encode(dict(case.values)))
        for case in cases(name)
    ]
    return hashlib.sha256(json.dumps(drawn).encode()).hexdigest()


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: digest(name) for name in spec.names()}, indent=1) + "\n", "utf-8")
