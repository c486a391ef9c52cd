"""`check_lora` on the LoRA layers of other libraries: correct ones, none of which it may accuse.

Each library builds a layer from given arrays, and its own code runs, merges and unmerges it; gradients are autograd's.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from minilora.testing import check_lora

torch = pytest.importorskip("torch", reason='needs torch: pip install "minilora[parity]"')


def parameter(array, trainable=True):
    return torch.nn.Parameter(torch.from_numpy(array).clone(), requires_grad=trainable)


def dtype_of(array):
    return torch.from_numpy(array).dtype


def loralib_layer(W0, A, B, scaling, b):
    from loralib import Linear

    layer = Linear(W0.shape[1], W0.shape[0], r=len(A), bias=b is not None, dtype=dtype_of(W0))
    layer.weight, layer.lora_A, layer.lora_B, layer.scaling = parameter(W0, False), parameter(A), parameter(B), scaling
    return layer, layer


def peft_layer(W0, A, B, scaling, b):
    from peft.tuners.lora.layer import Linear

    base = torch.nn.Linear(W0.shape[1], W0.shape[0], bias=b is not None, dtype=dtype_of(W0))
    base.weight = parameter(W0, False)
    try:
        from peft import LoraConfig

        layer = Linear(base, "default", LoraConfig(), r=len(A), lora_alpha=1)
    except TypeError:  # earlier versions have no config here
        layer = Linear(base, "default", r=len(A), lora_alpha=1)
    layer.lora_A["default"].weight, layer.lora_B["default"].weight = parameter(A), parameter(B)
    layer.scaling["default"] = scaling
    return layer, base


def litgpt_layer(W0, A, B, scaling, b):
    from litgpt.lora import LoRALinear

    layer = LoRALinear(W0.shape[1], W0.shape[0], r=len(A), bias=b is not None, dtype=dtype_of(W0))
    layer.linear.weight, layer.lora_A, layer.lora_B = parameter(W0, False), parameter(A), parameter(B)
    layer.scaling = scaling
    return layer, layer.linear


def torchtune_layer(W0, A, B, scaling, b):
    from torchtune.modules.peft import LoRALinear

    layer = LoRALinear(W0.shape[1], W0.shape[0], len(A), scaling * len(A), use_bias=b is not None).to(dtype_of(W0))
    layer.weight, layer.lora_a.weight, layer.lora_b.weight = parameter(W0, False), parameter(A), parameter(B)
    return layer, layer


@dataclass
class Library:
    """layer(W0, A, B, scaling, b) -> (the layer, the module that holds its weight and bias)."""

    module: str
    layer: Callable[..., Any]
    merge: Callable[[Any], Any] | None = None
    unmerge: Callable[[Any], Any] | None = None


LIBRARIES = {
    "loralib": Library("loralib", loralib_layer, lambda layer: layer.eval(), lambda layer: layer.train()),
    "peft": Library("peft", peft_layer, lambda layer: layer.merge(), lambda layer: layer.unmerge()),
    "litgpt": Library("litgpt", litgpt_layer, lambda layer: layer.merge()),
    "torchtune": Library("torchtune", torchtune_layer),
}


def functions(library: Library) -> dict[str, Callable[..., Any]]:
    """The library as `check_lora` wants it: functions on NumPy arrays."""

    def made(W0, A, B, scaling, b=None):
        layer, base = library.layer(W0, A, B, scaling, b)
        if b is not None:
            base.bias = parameter(b, False)
        return layer, base

    def forward(x, *arrays):
        with torch.no_grad():
            return made(*arrays)[0](torch.from_numpy(x)).numpy()

    def backward(dy, x, *arrays):
        layer, _ = made(*arrays)
        inputs = torch.from_numpy(x).clone().requires_grad_()
        low_rank = [p for name, p in layer.named_parameters() if p.requires_grad]  # A, then B
        grads = torch.autograd.grad(layer(inputs), [inputs, *low_rank], torch.from_numpy(dy))
        return [grad.numpy() for grad in grads]

    def merge(*layer):
        adapted, base = made(*layer)
        with torch.no_grad():
            library.merge(adapted)
        merged.update(layer=adapted, base=base)
        return base.weight.detach().numpy().copy()

    def unmerge(W, A, B, scaling):
        with torch.no_grad():
            library.unmerge(merged["layer"])
        return merged["base"].weight.detach().numpy().copy()

    def merged_forward(x, W, A, B, scaling, b=None):
        if b is not None:
            merged["base"].bias = parameter(b, False)
        with torch.no_grad():
            return merged["layer"](torch.from_numpy(x)).numpy()

    merged: dict[str, Any] = {}
    found: dict[str, Callable[..., Any]] = {"forward": forward, "backward": backward}
    if library.merge:
        found |= {"merge": merge, "merged_forward": merged_forward}
    if library.unmerge:
        found["unmerge"] = unmerge
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["plain", "bias", "sequences"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_no_library_is_accused(name, layer):
    if importlib.util.find_spec(LIBRARIES[name].module) is None:
        pytest.skip(f"needs {name}: pip install {name}")
    check_lora(**functions(LIBRARIES[name]), max_examples=60, **({} if layer == "plain" else {layer: True}))
    print(name, importlib.metadata.version(name))
