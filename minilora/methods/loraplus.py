"""LoRA+: a higher learning rate for B than for A (Hayou et al. 2024, arXiv 2402.12354).

    A <- A - lr * Adam(dA)          B <- B - ratio * lr * Adam(dB)          ratio = 16 or so, alpha and r as before

With one rate for both, the wider the layer, the less efficiently B A learns its features (section 3). The layer is
LoRA's own; only the optimizer differs:

    Adam(model, lr, lr_factor=loraplus(model, 16))      fit(model, data, lr=..., lr_factor=loraplus(model, 16), ...)

Trained parameters: those of LoRA, or of the variant that the model has.
"""

from __future__ import annotations

from typing import Any

from minilora.lora import LoraConfig
from minilora.methods.low_rank import OPTIONS, lora_method
from minilora.methods.method import Method, method_of
from minilora.nn import Decoder, Module, check_finite


def loraplus(model: Module, ratio: float = 16.0) -> dict[str, float]:
    """Name -> factor of the learning rate, for `Adam` and `fit`: `ratio` for every B, and for every vector that trains,
    as in the authors' code and in PEFT (biases, DoRA's magnitudes); all else keeps the rate."""
    check_finite("ratio", ratio)
    parameters = model.named_parameters().items()
    faster = (name for name, p in parameters if p.trainable and (name.endswith(".lora_B") or len(p.shape) == 1))
    return dict.fromkeys(faster, ratio)


def lr_factor(model: Module) -> dict[str, float]:
    """What the model's method asks of the optimizer: LoRA+'s factors, or none."""
    name, options = method_of(model) or ("", {})
    return loraplus(model, options["ratio"]) if name == LORA_PLUS.name else {}


def _change(model: Decoder, seed: int, ratio: float, **options: Any) -> None:
    _lora.change(model, seed, **options)


def _count(config: Any, ratio: float, **options: Any) -> int:
    return _lora.formula(config, **options)


_lora = lora_method(LoraConfig, "LoRA", "")
LORA_PLUS = Method("loraplus", "LoRA+", "Hayou et al. 2024", _change, _count, {**OPTIONS, "ratio": 16.0})
