"""Training states: what `fit` needs to continue as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minilora.files.container import CheckpointError, read_file, refusing, write_file
from minilora.files.header import base_hash, check_setup, check_shapes, config_of, describe, describe_lora, lora_of
from minilora.lora import frozen_parameters, resolved_config
from minilora.machine.backend import array_module, to_host
from minilora.nn import Decoder, Parameter
from minilora.optim import Adam


def save_training(
    path: str | Path, model: Decoder, optimizer: Adam, record: dict[str, Any], best: Mapping[str, Any]
) -> None:
    """Write the trainable parameters (and the frozen ones of a variant of LoRA), Adam's state, the best weights so far,
    and a JSON `record` (losses, the generator's state, ...)."""
    saved = _saved(model)
    tensors = {f"param.{name}": to_host(p.data) for name, p in saved.items()}
    tensors |= {f"adam.{name}": array for name, array in optimizer.state_dict().items()}
    tensors |= {f"best.{name}": to_host(array) for name, array in best.items()}
    header = {
        **describe(model.config),
        **describe_lora(resolved_config(model)),
        "base_sha256": base_hash(model, list(saved)),
        "record": record,
    }
    write_file(path, "training", header, tensors)


def _saved(model: Decoder) -> dict[str, Parameter]:
    """The parameters in a training state."""
    frozen = frozen_parameters(model)
    return {name: p for name, p in model.named_parameters().items() if p.trainable or name in frozen}


def load_training(
    path: str | Path, model: Decoder, optimizer: Adam, check: Callable[[dict[str, Any]], None] = lambda record: None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put a training state back into the model and the optimizer; returns the record and the best weights so far.

    CheckpointError, before any change, if it is not a state of this model with this LoRA, or `check` raises one.
    """
    header, tensors = read_file(path, "training")
    saved = _saved(model)
    trainable = {name: p for name, p in saved.items() if p.trainable}
    with refusing(path):
        record = header["record"]
        check_setup(config_of(header), lora_of(header), model, resolved_config(model), path)
        # Before the first step Adam has no moments, and there may be no best weights: only these may be missing.
        groups = ("adam.m", "adam.v", "best")
        needed = {f"param.{name}": p.shape for name, p in saved.items()} | {"adam.t": ()}
        known = needed | {f"{group}.{name}": p.shape for group in groups for name, p in trainable.items()}
        check_shapes(tensors, {key: known[key] for key in known if key in tensors or key in needed}, path)
        if header["base_sha256"] != base_hash(model, list(saved)):
            raise CheckpointError(
                f"{path} was trained on a different base (the weights' hash differs): load that base first"
            )
        check(record)
    optimizer.load_state_dict({k.removeprefix("adam."): a for k, a in tensors.items() if k.startswith("adam.")})
    best = {}
    for name, parameter in saved.items():
        xp = array_module(parameter.data)
        parameter.data[...] = xp.asarray(tensors[f"param.{name}"])
        if f"best.{name}" in tensors:
            best[name] = xp.asarray(tensors[f"best.{name}"])
    return record, best
