"""Frozen weights in a few bits each, turned into floats when they are read: QLoRA's half (Dettmers et al. 2023)."""

from minilora.quantized.blocks import BLOCK_TYPES, BlockWeight
from minilora.quantized.nf4 import NF4Weight, quantize_nf4
from minilora.quantized.weight import QuantizedWeight

__all__ = ["BLOCK_TYPES", "BlockWeight", "NF4Weight", "QuantizedWeight", "quantize_nf4"]
