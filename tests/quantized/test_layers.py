"""A quantized model computes with the numbers that its weights stand for, under any LoRA; what cannot be is refused."""

import copy
import warnings
from dataclasses import replace

import numpy as np
import pytest

import minilora as ml
from minilora import quantized
from minilora.adapters import AdapterBank
from minilora.files.header import base_hash, quantization
from minilora.hf import load_llama
from minilora.lora import LoraError
from tests.llama_files import write_folder, write_gguf
from tests.models import TINY, TINY_LLAMA, adapted, assert_same, batch, bits, loss_of, refused, scramble

# Rows of 64 numbers, in either architecture.
GPT_CONFIG = replace(TINY, n_embd=64, block_size=8)
LLAMA_CONFIG = replace(TINY_LLAMA, hidden_size=64, intermediate_size=128, head_dim=16)


@pytest.fixture(params=["gpt", "llama"])
def model(request):
    return scramble(ml.GPT(GPT_CONFIG) if request.param == "gpt" else ml.Llama(LLAMA_CONFIG))


def with_lora(model, **options):
    return adapted(model, ml.LoraConfig(**{"r": 2, "target_modules": ("q_proj", "down_proj", "wte")} | options), seed=1)


def test_a_quantized_model_computes_with_the_numbers_that_its_weights_stand_for(model):
    tokens = batch()[0]
    before = model(tokens)
    quantized.quantize(model)
    assert quantization(model) == "NF4" and not np.array_equal(model(tokens), before)
    floats = quantized.dequantize(copy.deepcopy(model))
    assert quantization(floats) is None
    np.testing.assert_array_equal(floats(tokens), model(tokens))


def test_a_step_of_lora_on_a_quantized_base_is_that_on_its_numbers(model):
    quantized.quantize(model)
    floats = with_lora(quantized.dequantize(copy.deepcopy(model)))
    with_lora(model)
    (loss, grads), (expected_loss, expected) = (ml.loss_and_grads(m, *batch()) for m in (model, floats))
    assert loss == expected_loss == pytest.approx(loss_of(model, *batch()), rel=1e-12)
    assert_same(grads, expected)


def test_a_run_on_a_quantized_base_leaves_it_as_it_was(model, tmp_path):
    quantized.quantize(model)
    before = bits(model)
    with_lora(model)
    data = np.tile(np.arange(7), 20)
    options = {"steps": 4, "batch_size": 2, "progress": False, "checkpoint": tmp_path / "c.npz", "checkpoint_every": 2}
    whole = ml.fit(model, data, **options)
    assert len(whole.losses) == 4 and {n: b for n, b in bits(model).items() if n in before} == before
    stored = (tmp_path / "c.npz").stat().st_size
    assert stored < 8 * 4 * sum(p.size for p in model.parameters if p.trainable) + 50_000  # no base in it


def test_what_cannot_be_done_to_few_bits_is_refused_with_the_cure(model, tmp_path):
    with pytest.raises(LoraError, match="remove_lora"):
        quantized.quantize(with_lora(copy.deepcopy(model)))
    quantized.quantize(model)
    with pytest.raises(LoraError, match="dequantize"):
        quantized.quantize(model)
    with pytest.raises(ValueError, match="save its adapter"):
        ml.save_model(model, tmp_path / "m.npz")
    name = "blocks.0.attn.q_proj.weight"
    with pytest.raises(LoraError, match="add_lora"):
        model.named_parameters()[name].trainable = True
    with pytest.raises(LoraError, match="dequantize"):
        model.named_parameters()[name].data = np.zeros((64, 64))
    with pytest.raises(ValueError, match="dequantize"):
        model.load_state_dict(model.state_dict())
    model.unfreeze()
    assert not model.named_parameters()[name].trainable and model.wte.weight.trainable
    with_lora(model, bias="all" if "blocks.0.attn.q_proj.bias" in model.named_parameters() else "none")
    if any(p.trainable and p.name.endswith(".bias") for p in model.parameters):
        with pytest.raises(LoraError, match="train a LoRA only"):
            ml.save_adapter(model, tmp_path / "a.npz")


