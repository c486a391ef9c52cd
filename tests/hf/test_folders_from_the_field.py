"""Folders as people have them: settings that go along, odd configs, pointers, pickles, notes, endless patterns."""

import json
import warnings

import numpy as np
import pytest

pytest.importorskip("safetensors", reason='needs safetensors: pip install "minilora[hf]"')
pytest.importorskip("tokenizers", reason='needs tokenizers: pip install "minilora[hf]"')

import safetensors.numpy

import minilora as ml
from minilora import CheckpointError, LoraConfig, hf
from minilora.cli import main as cli
from minilora.lora import lora_layers
from tests import llama_files
from tests.hf_folders import SIZES, gpt2_tensors, write_adapter, write_gpt2, write_tokenizer
from tests.models import bits

TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom, of foolishness and belief. " * 40
WORDS = SIZES | {"vocab_size": 303}  # 300 of the tokenizer's own, 3 that were added
ADDED = {"<pad>": 300, "<stop>": 301, "<user>": 302}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
# Everything that is neither weights nor sizes, as a folder that was tuned to chat has it.
SETTINGS = {
    "generation_config.json": {"eos_token_id": [301, 302], "pad_token_id": 300, "temperature": 0.6},
    "tokenizer_config.json": {"eos_token": "<stop>", "pad_token": {"content": "<pad>"}, "chat_template": TEMPLATE},
    "special_tokens_map.json": {"eos_token": "<stop>", "additional_special_tokens": ["<user>"]},
    "added_tokens.json": ADDED,
}
CONFIG = {"eos_token_id": 301, "pad_token_id": 300, "task_specific_params": {"text-generation": {"max_length": 50}}}


def write_settings(folder, settings=SETTINGS):
    write_tokenizer(folder, TEXT)
    for name, content in settings.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def gpt2_folder(folder, settings=SETTINGS, **config):
    return write_settings(write_gpt2(folder, gpt2_tensors(sizes=WORDS), **WORDS | config), settings)


def llama_folder(folder, settings=SETTINGS, **config):
    arrays = llama_files.tensors()
    table = np.concatenate([arrays["model.embed_tokens.weight"], np.ones((3, 64), np.float32)])
    return write_settings(
        llama_files.write_folder(folder, arrays | {"model.embed_tokens.weight": table}, **{"vocab_size": 303} | config),
        settings,
    )


FOLDERS = pytest.mark.parametrize("make", [gpt2_folder, llama_folder])


def refused(load, words, *arguments):
    with pytest.raises(CheckpointError, match=words) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------- what goes along


@FOLDERS
@pytest.mark.parametrize("way", ["save", "merge", "adapters merge"])
def test_all_but_weights_and_sizes_goes_along(tmp_path, make, way):
    base, out = make(tmp_path / "base", **CONFIG), tmp_path / "out"
    (base / "chat_template.jinja").write_text(TEMPLATE)
    model, tokenizer = hf.load_pretrained(base)
    if way == "save":
        hf.save_pretrained(model, out, tokenizer)
    else:
        ml.save_adapter(ml.add_lora(model, LoraConfig(r=2)), tmp_path / "a.npz")
        adapter = [str(tmp_path / "a.npz")] if way == "adapters merge" else ["--adapter", str(tmp_path / "a.npz")]
        assert cli.main([*way.split(), *adapter, "--base", str(base), "--out", str(out)]) == 0
    for name in (*SETTINGS, "chat_template.jinja"):
        assert (out / name).read_bytes() == (base / name).read_bytes()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (base, out))
    assert {name: after[name] for name in before} == before
    _, again = hf.load_pretrained(out)
    assert (again.stop, again.end_of_text, again.chat) == (tokenizer.stop, tokenizer.end_of_text, tokenizer.chat)
    text = "the best<stop> <user>worst"
    assert again.encode(text).tolist() == tokenizer.encode(text).tolist()


def test_a_gguf_file_says_the_same_as_a_folder(tmp_path):
    """What llama.cpp keeps in one file's settings becomes a folder's files."""
    chat = {"tokenizer.chat_template": llama_files.CHATML, "tokenizer.ggml.add_bos_token": True}
    llama_files.write_gguf(tmp_path / "m.gguf", **chat, **{"tokenizer.ggml.bos_token_id": 1})
    model, tokenizer = hf.load_llama(tmp_path / "m.gguf")
    hf.save_llama(model, tmp_path / "out", tokenizer)
    again = hf.load_tokenizer(tmp_path / "out")
    assert tokenizer.chat is not None and tokenizer.begin == 1 and tokenizer.stop
    for name in ("stop", "end_of_text", "chat", "begin"):
        assert getattr(again, name) == getattr(tokenizer, name)
    assert again.encode("some words").tolist() == tokenizer.encode("some words").tolist()


