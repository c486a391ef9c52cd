"""How the files in this folder were written: by version 0.1.0 (commit d04766c), run in a checkout of it.

    python tests/data/write.py FOLDER

Today's code cannot run this, and need not: the tests of old files load what it wrote.
"""

import sys
import zlib
from pathlib import Path

import numpy as np

from minilora import GPT, GPTConfig, LoraConfig, TextData, add_lora, fit, methods, save_adapter, save_model
from minilora.adapters import AdapterBank
from minilora.hf import save_peft_adapter

CONFIG = GPTConfig(vocab_size=7, block_size=8, n_layer=2, n_head=2, n_embd=4)
LORA = LoraConfig(
    r=2, lora_alpha=3, target_modules=("q_proj", "up_proj", "wte"), bias="lora_only", rank_pattern={"up_proj": 1}
)
TEXT = np.arange(60) ** 2 % 7


def fill(name: str, array: np.ndarray) -> None:
    """Numbers that any computer writes to the bit: multiples of 1/16, by the parameter's name."""
    array[...] = ((zlib.crc32(name.encode()) + 5 * np.arange(array.size)) % 31 - 15).reshape(array.shape) / 16


def filled(model: GPT) -> GPT:
    for name, parameter in model.named_parameters().items():
        fill(name, parameter.data)
    return model


def base() -> GPT:
    return filled(GPT(CONFIG))


def write(folder: Path) -> None:
    save_model(base(), folder / "model.npz")
    adapted = filled(add_lora(base(), LORA))
    save_model(adapted, folder / "model_with_lora.npz")
    adapted = add_lora(base(), LORA)  # an adapter belongs to its base, so that one keeps its numbers
    for name, parameter in adapted.named_parameters().items():
        if parameter.trainable:
            fill(name, parameter.data)
    save_adapter(adapted, folder / "adapter.npz")
    save_peft_adapter(adapted, folder / "peft")

    bank = AdapterBank(base())
    bank.add_adapter("parent", LoraConfig(r=1, target_modules=("v_proj",)), seed=1)
    fill("parent", bank.adapter("parent").tensors["blocks.0.attn.v_proj.lora_B"])
    bank.add_adapter("child", LoraConfig(r=1, target_modules=("o_proj",)), seed=2, parent="parent")
    for name in bank.adapters:
        bank.save_adapter(name, folder / f"{name}.npz")

    special = {"l_p": 2, "l_i": 1, "boundary": 3}
    for name, options in {"adapter_h": {"m": 2}, "pre_layer": special, "lora_pre_embed": {**special, "r": 1}}.items():
        model = methods.apply(base(), name, seed=3, **options)
        for parameter in model.named_parameters().values():
            if parameter.trainable:
                fill(parameter.name, parameter.data)
        methods.save_trained(model, folder / f"method_{name}.npz")

    for steps, name in ((2, "training"), (4, "training_further")):
        model = add_lora(base(), LORA)
        settings = {"lr": 1e-2, "batch_size": 2, "validation": TEXT[:20], "eval_every": 1, "patience": 9}
        fit(model, TextData(TEXT, 8), steps=steps, checkpoint=folder / f"{name}.npz", progress=False, **settings)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
