"""Every figure: from results alone to one PNG.  matplotlib is imported inside, so that nothing else needs it.

Curves differ by line style and marker as well as by colour, so that a figure survives a grey printer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass

# Okabe and Ito's colours, which colour-blind readers tell apart; one meaning each in every figure.
LORA, FULL, BASE, OTHER = "#0072B2", "#D55E00", "#555555", "#E69F00"


def moving_average(values: Sequence[float], width: int) -> np.ndarray:
    """The means of all `width` neighbours, (len(values) - width + 1,), or of all values where they are fewer."""
    width = min(width, len(values))
    return np.convolve(values, np.full(width, 1 / width), mode="valid")
