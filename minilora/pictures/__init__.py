"""What LoRA looks like: matrices with their true proportions, and spaces of few dimensions.  `plots` has the colours.

Each function returns a figure that the lessons and the README show.
"""

from minilora.pictures.matrices import added_at_rank, block, lora, ways_to_add
from minilora.pictures.spaces import stretched, subspace

__all__ = ["added_at_rank", "block", "lora", "stretched", "subspace", "ways_to_add"]
