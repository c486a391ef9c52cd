"""The command line as its users meet it: what works, and one line and exit code 2 for mistakes."""

import argparse
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minilora as ml
from minilora.cli import main as cli
from minilora.cli.main import main
from minilora.pretrain import corpus
from tests.cli.mistakes import assert_refused
from tests.models import assert_same

SHORT = ["--steps", "2", "--block-size", "16", "--batch-size", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A text, an adapter after two steps of training on it, and files that no command can use."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "text.txt").write_text("It was the best of times, it was the worst of times. Ça va? " * 20, "utf-8")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "short.txt").write_bytes(b"too short")
    (folder / "junk.bin").write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "zeros.bin").write_bytes(bytes(4000))
    assert main(["train", "--data", str(folder / "text.txt"), "--out", str(folder / "a.npz"), *SHORT]) == 0
    (folder / "cut.npz").write_bytes((folder / "a.npz").read_bytes()[:-100])
    return folder


# ---------------------------------------------------------------------------------------------- what works


def test_version_names_the_package(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert (exit.value.code, capsys.readouterr().out) == (0, f"minilora {ml.__version__}\n")


def test_earlier_spellings_of_flags_still_work():
    parse = cli.parser().parse_args
    assert parse(["generate", "--prompt", "x", "--bytes", "7"]).tokens == 7
    assert parse(["demo", "--workers", "3"]).workers == parse(["demo", "--threads", "3"]).workers == 3
    assert parse(["reproduce", "--workers", "3"]).processes == parse(["reproduce", "--processes", "3"]).processes == 3


def test_traceback_shows_where_an_error_comes_from(files):
    with pytest.raises(ml.CheckpointError, match="damaged"):
        main(["--traceback", "info", str(files / "cut.npz")])


def commands(parser=None, above=()):
    """Every command, and the function that it runs."""
    parser = parser or cli.parser()
    found = {" ".join(above): parser.get_default("run")} if parser.get_default("run") else {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found |= commands(below, (*above, name))
    return found


@pytest.mark.parametrize("command", commands())
def test_help_shows_an_example_that_the_parser_accepts(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([*command.split(), "--help"])
    example = shlex.split(capsys.readouterr().out.partition("example:\n")[2])
    assert exit.value.code == 0 and " ".join(example).startswith(f"minilora {command}")
    assert cli.parser().parse_args(example[1:]).run is commands()[command]


def test_train_writes_the_adapter_that_generate_uses(files, capsys):
    prompt = ["generate", "--prompt", "It was ", "--tokens", "30", "--temperature", "0"]
    assert main([*prompt, "--adapter", str(files / "a.npz")]) == 0
    adapted = capsys.readouterr().out
    model, tokenizer = ml.load_base()
    ml.load_adapter(model, files / "a.npz")
    expected = ml.generate(model, tokenizer.encode("It was "), 30, temperature=0)
    assert adapted == tokenizer.decode(expected) + "\n"


def test_equal_seeds_write_equal_files(files, tmp_path):
    train = ["train", "--data", str(files / "text.txt"), *SHORT]
    for name, seed in (("first", "3"), ("second", "3"), ("other", "4")):
        assert main([*train, "--out", str(tmp_path / name), "--seed", seed]) == 0
    first, second, other = ((tmp_path / name).read_bytes() for name in ("first", "second", "other"))
    assert first == second != other


def test_merge_writes_the_model_that_merging_gives(files, tmp_path):
    assert main(["merge", "--adapter", str(files / "a.npz"), "--out", str(tmp_path / "m.npz")]) == 0
    expected, _ = ml.load_base()
    ml.remove_lora(ml.merge(ml.load_adapter(expected, files / "a.npz")))
    assert_same(ml.load_model(tmp_path / "m.npz").state_dict(), expected.state_dict())


@pytest.mark.parametrize("variant", ["dora", "pissa", "olora", "vera", "lora_xs"])
def test_train_makes_every_variant_that_the_other_commands_use(files, tmp_path, capsys, variant):
    adapter, merged = tmp_path / "a.npz", tmp_path / "merged.npz"
    options = ["--variant", variant, "--lora-plus", "16", "--targets", "q_proj", *SHORT]
    assert main(["train", "--data", str(files / "text.txt"), "--out", str(adapter), *options]) == 0
    assert main(["merge", "--adapter", str(adapter), "--out", str(merged)]) == 0
    assert main(["info", str(adapter)]) == 0
    assert f"lora.variant = {variant}" in capsys.readouterr().out
    model = ml.load_adapter(ml.load_base()[0], adapter)
    tokens = np.arange(8)[None]
    np.testing.assert_allclose(ml.load_model(merged)(tokens), model(tokens), rtol=1e-3, atol=1e-3)


def test_train_starts_from_the_base_it_is_given(files, tmp_path):
    ml.save_model(ml.GPT(ml.GPTConfig(block_size=20, n_layer=1, n_head=1, n_embd=8), seed=1), tmp_path / "tiny.npz")
    base = ["--base", str(tmp_path / "tiny.npz")]
    train = ["--block-size", "16", "--steps", "1", "--targets", "up_proj", "--r", "2", "--alpha", "6", "--out"]
    assert main(["train", "--data", str(files / "text.txt"), *base, *train, str(tmp_path / "b.npz")]) == 0
    model = ml.load_adapter(ml.load_model(tmp_path / "tiny.npz"), tmp_path / "b.npz")
    ((path, layer),) = ml.lora_layers(model)
    assert (path, layer.r, layer.scaling) == ("blocks.0.mlp.up_proj", 2, 3.0)


def test_info_describes_each_kind_of_file(files, capsys):
    assert main(["info"]) == 0
    assert main(["info", str(files / "a.npz")]) == 0
    base, adapter = capsys.readouterr().out.split(str(files / "a.npz"))
    model, _ = ml.load_base()
    assert ml.trainable_report(model) in base
    assert "config.n_embd = 128" in base and "wte.weight" in base
    trained = 4 * 4 * 4 * (128 + 128)  # blocks, projections, r, k + d
    assert f"{trained:,} parameters" in adapter
    assert "lora.r = 4" in adapter and "blocks.3.attn.o_proj.lora_B" in adapter


def test_pretrain_writes_a_model_and_its_card(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(corpus, "RECORD_BYTES", 50_000)
    monkeypatch.setattr(corpus, "python_docs", lambda: ml.python_docs()[:20_000])
    monkeypatch.setattr(corpus, "python_docstrings", lambda: [ml.python_docs()[20_000:30_000]])
    assert main(["pretrain", "--steps", "1", "--threads", "2", "--out", str(tmp_path / "p.npz")]) == 0
    assert ml.load_model(tmp_path / "p.npz").config == ml.load_base()[0].config
    card = (tmp_path / "p.md").read_text("utf-8")
    loss = capsys.readouterr().out.split()[2]
    assert loss in card and "1 steps" in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.md", "p.npz"]


# ------------------------------------------------------------------------------------------- what cannot

MISTAKES = {
    "info missing.npz": "missing.npz",
    "info text.txt": "text.txt",
    "info empty.txt": "empty.txt",
    "info cut.npz": "cut.npz",
    "info .": "is a folder",
    "train --data missing.txt": "missing.txt",
    "train --data empty.txt": "empty",
    "train --data short.txt": "9 bytes",
    "train --data junk.bin": "UTF-8",
    "train --data zeros.bin": "binary",
    "train --data text.txt --out no/such/folder/a.npz": "no folder",
    "train --data text.txt --out .": "is a folder",
    "train --data text.txt --out text.txt": "reads",
    "train --data text.txt --base junk.bin": "junk.bin",
    "train --data text.txt --base a.npz": "adapter",
    "train --data text.txt --targets nose": "nose",
    "train --data text.txt --block-size 999": "320",
    "train --data text.txt --alpha nan": "nan",
    "train --data text.txt --steps 0": "--steps",
    "train --data text.txt --lr inf": "--lr",
    "train --data text.txt --seed -1": "--seed",
    "train --data text.txt --r many": "many",
    "train": "--data",
    "generate --prompt x --adapter junk.bin": "junk.bin",
    "generate --prompt x --adapter cut.npz": "cut.npz",
    "generate --prompt x --temperature -1": "temperature",
    "generate --prompt x --temperature warm": "warm",
    "generate --prompt x --tokens 0": "--tokens",
    "generate --prompt=": "prompt",
    "generate --prompt " + 400 * "x": "319",
    "merge --adapter a.npz --out a.npz": "reads",
    "merge --adapter text.txt --out m.npz": "text.txt",
    "pretrain --out base.md": ".npz",
    "demo --out no/such/folder/f.png": "no folder",
    "demo --threads none": "none",
    "frobnicate": "frobnicate",
    "": "COMMAND",
}


@pytest.mark.parametrize(("line", "named"), MISTAKES.items())
def test_a_mistake_gets_one_line_that_names_it(line, named, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    assert_refused(line.split(), named, files, capsys)


def test_ctrl_c_prints_no_traceback_and_keeps_the_old_file(files, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ml, "fit", interrupted)
    (tmp_path / "a.npz").write_bytes(b"old")
    assert main(["train", "--data", str(files / "text.txt"), "--out", str(tmp_path / "a.npz")]) == 130
    assert capsys.readouterr().err == "\nminilora: interrupted\n"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.npz", b"old")]


def test_a_save_that_fails_keeps_the_old_file(files, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "m.npz").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    assert main(["merge", "--adapter", str(files / "a.npz"), "--out", str(tmp_path / "m.npz")]) == 2
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("m.npz", b"old")]


def test_a_diverging_run_is_an_error_and_writes_nothing(files, tmp_path, capsys):
    command = ["train", "--data", str(files / "text.txt"), "--out", str(tmp_path / "a.npz")]
    with np.errstate(all="ignore"):
        assert main([*command, "--alpha", "1e38", "--steps", "9", "--block-size", "16", "--batch-size", "2"]) == 2
    assert "learning rate" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_console_with_a_small_character_set_shows_question_marks(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict")
    monkeypatch.setattr(sys, "stdout", console)
    assert main(["generate", "--prompt", "dW = \N{GREEK CAPITAL LETTER DELTA}W", "--tokens", "1"]) == 0
    console.flush()
    assert console.buffer.getvalue().startswith(b"dW = ?W")


def test_works_as_a_process_from_any_folder_and_into_a_pipe(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(Path(ml.__file__).parents[1])}
    command = [sys.executable, "-m", "minilora", "info"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"wte.weight" in result.stdout


@pytest.fixture
def shell(files):
    """shell(LINE): run a shell line in the files' folder, `minilora` being this one; (exit code, stdout, stderr)."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ml.__file__).parents[1])}

    def shell(line: str) -> tuple[int, str, str]:
        script = f'minilora() {{ "{sys.executable}" -m minilora "$@"; }}; {line}'
        done = subprocess.run(["bash", "-c", script], cwd=files, env=environment, capture_output=True, timeout=120)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return shell


needs_bash = pytest.mark.skipif(os.name != "posix", reason="closes and fills streams with a POSIX shell")
TRAIN = "minilora train --data text.txt --steps 2 --block-size 8 --batch-size 2"


@needs_bash
@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("minilora info >&-", 0, ""),
        ("minilora info nothing.npz >&-", 2, "minilora: error: nothing.npz: No such file or directory\n"),
        ("minilora info 2>&-", 0, ""),
        ("minilora info nothing.npz 2>&-", 2, ""),
        ("minilora nonsense 2>&-", 2, ""),
        (f"{TRAIN} --out closed.npz >&- 2>&- && rm closed.npz", 0, ""),
        ("minilora info > /dev/full", 2, "minilora: error: No space left on device\n"),
        ("minilora --help > /dev/full", 0, ""),
        ("minilora info nothing.npz 2> /dev/full", 2, ""),
        ("minilora nonsense 2> /dev/full", 2, ""),
        (f"{TRAIN} --out full.npz 2> /dev/full && rm full.npz", 0, ""),
        (f"{TRAIN} --out reader.npz 2> >(true) && rm reader.npz", 0, ""),
        ("set -o pipefail; minilora info | head -1", 141, ""),
    ],
)
def test_streams_that_are_closed_full_or_not_read(shell, line, code, error):
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    found = shell(line)
    assert (found[0], found[2]) == (code, error)


def test_ctrl_c_while_modules_are_loading_is_one_line(tmp_path):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(ml.__file__).parents[1])])}
    done = subprocess.run([sys.executable, "-m", "minilora"], env=environment, capture_output=True, timeout=120)
    assert done.returncode != 0 and done.stderr.decode().split() == ["minilora:", "interrupted"]
    other = subprocess.run([sys.executable, "-c", "import minilora"], env=environment, capture_output=True, timeout=120)
    assert b"Traceback" in other.stderr, "other programs keep theirs"


@pytest.mark.parametrize(
    "line",
    [
        "train --data text.txt --steps 9999 --out {}",
        "demo --out {}",
        "pretrain --out {}",
        "merge --adapter a.npz --out {}",
        "adapters sum a.npz --out {}",
        "adapters compress a.npz --r 1 --out {}",
        "adapters merge a.npz --out {}",
        "import peft --adapter . --out {}",
        "export gpt2 --out {}",
        "export peft --adapter a.npz --out {}",
        "grade . --csv {}",
        "data sql --out {}",
    ],
)
def test_an_output_that_cannot_be_written_is_found_before_the_work(line, files, monkeypatch, capsys):
    """Its name is longer than a file's may be while it is written."""
    monkeypatch.chdir(files)
    assert_refused(line.format("x" * 250 + ".npz").split(), "cannot be written", files, capsys)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (["generate", "--prompt", "-x"], "prompt", "-x"),
        (["generate", "--prompt", "--and so on"], "prompt", "--and so on"),
        (["generate", "--prompt", "x", "--temperature", "-1e0"], "temperature", -1.0),
        (["adapters", "sum", "a.npz", "b.npz", "--weights", "-0.5,1", "--out", "c"], "weights", [-0.5, 1.0]),
        (["adapters", "sum", "a.npz", "--weights", "-1", "--out", "c"], "weights", [-1.0]),
        (["train", "--data", "-", "--out", "-a.npz"], "out", Path("-a.npz")),
        (["train", "--data", "t", "--alpha", "-2e-1"], "alpha", -0.2),
        (["train", "--data", "t", "--targets", "q_proj, v_proj"], "targets", ("q_proj", "v_proj")),
        (["info", "--", "-a.npz"], "file", Path("-a.npz")),
    ],
)
def test_values_may_begin_with_a_dash_and_lists_have_spaces(line, name, value):
    assert getattr(cli.parser().parse_args(line), name) == value


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (["generate", "--prompt", "--seed", "3"], "expected one argument"),
        (["train", "--data", "t", "--targets", "q_proj,,v_proj"], "not a list of names"),
        (["generate", "--prompt", "caf\udce9"], "not UTF-8"),
    ],
)
def test_values_that_are_missing_or_wrong_are_named(line, named, capsys):
    with pytest.raises(SystemExit):
        cli.parser().parse_args(line)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and named in error
