"""GPT-2 folders and PEFT adapters without torch: layouts by hand, exact; foreign and damaged ones are refused."""

import json
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("safetensors", reason='needs safetensors: pip install "minilora[hf]"')

import safetensors.numpy

import minilora as ml
from minilora import CheckpointError, LoraConfig, LoraError
from minilora.hf import load_gpt2, load_peft_adapter, load_tokenizer, save_gpt2, save_peft_adapter
from minilora.hf.peft import Update, joined, split
from minilora.lora import lora_config, lora_layers
from minilora.nn import Linear, Parameter
from tests.hf_folders import SIZES, gpt2_tensors, write_adapter, write_bfloat16, write_gpt2, write_tokenizer
from tests.models import bits, trainable

C, LAYERS = SIZES["n_embd"], SIZES["n_layer"]
ALL_SIX = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
TOKENS = np.arange(8).reshape(1, 8)


@pytest.fixture
def gpt2(tmp_path):
    return write_gpt2(tmp_path / "gpt2")


def ours(tensors):
    """GPT-2's tensors as the state of our model, spelled out."""
    state = {name: tensors[name] for name in ("wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias")}
    for i in range(LAYERS):
        fused, fused_bias = tensors[f"h.{i}.attn.c_attn.weight"], tensors[f"h.{i}.attn.c_attn.bias"]
        for j, name in enumerate(("q_proj", "k_proj", "v_proj")):
            state[f"blocks.{i}.attn.{name}.weight"] = fused[:, j * C : (j + 1) * C].T
            state[f"blocks.{i}.attn.{name}.bias"] = fused_bias[j * C : (j + 1) * C]
        for here, there in (
            ("attn.o_proj", "attn.c_proj"),
            ("mlp.up_proj", "mlp.c_fc"),
            ("mlp.down_proj", "mlp.c_proj"),
        ):
            state[f"blocks.{i}.{here}.weight"] = tensors[f"h.{i}.{there}.weight"].T
            state[f"blocks.{i}.{here}.bias"] = tensors[f"h.{i}.{there}.bias"]
        for norm in ("ln_1", "ln_2"):
            for kind in ("weight", "bias"):
                state[f"blocks.{i}.{norm}.{kind}"] = tensors[f"h.{i}.{norm}.{kind}"]
    return state


def assert_state(model, tensors, dtype=np.float32):
    state, expected = model.state_dict(), ours(tensors)
    assert set(state) == set(expected)
    for name, array in expected.items():
        assert state[name].dtype == dtype
        np.testing.assert_array_equal(state[name], array, err_msg=name)


# -------------------------------------------------------------------------------------------- GPT-2 in


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_every_weight_lands_where_it_belongs(tmp_path, prefix):
    model, tokenizer = load_gpt2(write_gpt2(tmp_path / "gpt2", prefix=prefix))
    assert tokenizer is None
    assert model.config == ml.GPTConfig(vocab_size=11, block_size=9, n_layer=2, n_head=3, n_embd=6)
    assert_state(model, gpt2_tensors())
    assert model.trainable


def test_masks_of_old_files_and_a_tied_head_are_not_weights(tmp_path):
    tensors = gpt2_tensors()
    extra = {"lm_head.weight": tensors["wte.weight"]}
    for i in range(LAYERS):
        extra[f"h.{i}.attn.bias"] = np.tri(9, dtype=np.uint8).reshape(1, 1, 9, 9)
        extra[f"h.{i}.attn.masked_bias"] = np.array(-1e4, np.float32)
    model, _ = load_gpt2(write_gpt2(tmp_path / "gpt2", tensors | extra))
    assert_state(model, tensors)


