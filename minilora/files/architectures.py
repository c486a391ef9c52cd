"""Which architectures there are: a file's header names one by its key here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minilora import llama, transformer
from minilora.nn import Config, Decoder


class Architecture(NamedTuple):
    """Its config, its model, and `shapes(config)`: name -> shape of every parameter."""

    config: Callable[..., Any]
    model: Callable[..., Any]
    shapes: Callable[[Any], dict[str, tuple[int, ...]]]


ARCHITECTURES = {
    "gpt2": Architecture(transformer.GPTConfig, transformer.GPT, transformer.shapes),
    "llama": Architecture(llama.LlamaConfig, llama.Llama, llama.shapes),
}
OLDEST = "gpt2"  # what a header means that names none, written before there was a choice


def architecture(config: Config) -> str:
    """The name of the architecture that a config is for."""
    return next(name for name, known in ARCHITECTURES.items() if type(config) is known.config)


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter of the model that this config describes, allocating none."""
    return ARCHITECTURES[architecture(config)].shapes(config)


def build(config: Config) -> Decoder:
    """A model of this config with zeros for weights, which cost nothing until they are written to."""
    return ARCHITECTURES[architecture(config)].model(config, seed=None)