@FOLDERS
@pytest.mark.parametrize(
    ("settings", "config", "stop"),
    [
        ({}, {"eos_token_id": 7}, (7,)),
        ({}, {"eos_token_id": [7, 8]}, (7, 8)),
        ({}, {"eos_token_id": 7, "pad_token_id": 9}, (7,)),
        ({"generation_config.json": {"eos_token_id": [3, 4]}}, {"eos_token_id": 7}, (3, 4)),
        ({"generation_config.json": {}}, {"eos_token_id": 7}, (7,)),
        ({"tokenizer_config.json": {"eos_token": "<stop>"}, "added_tokens.json": ADDED}, {}, (301,)),
        ({"special_tokens_map.json": {"eos_token": {"content": "a"}}}, {}, "a"),
        ({"special_tokens_map.json": {"eos_token": "a"}, "tokenizer_config.json": {"eos_token": "b"}}, {}, "b"),
        ({}, {"eos_token_id": 50256}, (0,)),  # beyond this table: never drawn
        ({}, {}, (0,)),  # GPT-2's own <|endoftext|>
    ],
)
def test_the_folder_says_what_ends_a_text(tmp_path, make, settings, config, stop):
    """The tokenizer has "<|endoftext|>" as token 0 each time: its spelling decides only where the folder is silent."""
    tokenizer = hf.load_tokenizer(make(tmp_path / "base", settings, **config))
    assert tokenizer.stop == (tuple(tokenizer.encode(stop)) if isinstance(stop, str) else stop)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"added_tokens.json": ADDED},
        {"tokenizer_config.json": {"added_tokens_decoder": {str(i): {"content": text} for text, i in ADDED.items()}}},
    ],
)
def test_added_tokens_are_tokens(tmp_path, settings, whole):
    base = gpt2_folder(tmp_path / "base", {})
    if whole:
        hf.load_tokenizer(base).tokenizer.save(str(base / "tokenizer.json"))
    write_settings(base, settings)
    tokenizer = hf.load_tokenizer(base)
    assert tokenizer.vocab_size == 303
    tokens = tokenizer.encode("best<user>of<stop>")
    assert tokens[-1] == 301 and 302 in tokens and tokenizer.decode(tokens) == "best<user>of<stop>"


@pytest.mark.parametrize(
    "settings",
    [
        {"added_tokens.json": {"<pad>": 5}},
        {"added_tokens.json": {"<pad>": 305}},
        {"added_tokens.json": {"<pad>": None}},
        {"tokenizer_config.json": {"added_tokens_decoder": {"300": "<pad>"}}},
        {"tokenizer_config.json": {"added_tokens_decoder": 3}},
        {"special_tokens_map.json": {"additional_special_tokens": 3}},
        {"tokenizer_config.json": {"chat_template": ["x"]}},
    ],
)
def test_settings_of_tokens_that_make_no_sense_are_refused(tmp_path, settings):
    refused(hf.load_gpt2, "the settings of its tokenizer are damaged", gpt2_folder(tmp_path / "base", settings))


@FOLDERS
def test_a_tokenizer_larger_than_the_table_is_named_at_load(tmp_path, make):
    more = {"added_tokens.json": ADDED | {"<late>": 303}}
    with pytest.warns(UserWarning, match=r"table of 303 tokens has no row for '<late>': .*resize_token_embeddings"):
        hf.load_pretrained(make(tmp_path / "added", more))
    base = make(tmp_path / "own", {})
    vocabulary = json.loads((base / "vocab.json").read_text())
    vocabulary |= {f"<{i}>": i for i in range(300, 304)}
    (base / "vocab.json").write_text(json.dumps(vocabulary))
    refused(hf.load_pretrained, r"no row for '<303>' \(1 such\): the tokenizer belongs to a different model", base)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hf.load_pretrained(make(tmp_path / "fits"))


# -------------------------------------------------------------------------------------- odd configs


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"])
def test_one_gelu_has_several_names(tmp_path, name):
    hf.load_gpt2(write_gpt2(tmp_path / "base", activation_function=name))


@pytest.mark.parametrize("name", ["gelu", "gelu_python", "quick_gelu", "gelu_10"])
def test_another_gelu_is_refused(tmp_path, name):
    refused(hf.load_gpt2, "activation_function", write_gpt2(tmp_path / "base", activation_function=name))


@FOLDERS
def test_a_config_may_lack_its_model_type(tmp_path, make):
    base = make(tmp_path / "base")
    model, _ = hf.load_pretrained(base)
    config = json.loads((base / "config.json").read_text())
    del config["model_type"]
    (base / "config.json").write_text(json.dumps(config))
    assert bits(hf.load_pretrained(base)[0]) == bits(model)


def test_the_silu_is_also_called_swish(tmp_path):
    hf.load_llama(llama_files.write_folder(tmp_path / "base", hidden_act="swish"))