def test_merging_needs_floats(model):
    quantized.quantize(model)
    with_lora(model)
    before, tokens = bits(model), batch()[0]
    expected = model(tokens)
    with refused(model, r"merge\(model, dequantize=True\)", LoraError):
        ml.merge(model)
    ml.merge(model, dequantize=True)
    np.testing.assert_allclose(model(tokens), expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    ml.unmerge(model)
    assert bits(model) == before
    assert quantization(ml.remove_lora(ml.merge(model))) == "NF4"  # k_proj and the others are as they were


def test_an_adapter_goes_between_a_base_and_its_quantized_form_with_a_line_of_notice(model, tmp_path):
    base = copy.deepcopy(model)
    quantized.quantize(model)
    assert base_hash(model, []) == base_hash(base, [])
    ml.save_adapter(with_lora(model), tmp_path / "a.npz")
    with pytest.warns(UserWarning, match="in NF4, here it is in floats"):
        ml.load_adapter(base, tmp_path / "a.npz")
    again = quantized.quantize(ml.remove_lora(base))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ml.load_adapter(again, tmp_path / "a.npz")
    np.testing.assert_array_equal(again(batch()[0]), model(batch()[0]))


# ------------------------------------------------------------------------------------------- from files


@pytest.mark.parametrize("suffix", [".gguf", ".whl"])
def test_a_file_read_as_stored_is_the_file_read_as_floats(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    write_gguf(path, {"_proj.weight": "Q4_1", "embed_tokens.weight": "Q8_0"})
    floats, _ = load_llama(path, "float64")
    stored, _ = load_llama(path, "float64", quantized="stored")
    assert quantization(stored) == "Q4_1+Q8_0" and bits(stored) == bits(floats)
    assert base_hash(stored, []) == base_hash(floats, [])
    tokens = np.arange(12).reshape(2, 6)
    logits = floats(tokens)
    np.testing.assert_allclose(stored(tokens), logits, rtol=0, atol=1e-12 * np.abs(logits).max())
    with_lora(floats), with_lora(stored)
    (loss, grads), (expected_loss, expected) = (ml.loss_and_grads(m, tokens, tokens) for m in (stored, floats))
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(g, expected[name], rtol=0, atol=1e-11 * max(1, np.abs(expected[name]).max()))


@pytest.mark.parametrize("name", ["m.gguf", "m.whl", "folder"])
def test_a_file_read_as_nf4_is_the_model_quantized(tmp_path, name):
    path = tmp_path / name
    write_folder(path) if name == "folder" else write_gguf(path, {"_proj.weight": "Q4_0"})
    expected = quantized.quantize(load_llama(path)[0])
    model, _ = load_llama(path, quantized="nf4")
    assert bits(model) == bits(expected)
    assert base_hash(model, []) == base_hash(expected, []) == base_hash(load_llama(path)[0], [])


def test_a_folder_stores_no_blocks(tmp_path):
    with pytest.raises(ValueError, match="GGUF"):
        load_llama(write_folder(tmp_path), quantized="stored")


def test_a_bank_on_a_quantized_base_shares_its_bits(model):
    quantized.quantize(model)
    bank = AdapterBank(model)
    bank.add_adapter("a", ml.LoraConfig(r=2, target_modules=("q_proj", "down_proj")), seed=1)
    for tensor in bank.adapter("a").tensors.values():
        tensor += 0.1
    view, alone = bank.view("a"), ml.add_lora(model, ml.LoraConfig(r=2, target_modules=("q_proj", "down_proj")), seed=1)
    for path, layer in ml.lora_layers(alone):
        layer.lora_A.data += 0.1
        layer.lora_B.data += 0.1
        assert view.get_submodule(path).weight.weight is layer.weight.weight
    tokens = np.arange(6).reshape(2, 3) % model.vocab_size
    np.testing.assert_array_equal(view(tokens), alone(tokens))
