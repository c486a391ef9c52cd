"""How transformers names and lays out the parameters of an architecture: one `Layout` each in `gpt2` and `llama`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minilora.files.architectures import shapes
from minilora.files.container import CheckpointError
from minilora.lora import adapter_shapes, lora_config
from minilora.machine.backend import to_host
from minilora.nn import Decoder


@dataclass(frozen=True)
class Layout:
    """Their names stand here without the `root` that a language model puts before all of them but its head's.

    title          the architecture, in messages
    config         its class of configs
    root           "transformer." or "model."
    table          the table of tokens
    name           our layer or parameter -> theirs, which several of ours may share
    is_transposed  whether a tensor of theirs is stored as (in, out)
    """

    title: str
    config: type
    root: str
    table: str
    name: Callable[[str], str]
    is_transposed: Callable[[str], bool]

    def parts(self, config: Any) -> dict[str, list[str]]:
        """Their tensors in the model's order -> our parameters that each holds one below the other."""
        parts: dict[str, list[str]] = {}
        for name in shapes(config):
            parts.setdefault(self.name(name), []).append(name)
        return parts

    def stacked(self, model: Decoder, name: str, parts: list[str]) -> np.ndarray:
        """Their tensor of this name, contiguous, from the parameters that make it."""
        parameters = model.named_parameters()
        array = np.concatenate([to_host(parameters[part].data) for part in parts])
        return np.ascontiguousarray(array.T if self.is_transposed(name) else array)

    def tensors(self, model: Decoder) -> dict[str, np.ndarray]:
        """Every tensor of a language model, under its whole name."""
        parts = self.parts(model.config)
        return {rooted(self.root, name): self.stacked(model, name, ours) for name, ours in parts.items()}

    def check(self, model: Decoder) -> None:
        """ValueError if the model is of another architecture, or has parts that neither it nor a LoRA has."""
        if not isinstance(model.config, self.config):
            raise ValueError(f"this is a {type(model).__name__}, not a {self.title}: save it as what it is")
        expected, lora = shapes(model.config), lora_config(model)
        if lora is not None:
            expected |= adapter_shapes(expected, lora)
        if odd := sorted(model.shapes().keys() ^ expected.keys()):
            raise ValueError(f"{self.title} and this model differ in {odd[0]}: remove what was added to it first")


def rooted(root: str, name: str) -> str:
    """A name with the root before it, unless it is the head's."""
    return name if name.split(".")[0] == "lm_head" else root + name


def is_head(name: str) -> bool:
    """Whether a module or tensor of this name is one of transformers' heads for labels, in place of `lm_head`."""
    return name.split(".")[0] in ("score", "classifier", "qa_outputs", "multiple_choice_head")


NO_HEAD = (
    "this is the head of a classifier, and minilora computes language models: use it with transformers, or train the "
    "language model that it was made from, with the label as the answer's text"
)


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...], table: str, where: Any) -> None:
    """CheckpointError unless a tensor of a model has the shape that its config.json gives it."""
    if shape == expected:
        return
    cure = "they are not of one model"
    if name == f"{table}.weight" and shape[1:] == expected[1:]:
        cure = f"if the table was resized, set vocab_size to {shape[0]} in config.json"
    raise CheckpointError(f"{where}: {name} has shape {shape}, its settings say {expected}: {cure}")