def test_narrow_weights_are_widened_exactly(tmp_path, gpt2):
    halves = {name: array.astype(np.float16) for name, array in gpt2_tensors().items()}
    assert_state(load_gpt2(write_gpt2(tmp_path / "half", halves))[0], halves)
    truncated = {n: (a.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for n, a in gpt2_tensors().items()}
    write_bfloat16(gpt2 / "model.safetensors", truncated)
    assert_state(load_gpt2(gpt2)[0], truncated)


def test_the_model_computes_in_the_dtype_that_is_asked_for(gpt2):
    assert_state(load_gpt2(gpt2, dtype="float64")[0], gpt2_tensors(), np.float64)


def shard(folder):
    """Cut model.safetensors into two files and an index."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = list(tensors)
    files = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for file, part in files.items():
        safetensors.numpy.save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_make_one_model(gpt2):
    shard(gpt2)
    assert_state(load_gpt2(gpt2)[0], gpt2_tensors())


def test_loading_needs_the_model_and_one_tensor(tmp_path):
    sizes = {"vocab_size": 2000, "n_positions": 64, "n_embd": 128, "n_layer": 4, "n_head": 4}
    tensors = gpt2_tensors(sizes=sizes)
    folder = write_gpt2(tmp_path / "gpt2", tensors | {"lm_head.weight": tensors["wte.weight"]}, **sizes)
    tracemalloc.start()  # which counts every byte that NumPy asks for
    model, _ = load_gpt2(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = sum(p.nbytes for p in model.named_parameters().values())
    # wte, the largest tensor, is read twice if there is a head; the rest is Python's own overhead.
    assert size < peak < size + 2 * model.wte.weight.nbytes + 500_000


# ------------------------------------------------------------------------------- what is not this GPT-2


def refused(folder, words):
    """Loading fails with one line that holds these words."""
    with pytest.raises(CheckpointError, match=words) as caught:
        load_gpt2(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_type", "llama"),
        ("activation_function", "relu"),
        ("layer_norm_epsilon", 1e-6),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("reorder_and_upcast_attn", True),
        ("add_cross_attention", True),
        ("tie_word_embeddings", False),
        ("n_inner", 23),
        ("n_head", 4),
        ("n_layer", "two"),
        ("n_embd", None),
    ],
)
def test_a_setting_that_the_miniature_cannot_follow_is_named(tmp_path, name, value):
    refused(write_gpt2(tmp_path / "gpt2", **{name: value}), name)


def test_the_inner_width_may_be_spelled_out(tmp_path):
    assert_state(load_gpt2(write_gpt2(tmp_path / "gpt2", n_inner=4 * C))[0], gpt2_tensors())


def test_foreign_folders_are_refused(tmp_path, gpt2):
    refused(tmp_path / "nowhere", "has no config.json")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no config.json")
    (gpt2 / "config.json").write_text("{}")
    refused(gpt2, "names neither a model_type nor a size")
    for broken, words in (("{", "is not JSON"), ("[]", "holds a list"), ("[" * 100_000, "is not JSON")):
        (gpt2 / "config.json").write_text(broken)
        refused(gpt2, words)


def test_weights_of_another_model_are_refused(tmp_path):
    tensors = gpt2_tensors()
    refused(write_gpt2(tmp_path / "a", tensors, n_layer=3), "says blocks 3, the weights say 2")
    refused(write_gpt2(tmp_path / "b", tensors, n_layer=1), "says blocks 1, the weights say 2")
    refused(
        write_gpt2(tmp_path / "c", tensors, vocab_size=12),
        r"wte\.weight has shape \(11, 6\), its settings say \(12, 6\): if the table was resized, set vocab_size to 11",
    )
    refused(write_gpt2(tmp_path / "huge", tensors, n_layer=10**30, vocab_size=10**30), "says blocks")
    lacking = {name: array for name, array in tensors.items() if name != "h.1.ln_2.bias"}
    refused(write_gpt2(tmp_path / "less", lacking), r"lacks the tensor h\.1\.ln_2\.bias")
    refused(write_gpt2(tmp_path / "d", tensors | {"more.weight": np.ones((2, 6), np.float32)}), "more.weight")
    refused(write_gpt2(tmp_path / "e", tensors | {"lm_head.weight": tensors["wte.weight"] + 1}), "lm_head.weight")
    refused(write_gpt2(tmp_path / "f", tensors | {"ln_f.bias": np.ones(C, np.int8)}), "I8")
    for name, number in (("nan", np.nan), ("inf", np.inf), ("minus inf", -np.inf)):
        spoilt = tensors | {"ln_f.bias": np.array([0, number, 0, 0, 0, 0], np.float32)}
        refused(write_gpt2(tmp_path / name, spoilt), "NaN or infinity")
    # A transposed square matrix has the right shape: tests/parity catches it by what it computes.
    swapped = tensors | {"h.0.mlp.c_fc.weight": tensors["h.0.mlp.c_fc.weight"].T.copy()}
    refused(write_gpt2(tmp_path / "h", swapped), r"h\.0\.mlp\.c_fc\.weight has shape \(24, 6\)")


def test_a_pickle_is_never_opened(gpt2):
    (gpt2 / "model.safetensors").rename(gpt2 / "pytorch_model.bin")
    refused(gpt2, "pickle")


def test_half_a_file_is_refused(gpt2):
    path = gpt2 / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(gpt2, "damaged")
    path.write_bytes(whole + b"\0")
    refused(gpt2, "damaged")
    path.unlink()
    refused(gpt2, "lacks model.safetensors")


def test_a_header_with_any_byte_broken_is_refused_or_harmless(gpt2):
    path = gpt2 / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    refusals = 0
    for at in range(0, header, 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            model, _ = load_gpt2(gpt2)
        except CheckpointError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:  # a space became another character that JSON skips, or two tensors of the same shape were swapped
            assert sorted(a.shape for a in model.state_dict().values()) == sorted(
                a.shape for a in ours(gpt2_tensors()).values()
            )
    assert refusals > header // 7 // 2


def test_shards_that_do_not_fit_their_index_are_refused(gpt2):
    shard(gpt2)
    index = gpt2 / "model.safetensors.index.json"
    whole = json.loads(index.read_text())
    for weight_map, words in (
        (None, "no weight_map"),
        ({"wte.weight": "../model-1-of-2.safetensors"}, "no weight_map"),
        (dict(list(whole["weight_map"].items())[:-1]), "disagree about"),
        (whole["weight_map"] | {"more": "model-1-of-2.safetensors"}, "disagree about more"),
    ):
        index.write_text(json.dumps({"weight_map": weight_map}))
        refused(gpt2, words)
    index.write_text(json.dumps(whole))
    (gpt2 / "model-2-of-2.safetensors").unlink()
    refused(gpt2, "lacks model-2-of-2.safetensors")


def test_a_missing_extra_is_named(gpt2, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'pip install "minilora\[hf\]"'):
        load_gpt2(gpt2)


# ------------------------------------------------------------------------------------------- GPT-2 out


def test_what_is_written_is_what_was_read(tmp_path, gpt2):
    save_gpt2(load_gpt2(gpt2)[0], tmp_path / "again")
    before = safetensors.numpy.load_file(gpt2 / "model.safetensors")
    after = safetensors.numpy.load_file(tmp_path / "again" / "model.safetensors")
    assert {n: a.tobytes() for n, a in before.items()} == {n: a.tobytes() for n, a in after.items()}
    assert_state(load_gpt2(tmp_path / "again")[0], gpt2_tensors())


def test_a_lora_is_written_once_it_is_merged(tmp_path, gpt2):
    model, _ = load_gpt2(gpt2)
    randomized(ml.add_lora(model, LoraConfig(r=2)))
    with pytest.raises(LoraError, match="merge"):
        save_gpt2(model, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    logits = ml.merge(model)(TOKENS)
    save_gpt2(model, tmp_path / "merged")
    np.testing.assert_array_equal(load_gpt2(tmp_path / "merged")[0](TOKENS), logits)


def test_a_model_that_is_not_a_gpt2_is_not_written_as_one(tmp_path, gpt2):
    model = with_lora(gpt2, r=2)
    model.blocks[0].more = Linear(Parameter(np.ones((C, C), np.float32)))
    for write in (save_peft_adapter, lambda model, folder: save_gpt2(ml.merge(model), folder)):
        with pytest.raises(ValueError, match=r"differ in blocks\.0\.more"):
            write(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path, gpt2, monkeypatch):
    model, _ = load_gpt2(gpt2)
    target = tmp_path / "deep" / "out"
    save_gpt2(model, target)
    model.wte.weight.data += 1

    def fails(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.numpy, "save_file", fails)
        with pytest.raises(OSError, match="disk full"):
            save_gpt2(model, target)
    assert [path.name for path in target.parent.iterdir()] == ["out"]
    assert_state(load_gpt2(target)[0], gpt2_tensors())  # the old one
    save_gpt2(model, target)
    assert load_gpt2(target)[0].wte.weight.data.tobytes() == model.wte.weight.data.tobytes()
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_no_file_of_the_user_is_ever_lost(tmp_path, gpt2):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(FileExistsError, match=r"thesis\.txt"):
        save_gpt2(load_gpt2(gpt2)[0], tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


# ------------------------------------------------------------------------------------------- tokenizer

TEXT = "the theory of the thing: naïve café, 42 birds\n\n  and  the end"


WORDS = SIZES | {"vocab_size": 300}


@pytest.fixture
def with_tokenizer(tmp_path):
    pytest.importorskip("tokenizers", reason='needs tokenizers: pip install "minilora[hf]"')
    folder = write_gpt2(tmp_path / "words", gpt2_tensors(sizes=WORDS), **WORDS)
    write_tokenizer(folder, TEXT * 20)
    return folder


def test_text_survives_the_tokenizer(with_tokenizer):
    tokenizer = load_tokenizer(with_tokenizer)
    tokens = tokenizer.encode(TEXT)
    assert tokens.dtype == np.int64
    assert tokenizer.vocab_size == len(json.loads((with_tokenizer / "vocab.json").read_text()))
    assert len(tokens) < len(TEXT) / 2  # merges are used
    assert tokenizer.decode(tokens) == TEXT
    unseen = "Ω 你好 🐍 \t\x00"
    assert tokenizer.decode(tokenizer.encode(unseen)) == unseen
    assert tokenizer.decode(tokenizer.encode("Ω")[:1]) == "\ufffd"
    assert tokenizer.encode("").shape == (0,)


def test_the_end_of_text_is_one_token(with_tokenizer):
    tokenizer = load_tokenizer(with_tokenizer)
    assert tokenizer.encode("a<|endoftext|>a").tolist()[1] == tokenizer.end_of_text == 0
    assert tokenizer.decode(np.array([0])) == "<|endoftext|>"


def test_tokenizers_go_with_the_model(tmp_path, with_tokenizer):
    model, tokenizer = load_gpt2(with_tokenizer)
    save_gpt2(model, tmp_path / "out", tokenizer)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
        "vocab.json",
    ]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == 0
    from_json = load_tokenizer(tmp_path / "out")
    (tmp_path / "out" / "tokenizer.json").unlink()
    for again in (from_json, load_tokenizer(tmp_path / "out")):
        assert again.encode(TEXT + "<|endoftext|>").tolist() == tokenizer.encode(TEXT + "<|endoftext|>").tolist()


def test_a_tokenizer_never_cuts_or_fills_up(with_tokenizer):
    tokenizer = load_tokenizer(with_tokenizer)
    whole = tokenizer.encode(TEXT).tolist()
    tokenizer.tokenizer.enable_truncation(3)
    tokenizer.tokenizer.enable_padding(length=100)
    tokenizer.tokenizer.save(str(with_tokenizer / "tokenizer.json"))
    assert load_tokenizer(with_tokenizer).encode(TEXT).tolist() == whole


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json"])
def test_half_a_tokenizer_is_refused(with_tokenizer, name):
    load_tokenizer(with_tokenizer).tokenizer.save(str(with_tokenizer / "tokenizer.json"))
    if name != "tokenizer.json":
        (with_tokenizer / "tokenizer.json").unlink()
        (with_tokenizer / name).unlink()
        refused(with_tokenizer, "tokenizer")
    (with_tokenizer / name).write_text('{"a": ')
    refused(with_tokenizer, "tokenizer")


def test_train_and_generate_in_words(tmp_path):
    pytest.importorskip("tokenizers", reason='needs tokenizers: pip install "minilora[hf]"')
    sizes = SIZES | {"vocab_size": 300}
    folder = write_gpt2(tmp_path / "gpt2", gpt2_tensors(sizes=sizes), **sizes)
    write_tokenizer(folder, TEXT * 20)
    model, tokenizer = load_gpt2(folder)
    ml.add_lora(model, LoraConfig(r=2, target_modules=ALL_SIX))
    data = tokenizer.encode(TEXT * 20)
    before = ml.evaluate(model, data)
    ml.fit(model, data, steps=20, lr=1e-2, batch_size=4, progress=False)
    assert ml.evaluate(model, data) < before
    out = ml.generate(model, tokenizer.encode("the "), 3, stop=tokenizer.end_of_text)
    assert tokenizer.decode(out).startswith("the ")
    save_peft_adapter(model, tmp_path / "adapter")
    again = load_peft_adapter(load_gpt2(folder)[0], tmp_path / "adapter")
    np.testing.assert_array_equal(again(TOKENS), model(TOKENS))


# ------------------------------------------------------------------------------------- adapters, exactly


def randomized(model, seed=0):
    """Whole numbers of -3 to 3 for everything that trains: their products are exact in float32."""
    rng = np.random.default_rng(seed)
    for array in trainable(model).values():
        array[...] = rng.integers(-3, 4, array.shape)
    return model


def with_lora(folder, **settings):
    return randomized(ml.add_lora(load_gpt2(folder)[0], LoraConfig(**settings)))


def deltas(model):
    return {path: layer.delta() for path, layer in lora_layers(model)}


def adapter_in(folder):
    """(settings, tensors) of an adapter folder, PEFT's prefix left out."""
    tensors = safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.") for name in tensors)
    settings = json.loads((folder / "adapter_config.json").read_text())
    return settings, {name.removeprefix("base_model.model."): array for name, array in tensors.items()}


def test_separate_updates_are_one_of_c_attn(tmp_path, gpt2):
    # Scalings 8/4 = 2, 4/2 = 2 and 4/1 = 4: the others' Bs take up the factor 1/2, exactly.
    model = with_lora(
        gpt2,
        r=4,
        lora_alpha=8,
        target_modules=("q_proj", "v_proj", "blocks.1.attn.k_proj"),
        rank_pattern={"v_proj": 2, "k_proj": 1},
        alpha_pattern={"v_proj": 4, "k_proj": 4},
    )
    save_peft_adapter(model, tmp_path / "adapter")
    settings, tensors = adapter_in(tmp_path / "adapter")
    assert settings["target_modules"] == ["c_attn"]
    assert (settings["r"], settings["rank_pattern"]) == (6, {"transformer.h.1.attn.c_attn": 7})
    assert (settings["lora_alpha"], settings["alpha_pattern"]) == (12, {"transformer.h.1.attn.c_attn": 28})
    update = deltas(model)
    for i, scaling in enumerate((2, 4)):
        A, B = (tensors[f"transformer.h.{i}.attn.c_attn.lora_{which}.weight"] for which in "AB")
        zeros = np.zeros((C, C))
        thirds = [update.get(f"blocks.{i}.attn.{name}", zeros) for name in ("q_proj", "k_proj", "v_proj")]
        np.testing.assert_array_equal(scaling * B @ A, np.concatenate(thirds))


@pytest.mark.parametrize("r", [1, 4, 16])
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ALL_SIX[:4], ALL_SIX, ("k_proj",), ("wte", "wpe", "q_proj")])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_out_and_in_again_is_the_same_lora(tmp_path, gpt2, r, targets, use_rslora):
    model = with_lora(gpt2, r=r, lora_alpha=3, target_modules=targets, use_rslora=use_rslora)
    save_peft_adapter(model, tmp_path / "adapter")
    again = load_peft_adapter(load_gpt2(gpt2)[0], tmp_path / "adapter")
    assert bits(again) == bits(model) and trainable(again).keys() == trainable(model).keys()
    assert {path: layer.r for path, layer in lora_layers(again)} == {path: r for path, _ in lora_layers(model)}
    for (_, a), (_, b) in zip(lora_layers(again), lora_layers(model), strict=True):
        # alpha returns through s r, R / r and a root or two: 8 roundings in float64.
        assert a.scaling == pytest.approx(b.scaling, rel=8 * 2**-53)


