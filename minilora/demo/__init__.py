"""`minilora demo`: the LoRA paper's claims, measured on real text, one file per claim.

A section is a function that measures and returns its numbers, and one that prints them. `DemoResult` holds the numbers
of all five; the figure and the tests need nothing else. In reading order: `setup`, `zero_init`, `training`, `scaling`,
`rank`, `merging`, `result`, `figure`, `run`.
"""

from minilora.demo.result import DemoResult
from minilora.demo.run import demo
from minilora.demo.setup import ATTENTION, QUICK, Size

__all__ = ["ATTENTION", "QUICK", "DemoResult", "Size", "demo"]