@FOLDERS
def test_a_classifier_and_a_resized_table_get_advice_that_leads_somewhere(tmp_path, make):
    base = make(tmp_path / "base")
    arrays = safetensors.numpy.load_file(base / "model.safetensors")
    head = {"score.weight": np.ones((2, SIZES["n_embd"]), np.float32)}
    safetensors.numpy.save_file(arrays | head, base / "model.safetensors")
    refused(hf.load_pretrained, r"score\.weight: this is the head of a classifier, .*label as the answer's text", base)
    refused(hf.load_pretrained, "if the table was resized, set vocab_size to 303", make(tmp_path / "b", vocab_size=300))


# ----------------------------------------------------------------------- what is not the file it should be


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 548105171\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.json", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, name):
    base = gpt2_folder(tmp_path / "base")
    (base / name).write_text(POINTER)
    refused(hf.load_gpt2, rf"{name} is a pointer of git-lfs, not the file itself: run `git lfs pull`", base)


def test_pointers_in_place_of_adapters_and_single_files(tmp_path):
    model, _ = hf.load_gpt2(write_gpt2(tmp_path / "base"))
    for name in ("a.npz", "m.gguf", "adapter_model.safetensors"):
        (tmp_path / name).write_text(POINTER)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    refused(ml.load_adapter, "git lfs pull", model, tmp_path / "a.npz")
    refused(ml.load_model, "git lfs pull", tmp_path / "a.npz")
    refused(hf.load_llama, "git lfs pull", tmp_path / "m.gguf")
    refused(hf.load_peft_adapter, "git lfs pull", model, tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
            r"00001-of-00002\.bin and 1 more, a pi",
        ),
        (["pytorch_model.bin"], r"pytorch_model\.bin, a pickle, .* save_pretrained\(\)"),
        (["consolidated.00.pth"], r"consolidated\.00\.pth, a pickle"),
        (["adapter_model.safetensors"], "a PEFT adapter and no model"),
        (["model-00001-of-00002.safetensors"], r"fetch the other parts, and model\.safetensors\.index\.json"),
        ([], r"lacks model\.safetensors"),
    ],
)
def test_weights_in_other_files_are_named(tmp_path, files, words):
    base = write_gpt2(tmp_path / "base")
    (base / "model.safetensors").unlink()
    for file in (*files, "README.md"):
        (base / file).write_bytes(b"x")
    (base / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')
    refused(hf.load_gpt2, words, base)


def test_a_folder_for_a_file_and_a_file_for_a_folder(tmp_path):
    base = gpt2_folder(tmp_path / "base")
    model, tokenizer = hf.load_gpt2(base)
    file = base / "model.safetensors"
    for load in (hf.load_gpt2, hf.load_pretrained, hf.load_llama):
        refused(load, "give.* the folder", file)
    refused(hf.load_peft_adapter, "is a file: name the folder", model, file)
    for load in (ml.load_model, lambda path: ml.load_adapter(model, path)):
        refused(load, "is a folder, where a file was expected: .*load_peft_adapter", base)
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        ml.save_model(model, tmp_path)
    with pytest.raises(FileExistsError, match="is a file: name a new folder"):
        hf.save_gpt2(model, file, tokenizer)
    with pytest.raises(FileExistsError, match="is a file: name a new folder"):
        hf.save_peft_adapter(ml.add_lora(model, LoraConfig()), file)


# ---------------------------------------------------------------------------------------- PEFT's adapters


def trained(model):
    """Every B with numbers in it."""
    for _, layer in lora_layers(model):
        layer.lora_B.data[:] = np.random.default_rng(0).standard_normal(layer.lora_B.shape)
    return model


def scalings(model):
    return {path: layer.scaling for path, layer in lora_layers(model)}


def saved_adapter(folder):
    """A model with a LoRA, its base's folder, and what PEFT would save of it."""
    base = write_gpt2(folder / "base")
    config = LoraConfig(r=2, lora_alpha=6, target_modules=("o_proj", "up_proj"))
    model = trained(ml.add_lora(hf.load_gpt2(base)[0], config))
    hf.save_peft_adapter(model, folder / "adapter")
    return model, base, folder / "adapter"


def with_settings(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


FOREVER = r"(([a-z.]+)+)+\d\d\d!"  # a day's work for `re` on a path of thirty letters


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": FOREVER},
        {"target_modules": "("},
        {"exclude_modules": FOREVER},
        {"rank_pattern": {FOREVER: 3}},
        {"target_modules": FOREVER, "exclude_modules": FOREVER, "rank_pattern": {FOREVER: 3}, "r": 7},
    ],
)
def test_a_pattern_from_a_file_is_never_run(tmp_path, settings):
    """The tensors' names say which layers, their shapes which ranks."""
    model, base, adapter = saved_adapter(tmp_path)
    again = hf.load_peft_adapter(hf.load_gpt2(base)[0], with_settings(adapter, **settings))
    assert bits(again) == bits(model) and scalings(again) == scalings(model)