def test_the_config_comes_back_as_it_was(tmp_path, gpt2):
    model = with_lora(gpt2, r=4, lora_alpha=8, lora_dropout=0.25, target_modules=("q_proj", "v_proj"))
    save_peft_adapter(model, tmp_path / "adapter", base_model="openai-community/gpt2")
    assert lora_config(load_peft_adapter(load_gpt2(gpt2)[0], tmp_path / "adapter")) == lora_config(model)
    assert adapter_in(tmp_path / "adapter")[0]["base_model_name_or_path"] == "openai-community/gpt2"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4).filter(any), st.integers(0, 2**32 - 1))
def test_joined_and_split_are_inverse(ranks, seed):
    rng = np.random.default_rng(seed)
    d, k = 3, 5
    # No column of B is zero, as after training, so it is clear which layer a component serves.
    updates = [Update(rng.integers(-3, 4, (r, k)), rng.integers(1, 4, (d, r)), 2.0) if r else None for r in ranks]
    one = joined(updates)
    assert one.A.shape == (sum(ranks), k)
    dW = np.split(one.B @ one.A, len(ranks))
    for update, part, back in zip(updates, dW, split(one, len(ranks), keep_all=False), strict=True):
        if update is None:
            assert back is None
            assert not part.any()
        else:
            np.testing.assert_array_equal(part, update.B @ update.A)
            np.testing.assert_array_equal(back.A, update.A)
            np.testing.assert_array_equal(back.B, update.B)


