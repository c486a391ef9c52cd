"""`python -m tests.benchmarks`: speed and memory of the core."""

from tests.benchmarks.report import main
from tests.benchmarks.sections import SECTIONS

if __name__ == "__main__":
    main("tests.benchmarks", SECTIONS, "Speed and memory of minilora, as ratios within one run.")