def test_alphas_are_for_plain_endings_of_paths(tmp_path):
    _, base, adapter = saved_adapter(tmp_path)
    plain = with_settings(adapter, alpha_pattern={"h.0.attn.c_proj": 1, "mlp.c_fc": 2, "nothing": 3})
    assert scalings(hf.load_peft_adapter(hf.load_gpt2(base)[0], plain)) == {
        "blocks.0.attn.o_proj": 0.5,
        "blocks.1.attn.o_proj": 3,
        "blocks.0.mlp.up_proj": 1,
        "blocks.1.mlp.up_proj": 1,
    }
    for key in (FOREVER, r"h\.0\.attn.*", "c_fc|c_proj", "(", "^transformer.h.0.attn.c_proj"):
        refused(
            hf.load_peft_adapter,
            "in alpha_pattern, and no regular expression from a file is run: name the layers",
            hf.load_gpt2(base)[0],
            with_settings(adapter, alpha_pattern={key: 1}),
        )


@pytest.mark.parametrize("blocks", [[1], 1])
def test_blocks_are_counted_in_llama_too(tmp_path, blocks):
    base = llama_files.write_folder(tmp_path / "base")
    model = ml.add_lora(hf.load_llama(base)[0], LoraConfig(r=2, layers_to_transform=(1,)))
    hf.save_peft_adapter(trained(model), tmp_path / "a")
    named = with_settings(tmp_path / "a", target_modules=["q_proj", "v_proj"], layers_to_transform=blocks)
    assert bits(hf.load_peft_adapter(hf.load_llama(base)[0], named)) == bits(model)


def test_notes_of_others_are_accepted_with_a_warning(tmp_path):
    model, base, adapter = saved_adapter(tmp_path)
    notes = {"label": "formal letters", "trainer": {"name": "x", "steps": 3}, "_commit": None, "a_new_one": True}
    with pytest.warns(UserWarning, match="does not know a_new_one, label, trainer and ignores"):
        again = hf.load_peft_adapter(hf.load_gpt2(base)[0], with_settings(adapter, **notes))
    assert bits(again) == bits(model)


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"lora_bias": True}, "sets lora_bias to True.*merge_and_unload"),
        ({"modules_to_save": ["ln_f"]}, "sets modules_to_save.*merge_and_unload"),
        (
            {"modules_to_save": ["classifier", "score"], "task_type": "SEQ_CLS"},
            "sets modules_to_save.*label as the answer",
        ),
        ({"alora_invocation_tokens": [1]}, "sets alora_invocation_tokens.*use it with PEFT"),
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'.*merge_and_unload"),
        ({"peft_type": "PROMPT_TUNING"}, "peft_type is 'PROMPT_TUNING'.*use it with PEFT"),
        ({"peft_type": None}, "peft_type is None"),
    ],
)
def test_what_changes_the_function_is_refused_with_advice_that_leads_somewhere(tmp_path, settings, cure):
    _, base, adapter = saved_adapter(tmp_path)
    refused(hf.load_peft_adapter, cure, hf.load_gpt2(base)[0], with_settings(adapter, **settings))


def test_an_adapter_of_a_resized_table_or_a_classifier(tmp_path):
    _, base, adapter = saved_adapter(tmp_path)
    path = adapter / "adapter_model.safetensors"
    whole = safetensors.numpy.load_file(path)
    table = {"base_model.model.transformer.wte.weight": np.ones((13, SIZES["n_embd"]), np.float32)}
    safetensors.numpy.save_file(whole | table, path)
    words = r"of 13 tokens, this model has 11: .*resize_token_embeddings\(13\), then merge"
    refused(hf.load_peft_adapter, words, hf.load_gpt2(base)[0], adapter)
    head = {"base_model.model.score.weight": np.ones((2, SIZES["n_embd"]), np.float32)}
    safetensors.numpy.save_file(whole | head, path)
    refused(hf.load_peft_adapter, r"score\.weight: this is the head of a classifier", hf.load_gpt2(base)[0], adapter)


def test_ranks_that_are_not_the_tensors_are_refused(tmp_path):
    _, base, adapter = saved_adapter(tmp_path)
    model = hf.load_gpt2(base)[0]
    for settings in ({"r": 3}, {"r": 2, "rank_pattern": {"c_fc": 5}}):
        refused(hf.load_peft_adapter, "they are not of one adapter", model, with_settings(adapter, **settings))
    empty = {"h.0.attn.c_proj.lora_A.weight": np.zeros((0, 6), np.float32)}
    refused(hf.load_peft_adapter, "another kind of model", model, write_adapter(tmp_path / "e", empty, r=2))