def integers(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(-3, 4, shape).astype(np.float32) for shape in shapes]


def fused(r=2, blocks=range(LAYERS), layer="attn.c_attn", d=3 * C, k=C):
    """A PEFT adapter of one layer in each block."""
    tensors = {}
    for i in blocks:
        A, B = integers((r, k), (d, r), seed=i)
        tensors |= {f"h.{i}.{layer}.lora_A.weight": A, f"h.{i}.{layer}.lora_B.weight": B}
    return tensors


def test_an_update_of_c_attn_is_three_with_one_A(tmp_path, gpt2):
    tensors = fused()
    model = load_peft_adapter(load_gpt2(gpt2)[0], write_adapter(tmp_path / "a", tensors, r=2, lora_alpha=6))
    assert lora_config(model) == LoraConfig(r=2, lora_alpha=6, target_modules=("q_proj", "k_proj", "v_proj"))
    for i in range(LAYERS):
        A, B = (tensors[f"h.{i}.attn.c_attn.lora_{which}.weight"] for which in "AB")
        for name, rows in zip(("q_proj", "k_proj", "v_proj"), np.split(B, 3), strict=True):
            layer = model.get_submodule(f"blocks.{i}.attn.{name}")
            np.testing.assert_array_equal(layer.lora_A.data, A)
            np.testing.assert_array_equal(layer.delta(), 3 * rows @ A)


