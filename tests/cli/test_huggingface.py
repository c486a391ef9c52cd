"""`--base FOLDER`, `minilora export` and `minilora import`: a GPT-2 folder from the command line."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("safetensors", reason='needs safetensors: pip install "minilora[hf]"')
pytest.importorskip("tokenizers", reason='needs tokenizers: pip install "minilora[hf]"')

import minilora as ml
from minilora.cli import main as cli
from minilora.hf import load_gpt2, load_peft_adapter
from tests.cli.mistakes import assert_refused
from tests.hf_folders import SIZES, gpt2_tensors, write_gpt2, write_tokenizer

TEXT = "It was the best of times, it was the worst of times. Ça va? " * 40
TRAIN = ["--steps=2", "--block-size=8", "--batch-size=2", "--threads=1", "--r=2", "--targets=q_proj,v_proj"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A GPT-2 folder, an adapter that the command line trained on it, and folders that no command can use."""
    folder = tmp_path_factory.mktemp("cli")
    sizes = SIZES | {"vocab_size": 300}
    write_gpt2(folder / "gpt2", gpt2_tensors(sizes=sizes), **sizes)
    write_gpt2(folder / "mute")
    write_tokenizer(folder / "gpt2", TEXT)
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text(TEXT, "utf-8")
    train = ["train", "--base", folder / "gpt2", "--data", folder / "text.txt", "--out", folder / "a.npz", *TRAIN]
    assert cli.main([str(argument) for argument in train]) == 0
    return folder


def located(files, *arguments):
    """The arguments, with those that begin with @ as paths of files."""
    return [str(files / a[1:]) if a.startswith("@") else a for a in arguments]


def run(files, *arguments):
    """The exit code of `minilora ARGUMENTS`."""
    return cli.main(located(files, *arguments))


def adapted(files):
    return ml.load_adapter(load_gpt2(files / "gpt2")[0], files / "a.npz")


def test_training_reports_loss_per_token(files, capsys, tmp_path):
    arguments = ["train", "--base", "@gpt2", "--data", "@text.txt", "--out", str(tmp_path / "b.npz"), *TRAIN]
    assert run(files, *arguments) == 0
    assert "nats per token" in capsys.readouterr().out
    assert (tmp_path / "b.npz").read_bytes() == (files / "a.npz").read_bytes()


def test_generate_continues_in_words(files, capsys):
    arguments = ["generate", "--base", "@gpt2", "--adapter", "@a.npz", "--prompt", "the best", "--tokens", "3"]
    assert run(files, *arguments) == 0
    assert capsys.readouterr().out.startswith("the best")


def test_an_adapter_goes_to_peft_and_comes_back(files, capsys, tmp_path):
    out, back = str(tmp_path / "peft"), str(tmp_path / "back.npz")
    assert run(files, "export", "peft", "--base", "@gpt2", "--adapter", "@a.npz", "--out", out) == 0
    assert "PeftModel.from_pretrained" in capsys.readouterr().out
    model = load_peft_adapter(load_gpt2(files / "gpt2")[0], out)
    tokens = np.arange(8).reshape(1, 8)
    np.testing.assert_array_equal(model(tokens), adapted(files)(tokens))
    assert json.loads((tmp_path / "peft" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        files / "gpt2"
    )
    assert run(files, "import", "peft", "--base", "@gpt2", "--adapter", out, "--out", back) == 0
    assert capsys.readouterr().out.startswith("trainable params: ")
    np.testing.assert_array_equal(ml.load_adapter(load_gpt2(files / "gpt2")[0], back)(tokens), model(tokens))


@pytest.mark.parametrize("command", ["merge --adapter @a.npz", "adapters merge @a.npz"])
def test_merging_into_a_folder_makes_a_folder(files, tmp_path, command):
    out = tmp_path / "merged"
    assert run(files, *command.split(), "--base", "@gpt2", "--out", str(out)) == 0
    model, tokenizer = load_gpt2(out)
    tokens = np.arange(8).reshape(1, 8)
    np.testing.assert_array_equal(model(tokens), ml.merge(adapted(files))(tokens))
    assert tokenizer.decode(tokenizer.encode("Ça va?")) == "Ça va?"


def test_the_shipped_base_becomes_a_gpt2(files, capsys, tmp_path):
    out = tmp_path / "base"
    assert run(files, "export", "gpt2", "--out", str(out)) == 0
    model, tokenizer = load_gpt2(out)
    assert tokenizer is None
    state, shipped = model.state_dict(), ml.load_base()[0].state_dict()
    assert all(np.array_equal(state[name], shipped[name]) for name in shipped)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("generate --base @empty --prompt x", "has no config.json"),
        ("generate --base @mute --prompt x", "has no tokenizer"),
        ("train --base @empty --data @text.txt --out @b.npz", "has no config.json"),
        ("train --base @gpt2 --data @text.txt --out @b.npz", "--block-size 128 is more"),
        ("export peft --base @gpt2 --adapter @nothing.npz --out @out", "nothing.npz"),
        ("export peft --adapter @a.npz --out @out", "this model has"),
        ("export peft --base @gpt2 --adapter @a.npz --out @gpt2", "a folder that this command reads"),
        ("export peft --base @gpt2 --adapter @a.npz --out @mute", "which would be lost"),
        ("merge --base @gpt2 --adapter @a.npz --out @gpt2", "a folder that this command reads"),
        ("export gpt2 --base @gpt2 --out @text.txt", "text.txt"),
        ("import peft --base @gpt2 --adapter @empty --out @b.npz", "has no adapter_config.json"),
        ("import peft --base @gpt2 --adapter @gpt2 --out @b.npz", "has no adapter_config.json"),
        ("merge --base @gpt2 --adapter @a.npz --out @text.txt", "text.txt"),
    ],
)
def test_a_mistake_gets_one_line_that_names_it(files, capsys, arguments, words):
    assert_refused(located(files, *arguments.split()), words, files, capsys)


def test_a_missing_extra_gets_one_line(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert run(files, "generate", "--base", "@gpt2", "--prompt", "x") == 2
    assert 'pip install "minilora[hf]"' in capsys.readouterr().err
