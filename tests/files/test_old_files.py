"""Files that an earlier version wrote load, with the values that were put into them: see tests/data/write.py."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from minilora import GPT, GPTConfig, LoraConfig, TextData, add_lora, fit, load_adapter, load_base, load_model, methods
from minilora.adapters import AdapterBank
from minilora.files.header import base_hash
from minilora.lora import lora_config

DATA = Path(__file__).parents[1] / "data"
CONFIG = GPTConfig(vocab_size=7, block_size=8, n_layer=2, n_head=2, n_embd=4)
LORA = LoraConfig(
    r=2, lora_alpha=3, target_modules=("q_proj", "up_proj", "wte"), bias="lora_only", rank_pattern={"up_proj": 1}
)
TEXT = np.arange(60) ** 2 % 7


def written(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What `fill` of tests/data/write.py put into the parameter of this name."""
    n = np.prod(shape, dtype=int)
    return ((zlib.crc32(name.encode()) + 5 * np.arange(n)) % 31 - 15).reshape(shape) / 16


def assert_written(model: GPT, trained_only: bool = False) -> None:
    for name, parameter in model.named_parameters().items():
        if parameter.trainable or not trained_only:
            np.testing.assert_array_equal(parameter.data, written(name, parameter.shape), err_msg=name)


def base() -> GPT:
    return load_model(DATA / "model.npz")


def test_a_model():
    model = base()
    assert model.config == CONFIG
    assert_written(model)


def test_a_model_with_its_lora():
    model = load_model(DATA / "model_with_lora.npz")
    assert lora_config(model).r == 2 and model.named_parameters()["blocks.1.mlp.up_proj.lora_A"].shape == (1, 4)
    assert_written(model)


def test_an_adapter_on_the_base_it_was_trained_on():
    model = load_adapter(base(), DATA / "adapter.npz")
    assert sum(p.trainable for p in model.named_parameters().values()) == 2 * 5 + 4
    assert_written(model)


def test_a_peft_folder():
    pytest.importorskip("safetensors")
    from minilora.hf import load_peft_adapter

    model, expected = load_peft_adapter(base(), DATA / "peft"), load_adapter(base(), DATA / "adapter.npz")
    tokens = TEXT[None, :8]
    np.testing.assert_allclose(model(tokens), expected(tokens), rtol=1e-5, atol=1e-5 * np.abs(expected(tokens)).max())


def test_adapters_of_a_bank():
    """The child names its parent by a hash over all that the parent is: the hash has not changed either."""
    bank = AdapterBank(base())
    for name in ("parent", "child"):
        bank.load_adapter(name, DATA / f"{name}.npz")
    assert bank.lineage("child") == ["parent", "child"]
    B = bank.adapter("parent").tensors["blocks.0.attn.v_proj.lora_B"]
    np.testing.assert_array_equal(B, written("parent", B.shape))


@pytest.mark.parametrize("name", ["adapter_h", "pre_layer", "lora_pre_embed"])
def test_what_a_method_trained(name):
    model = methods.load_trained(base(), DATA / f"method_{name}.npz")
    assert_written(model, trained_only=True)
    assert model.trainable and not model.wte.weight.trainable


def test_a_run_is_resumed_and_ends_where_it_would_have_ended(tmp_path):
    """To rounding: another computer's BLAS may add in another order."""
    ends = []
    for name, steps in (("training", 4), ("training_further", 4)):
        path = tmp_path / f"{name}.npz"
        path.write_bytes((DATA / f"{name}.npz").read_bytes())
        model = add_lora(base(), LORA)
        settings = {"lr": 1e-2, "batch_size": 2, "validation": TEXT[:20], "eval_every": 1, "patience": 9}
        result = fit(model, TextData(TEXT, 8), steps=steps, checkpoint=path, resume=True, progress=False, **settings)
        assert len(result.losses) == 4
        ends.append((result.losses, model.state_dict()))
    (losses, state), (expected_losses, expected) = ends
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for name, array in expected.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_shipped_base():
    """The hash that version 0.1.0 took of its weights."""
    model, _ = load_base()
    assert base_hash(model, []) == "4e2cb6823edc380f2697e960e2da1a121654ae791b1aa06f37ce847a70a9f20c"