def test_an_untrained_adapter_keeps_its_whole_rank(tmp_path, gpt2):
    tensors = {name: array * (".lora_A." in name) for name, array in fused().items()}
    model = load_peft_adapter(load_gpt2(gpt2)[0], write_adapter(tmp_path / "a", tensors, r=2))
    assert [layer.r for _, layer in lora_layers(model)] == [2] * 3 * LAYERS


def test_patterns_exceptions_and_defaults_are_PEFTs(tmp_path, gpt2):
    tensors = (
        fused(5, [0]) | fused(2, [1]) | fused(3, [0], "mlp.c_proj", C, 4 * C) | fused(2, [1], "mlp.c_proj", C, 4 * C)
    )
    settings = {
        "r": 2,
        "target_modules": r"transformer\.h\.\d+\.(attn\.c_attn|mlp\.c_proj)",
        "rank_pattern": {r"h\.0\.attn.*": 5, "transformer.h.0.mlp.c_proj": 3},
        "alpha_pattern": {"mlp.c_proj": 7},
        "use_rslora": True,
    }
    model = load_peft_adapter(load_gpt2(gpt2)[0], write_adapter(tmp_path / "a", tensors, **settings))
    scalings = {path: layer.scaling for path, layer in lora_layers(model)}
    expected = {f"blocks.0.attn.{name}": 8 / np.sqrt(5) for name in ALL_SIX[:3]}  # lora_alpha is PEFT's default, 8
    expected |= {f"blocks.1.attn.{name}": 8 / np.sqrt(2) for name in ALL_SIX[:3]}
    expected |= {"blocks.0.mlp.down_proj": 7 / np.sqrt(3), "blocks.1.mlp.down_proj": 7 / np.sqrt(2)}
    assert scalings == pytest.approx(expected, rel=8 * 2**-53)


