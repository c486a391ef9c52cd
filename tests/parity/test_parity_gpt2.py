"""GPT-2: logits, loss and every gradient against transformers and autograd, in float64; folders both ways."""

import numpy as np
import pytest

pytest.importorskip("safetensors", reason='needs safetensors: pip install "minilora[hf,parity]"')

from minilora import GPT, generate, loss_and_grads
from minilora.generate import Sampling, scored
from minilora.hf import load_gpt2, load_tokenizer, save_gpt2
from minilora.hf.gpt2 import GPT2, is_conv1d
from tests.hf_folders import write_tokenizer
from tests.parity.torch_side import logits, random_config, random_gpt2, random_tokens, torch, transformers

SEEDS = range(12)


def as_gpt2(model: GPT, arrays):
    """Arrays under our parameters' names -> under transformers', in its layout."""
    for name, parts in GPT2.parts(model.config).items():
        array = np.concatenate([arrays[part] for part in parts])
        yield f"transformer.{name}", array.T if is_conv1d(name) else array


@pytest.mark.parametrize("seed", SEEDS)
def test_logits_loss_and_every_gradient(tmp_path, compare, seed):
    theirs = random_gpt2(seed)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_gpt2(tmp_path, dtype="float64")
    tokens = random_tokens(theirs.config, seed)
    compare("logits, float64", ours(tokens), logits(theirs, tokens), 1e-9)

    rng = np.random.default_rng(seed)
    targets = rng.integers(theirs.config.vocab_size, size=tokens.shape)
    weights = rng.uniform(0, 2, tokens.shape) * (rng.random(tokens.shape) < 0.8)
    loss, grads = loss_and_grads(ours, tokens, targets, weights)
    nll = torch.nn.functional.cross_entropy(
        theirs(torch.from_numpy(tokens)).logits.flatten(0, 1), torch.from_numpy(targets).flatten(), reduction="none"
    )
    their_loss = (nll * torch.from_numpy(weights).flatten()).sum() / weights.sum()
    their_loss.backward()
    compare("loss, float64", loss, their_loss.item(), 1e-9)
    autograd = {name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()}
    found = dict(as_gpt2(ours, grads))
    assert found.keys() == autograd.keys()
    for name, gradient in found.items():
        if name.endswith("c_attn.bias"):
            # Adding one vector to every key moves no softmax: the gradient of k's bias is zero but for rounding,
            # which has no relative error. It is compared as a part of the whole bias.
            assert np.abs(np.split(autograd[name], 3)[1]).max() < 1e-12
        compare("every gradient against autograd, float64", gradient, autograd[name], 1e-9)


