"""Training the base's own parameters: all of them, the last two blocks, or only the biases.

None of these adds a parameter or a product; they differ from LoRA in what has to be stored for each task.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from minilora.files.architectures import shapes
from minilora.methods.method import Method
from minilora.nn import Config, Decoder

TOP = 2


def _method(name: str, label: str, source: str, trains: Callable[[str, int], bool]) -> Method:
    """The method that trains the parameters whose names `trains(name, number of blocks)` picks."""

    def change(model: Decoder, seed: int) -> None:
        for name, parameter in model.named_parameters().items():
            parameter.trainable = trains(name, model.layers)

    def count(config: Config) -> int:
        return sum(math.prod(shape) for name, shape in shapes(config).items() if trains(name, config.layers))

    return Method(name, label, source, change, count)


def _in_top_blocks(name: str, layers: int) -> bool:
    return name.startswith(tuple(f"blocks.{i}." for i in range(max(0, layers - TOP), layers)))


FULL = _method("full", "FT", "Hu et al. 2021, section 5.1", lambda name, layers: True)
TOP2 = _method("top2", "FT-Top2", "Li and Liang 2021, section 5.2", _in_top_blocks)
BITFIT = _method("bitfit", "BitFit", "Ben Zaken et al. 2021", lambda name, layers: name.endswith(".bias"))