@pytest.mark.parametrize(
    "exception",
    [
        {"layers_to_transform": [1]},
        {"layers_to_transform": 1, "layers_pattern": "h"},
        {"exclude_modules": ["h.0.attn.c_attn"]},
        {"exclude_modules": r".*\.0\..*"},
        {"target_modules": ["h.1.attn.c_attn"]},
    ],
)
@pytest.mark.parametrize("root", ["transformer.", ""])
def test_some_blocks_only(tmp_path, gpt2, exception, root):
    folder = write_adapter(tmp_path / "a", fused(blocks=[1]), root, r=2, **exception)
    model = load_peft_adapter(load_gpt2(gpt2)[0], folder)
    assert [path for path, _ in lora_layers(model)] == [f"blocks.1.attn.{name}" for name in ALL_SIX[:3]]


@pytest.mark.parametrize("bias", ["lora_only", "all"])
def test_trained_biases_come_along(tmp_path, gpt2, bias):
    model = with_lora(gpt2, r=2, target_modules=("q_proj", "v_proj", "up_proj"), bias=bias)
    save_peft_adapter(model, tmp_path / "a")
    _, tensors = adapter_in(tmp_path / "a")
    assert "transformer.h.0.attn.c_attn.base_layer.bias" in tensors
    assert ("transformer.ln_f.bias" in tensors) == (bias == "all")
    again = load_peft_adapter(load_gpt2(gpt2)[0], tmp_path / "a")
    np.testing.assert_array_equal(again(TOKENS), model(TOKENS))
    older = {name.replace(".base_layer", ""): array for name, array in tensors.items()}  # PEFT before 0.7
    settings = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    again = load_peft_adapter(load_gpt2(gpt2)[0], write_adapter(tmp_path / "b", older, "", **settings))
    np.testing.assert_array_equal(again(TOKENS), model(TOKENS))