def test_the_loss_is_what_transformers_calls_the_loss(tmp_path, compare):
    theirs = random_gpt2(0)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_gpt2(tmp_path, dtype="float64")
    tokens = random_tokens(theirs.config, 0)
    labels = torch.from_numpy(tokens)
    expected = theirs(labels, labels=labels).loss.item()
    # transformers rounds the logits to float32 before its loss: a few units of 2^-24.
    compare("transformers' own loss", loss_and_grads(ours, tokens[:, :-1], tokens[:, 1:])[0], expected, 1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_generation_is_the_same(tmp_path, seed):
    theirs = random_gpt2(seed)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_gpt2(tmp_path, dtype="float64")
    prompt = random_tokens(theirs.config, seed, rows=1)[:, :3]
    there = theirs.generate(
        torch.from_numpy(prompt),
        do_sample=False,
        max_length=theirs.config.n_positions,
        eos_token_id=None,
        pad_token_id=0,
    )
    np.testing.assert_array_equal(generate(ours, prompt, temperature=0), there.numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_top_k_and_top_p_leave_the_same_tokens(seed):
    """As the library applies them: temperature, top_k, top_p."""
    warpers = transformers.generation.logits_process
    rng = np.random.default_rng(seed)
    logits = 4 * rng.standard_normal((20, 50))
    for temperature, k, p in ((1.0, 50, 0.9), (0.7, 20, 0.5), (2.0, 5, 0.99), (1.0, 50, 1e-3)):
        theirs = torch.from_numpy(logits)
        for warper in (
            warpers.TemperatureLogitsWarper(temperature),
            warpers.TopKLogitsWarper(k),
            warpers.TopPLogitsWarper(p),
        ):
            theirs = warper(None, theirs)
        ours = scored(logits, Sampling(temperature, k, p))
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs.numpy()))


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_every_stored_dtype_and_shards(tmp_path, compare, stored):
    theirs = random_gpt2(3, "float32").to(getattr(torch, stored))
    theirs.save_pretrained(tmp_path, max_shard_size="4KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    ours, _ = load_gpt2(tmp_path, dtype="float64")
    tokens = random_tokens(theirs.config, 3)
    compare(f"logits of a sharded {stored} file", ours(tokens), logits(theirs.to(torch.float64), tokens), 1e-9)


def test_a_body_without_a_head(tmp_path, compare):
    theirs = random_gpt2(4)
    theirs.transformer.save_pretrained(tmp_path)  # GPT2Model: no `transformer.` in its names
    ours, _ = load_gpt2(tmp_path, dtype="float64")
    tokens = random_tokens(theirs.config, 4)
    compare("logits, float64", ours(tokens), logits(theirs, tokens), 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transformers_loads_what_we_write(tmp_path, compare, dtype):
    theirs = random_gpt2(5, dtype)
    theirs.save_pretrained(tmp_path / "in")
    save_gpt2(load_gpt2(tmp_path / "in", dtype)[0], tmp_path / "out")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype="auto", output_loading_info=True
    )
    assert not any(report.values()), report
    assert again.dtype == theirs.dtype
    before, after = theirs.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_both_read_the_same_tokens(tmp_path):
    text = "the theory of the thing: naïve café, 42 birds\n\n  and  the end<|endoftext|>it's 你好 🐍"
    config = random_config(6)
    config.vocab_size = 300
    random_gpt2(6, config=config).save_pretrained(tmp_path / "in")
    write_tokenizer(tmp_path / "in", text * 9)
    model, ours = load_gpt2(tmp_path / "in")
    assert ours.encode(text).tolist() == transformers.AutoTokenizer.from_pretrained(tmp_path / "in").encode(text)
    save_gpt2(model, tmp_path / "out", ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ours.encode(text).tolist() == theirs.encode(text)
    assert theirs.decode(ours.encode(text)) == ours.decode(ours.encode(text)) == text
    theirs.save_pretrained(tmp_path / "theirs")
    assert load_tokenizer(tmp_path / "theirs").encode(text).tolist() == ours.encode(text).tolist()


def test_a_saved_folder_ends_its_texts_where_the_first_one_did(tmp_path):
    """Its stop tokens, pad token, special tokens and chat template are what transformers read from the first folder."""
    config = random_config(6)
    config.vocab_size, config.eos_token_id, config.pad_token_id = 303, 301, 300
    there = random_gpt2(6, config=config)
    there.generation_config = transformers.GenerationConfig(eos_token_id=[301, 302], pad_token_id=300)
    there.save_pretrained(tmp_path / "in")
    write_tokenizer(
        tmp_path / "in", "the theory of the thing, and all that it was worth to those who would not read it" * 9
    )
    tokenizer = transformers.GPT2Tokenizer.from_pretrained(tmp_path / "in")
    tokenizer.add_special_tokens({"pad_token": "<pad>", "eos_token": "<stop>", "additional_special_tokens": ["<user>"]})
    tokenizer.chat_template = "{{ messages[0].content }}<stop>"
    tokenizer.save_pretrained(tmp_path / "in")
    assert len(tokenizer) == 303
    model, ours = load_gpt2(tmp_path / "in")
    assert ours.stop == (301, 302)
    save_gpt2(model, tmp_path / "out", ours)
    for attribute in ("eos_token_id", "pad_token_id", "bos_token_id"):
        found = [
            getattr(transformers.GPT2LMHeadModel.from_pretrained(tmp_path / folder).generation_config, attribute)
            for folder in ("in", "out")
        ]
        assert found[0] == found[1]
    first, second = (transformers.AutoTokenizer.from_pretrained(tmp_path / folder) for folder in ("in", "out"))
    assert second.eos_token == "<stop>" and second.special_tokens_map == first.special_tokens_map
    assert second.chat_template == first.chat_template
    text = "all <user>that<stop><pad>"
    assert first.encode(text) == second.encode(text) == ours.encode(text).tolist()


def test_every_family_member_has_a_shape_we_can_be(tmp_path):
    # gpt2, -medium, -large and -xl differ only in these three numbers: their config.json is accepted unchanged.
    for n_layer, n_head, n_embd in ((12, 12, 768), (24, 16, 1024), (36, 20, 1280), (48, 25, 1600)):
        transformers.GPT2Config(n_layer=n_layer, n_head=n_head, n_embd=n_embd).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
            load_gpt2(tmp_path)


def test_random_configs_are_various():
    configs = [random_config(seed) for seed in SEEDS]
    for size in ("n_layer", "n_head", "n_embd", "vocab_size", "n_positions"):
        assert len({getattr(config, size) for config in configs}) >= 3
