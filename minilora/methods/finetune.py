"""Training the base's own parameters: all of them, the last two blocks, or the biases alone.

None adds a parameter or a product; they differ from LoRA in what a task has to store.
"""

from __future__ import annotations

from minilora.methods.method import Method
from minilora.transformer import GPT, GPTConfig

TOP = 2


def _train_all(model: GPT, seed: int) -> None:
    model.unfreeze()


def _all_parameters(config: GPTConfig) -> int:
    return config.parameter_count


def _train_top(model: GPT, seed: int) -> None:
    model.freeze()
    for block in model.blocks[-TOP:]:
        block.unfreeze()


def _top_parameters(config: GPTConfig) -> int:
    """12 d^2 + 13 d a block: six projections with their biases, and two LayerNorms."""
    d = config.n_embd
    return min(TOP, config.n_layer) * (12 * d**2 + 13 * d)


def _train_biases(model: GPT, seed: int) -> None:
    for name, parameter in model.named_parameters().items():
        parameter.trainable = name.endswith(".bias")


def bias_count(config: GPTConfig) -> int:
    """11 d a block: q, k, v, o d each, up 4 d, down d, two LayerNorms d each; and the last LayerNorm's d."""
    return (11 * config.n_layer + 1) * config.n_embd


FULL = Method("full", "FT", "Hu et al. 2021, section 5.1", _train_all, _all_parameters)
TOP2 = Method("top2", "FT-Top2", "Li and Liang 2021, section 5.2", _train_top, _top_parameters)
BITFIT = Method("bitfit", "BitFit", "Ben Zaken et al. 2021", _train_biases, bias_count)
