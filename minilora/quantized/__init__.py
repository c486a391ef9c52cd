"""Frozen weights in a few bits each, turned into floats when they are read: QLoRA's half (Dettmers et al. 2023).

    quantized.quantize(model)                 # NF4, 4.13 bits for each weight of the blocks
    ml.add_lora(model, ml.LoraConfig(r=8))    # trains as on any base

Files: `nf4`, the paper's format; `blocks`, those of llama.cpp; `layers`, what puts either into a model.
"""

from minilora.quantized.blocks import BLOCK_TYPES, BlockWeight
from minilora.quantized.layers import QuantizedEmbedding, QuantizedParameter, dequantize, quantize
from minilora.quantized.nf4 import NF4Weight, quantize_nf4
from minilora.quantized.weight import QuantizedWeight

__all__ = ["BLOCK_TYPES", "BlockWeight", "NF4Weight", "dequantize", "quantize", "quantize_nf4"]
__all__ += ["QuantizedEmbedding", "QuantizedParameter", "QuantizedWeight"]
