"""Two checkouts, before and after a change:  python -m tests.benchmarks.compare FOLDER_BEFORE FOLDER_AFTER

Rounds of one process in each folder, with the minilora and the shapes of that folder and the clock of this one; the
ratios are of the medians. `git worktree add FOLDER COMMIT` makes such a folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from minilora.machine import timing
from tests.benchmarks.report import markdown
from tests.benchmarks.timing import SETTLE, TURN

MEASURE = """
import json, runpy, sys
sys.path.insert(0, ".")
from tests.benchmarks.shapes import SHAPES, our_step
interleaved, (seconds, settle, turn), times = runpy.run_path(sys.argv[1])["interleaved"], map(float, sys.argv[2:]), {}
for name, shape in SHAPES.items():
    steps = {"LoRA": our_step(shape, True), "full": our_step(shape, False)}
    t = interleaved(steps, seconds=seconds, settle=settle, turn=turn)
    times |= {f"{name} {training}": seconds for training, seconds in t.items()}
print(json.dumps(times))
"""


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """Seconds of a step, by shape and what trains, in a process of its own in `folder`."""
    command = [sys.executable, "-c", MEASURE, timing.__file__, *map(str, (seconds, SETTLE, TURN))]
    return json.loads(subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description="After / before.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each shape in each process (default 2)")
    args = parser.parse_args()
    runs = [(measure(args.before, args.seconds), measure(args.after, args.seconds)) for _ in range(args.rounds)]
    before, after = ({k: statistics.median(run[i][k] for run in runs) for k in runs[0][i]} for i in (0, 1))
    rows = [
        {"step": k, "before ms": 1e3 * b, "after ms": 1e3 * after[k], "after / before": after[k] / b}
        for k, b in before.items()
    ]
    print(markdown(rows))


if __name__ == "__main__":
    main()
