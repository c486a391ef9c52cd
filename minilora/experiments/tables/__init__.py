"""The tables and figures of the paper, one module each: what it runs, and how its results are shown and judged.

A module is found by being here; the names of its experiments go into ORDER.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from minilora.experiments.engine.experiment import Experiment

# The most telling first: the order in which `minilora reproduce all` runs them.
ORDER = """counts skill lora_vs_full table6 figure3_4 table7 table5 table4 figure2 table16 table15 intrinsic_dimension
full_rank_limit longer_training table18 lr_transfer variants variants_by_size table3 three_tasks table1"""


def _found() -> Iterator[Experiment]:
    for module in iter_modules(__path__):
        values = vars(import_module(f"{__name__}.{module.name}")).values()
        yield from (value for value in values if isinstance(value, Experiment))


_by_name = {experiment.name: experiment for experiment in _found()}
EXPERIMENTS = {name: _by_name.pop(name) for name in ORDER.split()}
assert not _by_name, f"put into ORDER: {', '.join(_by_name)}"