def tied(r=2):
    """PEFT's adapter of a table and the head that is tied to it."""
    A, B = integers((r, C), (11, r))
    return {
        "wte.lora_embedding_A": B.T,
        "wte.lora_embedding_B": A.T,
        "lm_head.lora_A.weight": A,
        "lm_head.lora_B.weight": B,
    }


def test_the_tied_head_is_adapted_with_its_table(tmp_path, gpt2):
    table = gpt2_tensors()["wte.weight"]
    for name, settings, copies in (
        (
            "a",
            {"target_modules": ["wte", "lm_head"]},
            {"wte.base_layer.weight": table, "lm_head.base_layer.weight": table},
        ),
        ("b", {"target_modules": ["transformer.wte"], "ensure_weight_tying": True}, {}),  # as PEFT 0.21 writes it
    ):
        folder = write_adapter(tmp_path / name, tied() | copies, r=2, lora_alpha=4, **settings)
        model = load_peft_adapter(load_gpt2(gpt2)[0], folder)
        np.testing.assert_array_equal(
            deltas(model)["wte"], 2 * tied()["lm_head.lora_B.weight"] @ tied()["lm_head.lora_A.weight"]
        )


# ---------------------------------------------------------------------------- adapters that are refused


def adapter_refused(gpt2, folder, words):
    """Reading the adapter fails with one line that holds these words, and the model is as it was."""
    model, _ = load_gpt2(gpt2)
    before = bits(model)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_peft_adapter(model, folder)
    assert "\n" not in str(caught.value)
    assert bits(model) == before
    assert model.trainable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peft_type", "IA3"),
        ("use_qalora", True),
        ("lora_bias", True),
        ("modules_to_save", ["ln_f"]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "olora"),
        ("loftq_config", {"loftq_bits": 4}),
        ("trainable_token_indices", [1]),
        ("target_parameters", ["x"]),
        ("layer_replication", [[0, 1]]),
        ("alora_invocation_tokens", [1]),
    ],
)
def test_a_setting_beyond_plain_lora_is_refused_by_name(tmp_path, gpt2, name, value):
    adapter_refused(gpt2, write_adapter(tmp_path / "a", fused(), r=2, **{name: value}), name)


