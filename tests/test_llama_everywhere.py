"""Every room works on a Llama as on a GPT: methods and their counts, banks, files, runs that go on, generation."""

from dataclasses import replace

import numpy as np
import pytest

import minilora as ml
from minilora import methods
from minilora.adapters import AdapterBank
from tests.methods.test_methods import OPTIONS, every_method
from tests.models import LLAMAS, assert_same, batch, bits, llama, trainable

CONFIG = replace(LLAMAS["all biases"], max_position_embeddings=12)
NOISE = np.random.default_rng(0).integers(7, size=60)


@every_method
def test_a_method_trains_what_it_counts_and_comes_back_from_its_file(name, tmp_path):
    model = methods.apply(llama(CONFIG), name, **OPTIONS[name])
    assert methods.count(name, CONFIG, **OPTIONS[name]) == sum(array.size for array in trainable(model).values())
    _, grads = ml.loss_and_grads(model, *batch(T=5))
    assert grads.keys() == trainable(model).keys()
    ml.fit(model, NOISE, steps=2, batch_size=2, progress=False)
    methods.save_trained(model, tmp_path / "m.npz")
    again = methods.load_trained(llama(CONFIG), tmp_path / "m.npz")
    np.testing.assert_array_equal(again(batch(T=5)[0]), model(batch(T=5)[0]))


def test_bitfit_on_a_model_without_biases_trains_nothing_and_counts_nothing():
    assert methods.count("bitfit", LLAMAS["llama"]) == 0


@pytest.mark.parametrize("variant", LLAMAS)
def test_a_bank_mixes_views_and_merges(variant):
    base = llama(LLAMAS[variant])
    bank = AdapterBank(base)
    bank.add_adapter("a", ml.LoraConfig(r=2, lora_alpha=2))
    bank.add_adapter("b", ml.LoraConfig(r=1, lora_alpha=1, target_modules=("gate_proj", "wte")))
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        for array in bank.adapter(name).tensors.values():
            array[...] = 0.2 * rng.standard_normal(array.shape)
    tokens = batch(B=3)[0]
    rows = bank.mixed(["a", None, "b"])(tokens)
    for row, alone in enumerate((bank.view("a"), base, bank.view("b"))):
        np.testing.assert_allclose(rows[row], alone(tokens)[row], rtol=0, atol=1e-12)
    merged = bank.merged_copy("a", "b")
    assert type(merged) is ml.Llama
    np.testing.assert_allclose(merged(tokens), bank.view("a", "b")(tokens), rtol=0, atol=1e-11)


@pytest.mark.parametrize("variant", LLAMAS)
def test_files_give_back_model_and_adapter(variant, tmp_path):
    model = llama(LLAMAS[variant])
    ml.save_model(model, tmp_path / "m.npz")
    again = ml.load_model(tmp_path / "m.npz")
    assert again.config == model.config and bits(again) == bits(model)
    ml.add_lora(model, ml.LoraConfig(r=2, target_modules=("q_proj", "down_proj")))
    ml.fit(model, NOISE, steps=2, batch_size=2, progress=False)
    ml.save_adapter(model, tmp_path / "a.npz")
    assert_same(ml.load_adapter(again, tmp_path / "a.npz").state_dict(), model.state_dict())
    other = llama(LLAMAS["llama" if variant != "llama" else "qwen3"])
    with pytest.raises(ml.CheckpointError):
        ml.load_adapter(other, tmp_path / "a.npz")
    with pytest.raises(ml.CheckpointError, match="architecture"):
        ml.load_adapter(ml.GPT(ml.GPTConfig(dtype="float64")), tmp_path / "a.npz")


def test_a_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    def run(steps, **options):
        model = ml.add_lora(llama(), ml.LoraConfig(r=2, lora_dropout=0.3))
        return ml.fit(model, NOISE, steps=steps, batch_size=2, progress=False, **options).losses, bits(model)

    run(3, checkpoint=tmp_path / "c.npz")
    assert run(6, checkpoint=tmp_path / "c.npz", resume=True) == run(6)


@pytest.mark.parametrize("variant", LLAMAS)
def test_generation_takes_the_likeliest_token_of_a_whole_forward(variant):
    model = llama(LLAMAS[variant])
    tokens = batch(T=3)[0]
    written = ml.generate(model, tokens, 4, temperature=0)
    for t in range(3, 7):
        np.testing.assert_array_equal(written[:, t], model(written[:, :t])[:, -1].argmax(axis=-1))
    stopped = ml.generate(model, tokens[0], 4, temperature=0, stop=[6, int(written[0, 4])])
    assert len(stopped) <= 5 and stopped[-1] in (6, written[0, 4])