def test_settings_at_their_defaults_are_accepted(tmp_path, gpt2):
    silent = {"use_dora": False, "modules_to_save": None, "inference_mode": True, "init_lora_weights": "gaussian"}
    load_peft_adapter(load_gpt2(gpt2)[0], write_adapter(tmp_path / "a", fused(), r=2, **silent, a_new_one=None))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"r": "2"}, "adapter_config.json is damaged"),
        ({"r": 0}, "adapter_config.json is damaged"),
        ({"bias": "some"}, "adapter_config.json is damaged"),
        ({"rank_pattern": [1]}, "adapter_config.json is damaged"),
        ({"target_modules": [1]}, "adapter_config.json is damaged"),
        ({"target_modules": ["q_proj", "v_proj"]}, "holds, against its configuration"),
        ({"r": 3}, "the rank 3, its tensors have 2"),
        ({"target_modules": ["c_attn", "mlp.c_proj"]}, r"lacks the update of transformer\.h\.0\.mlp\.c_proj"),
        ({"target_modules": ["h.0.attn.c_attn"]}, r"holds, against its configuration, an update of transformer\.h\.1"),
        ({"bias": "all"}, r"lacks transformer\.h\.0\.attn\.c_attn\.bias"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_refused(tmp_path, gpt2, settings, words):
    adapter_refused(gpt2, write_adapter(tmp_path / "a", fused(), **({"r": 2} | settings)), words)


def test_adapters_of_other_models_are_refused(tmp_path, gpt2):
    adapter_refused(gpt2, write_adapter(tmp_path / "deep", fused(blocks=range(3)), r=2), r"h\.2\.attn")
    adapter_refused(gpt2, write_adapter(tmp_path / "wide", fused(k=8), r=2), "shape")
    magnitude = {"h.0.attn.c_attn.lora_magnitude_vector": np.ones(3 * C, np.float32)}
    adapter_refused(gpt2, write_adapter(tmp_path / "dora", fused() | magnitude, r=2), "lora_magnitude_vector")
    foreign = {"model.layers.0.self_attn.q_proj.lora_A.weight": np.ones((2, 6), np.float32)}
    folder = write_adapter(tmp_path / "llama", foreign, "", r=2, target_modules=["q_proj"])
    adapter_refused(gpt2, folder, "another kind of model")
    nan = {name: array * np.float32(np.nan) for name, array in fused().items()}
    adapter_refused(gpt2, write_adapter(tmp_path / "nan", nan, r=2), "NaN")


def test_a_table_without_its_head_is_refused(tmp_path, gpt2):
    wte = {name: array for name, array in tied().items() if name.startswith("wte")}
    adapter_refused(gpt2, write_adapter(tmp_path / "a", wte, r=2, target_modules=["wte"]), "one of wte and lm_head")
    both = {"r": 2, "target_modules": ["wte", "lm_head"]}
    apart = tied() | {"lm_head.lora_A.weight": np.ones((2, C), np.float32)}
    adapter_refused(gpt2, write_adapter(tmp_path / "b", apart, **both), "differently")
    adapter_refused(gpt2, write_adapter(tmp_path / "c", tied(), **both, alpha_pattern={"wte": 3}), "differently")
    other = tied() | {"wte.base_layer.weight": np.ones((11, C), np.float32)}
    adapter_refused(gpt2, write_adapter(tmp_path / "d", other, **both), "not this model's")


def test_half_an_adapter_is_refused(tmp_path, gpt2):
    folder = write_adapter(tmp_path / "a", fused(), r=2)
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()
    for length in (0, 8, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        adapter_refused(gpt2, folder, "damaged")
    path.rename(folder / "adapter_model.bin")
    adapter_refused(gpt2, folder, "pickle")
    (folder / "adapter_model.bin").unlink()
    adapter_refused(gpt2, folder, "lacks adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": ')
    adapter_refused(gpt2, folder, "not JSON")
    (folder / "adapter_config.json").unlink()
    adapter_refused(gpt2, folder, "has no adapter_config.json")
    adapter_refused(gpt2, tmp_path / "nowhere", "has no adapter_config.json")


def test_a_lora_is_neither_overwritten_nor_missing(tmp_path, gpt2):
    model = with_lora(gpt2, r=2)
    with pytest.raises(LoraError, match="remove_lora"):
        load_peft_adapter(model, write_adapter(tmp_path / "a", fused(), r=2))
    with pytest.raises(LoraError, match="add_lora"):
        save_peft_adapter(load_gpt2(gpt2)[0], tmp_path / "b")
    assert not (tmp_path / "b").exists()
