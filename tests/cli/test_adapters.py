"""`minilora adapters`: tables for people, JSON for programs, one line and exit code 2 for mistakes."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from minilora import GPT, GPTConfig, LoraConfig, add_lora, load_base, load_model, save_adapter, save_model
from minilora.adapters.arithmetic import compress, weighted_sum
from minilora.adapters.bank import AdapterBank
from minilora.cli.main import main
from minilora.files.adapter import read_adapter
from tests.cli.mistakes import assert_refused
from tests.models import assert_same


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, two adapters for it, a child of one of them, an adapter for the shipped base, and a damaged file."""
    folder = tmp_path_factory.mktemp("adapters")
    base = GPT(GPTConfig(vocab_size=256, block_size=16, n_layer=1, n_head=2, n_embd=8))
    save_model(base, folder / "base.model")
    bank = AdapterBank(base)
    bank.add_adapter("a", LoraConfig(r=2))
    bank.add_adapter("b", LoraConfig(r=3, target_modules=("up_proj", "v_proj")))
    bank.add_adapter("child", LoraConfig(r=1), parent="a")
    for seed, name in enumerate(bank.adapters):
        for array in bank.adapter(name).tensors.values():
            array += np.random.default_rng(seed).standard_normal(array.shape).astype(array.dtype)
        bank.save_adapter(name, folder / f"{name}.npz")
    save_adapter(add_lora(load_base()[0], LoraConfig(r=1)), folder / "shipped.npz")
    (folder / "cut.npz").write_bytes((folder / "a.npz").read_bytes()[:-9])
    return folder


def run(capsys, *arguments) -> str:
    """The output of the command, which must succeed."""
    assert main(["adapters", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def rows(capsys, *arguments) -> list[dict]:
    return json.loads(run(capsys, *arguments, "--json"))


def test_list_shows_every_file_and_why_one_is_refused(folder, capsys):
    table = run(capsys, "list", folder).splitlines()
    assert table[0].split()[:4] == ["file", "state", "r", "alpha"]
    by_file = {row["file"]: row for row in rows(capsys, "list", folder)}
    assert list(by_file) == ["a.npz", "b.npz", "child.npz", "cut.npz", "shipped.npz"]
    assert [line.split()[0] for line in table[1:]] == list(by_file)
    b = by_file["b.npz"]
    assert (b["state"], b["r"], b["targets"], b["layers"]) == ("ok", 3, ["up_proj", "v_proj"], 2)
    assert b["parameters"] == 3 * (8 + 32) + 3 * (8 + 8) and b["bytes"] == 4 * b["parameters"]
    assert by_file["child.npz"]["parent"] == "a" and "damaged" in by_file["cut.npz"]["state"]


def test_merge_writes_the_sum_into_a_plain_model(folder, tmp_path, capsys):
    files = [folder / f"{name}.npz" for name in ("a", "child", "b")]
    base = ["--base", folder / "base.model", "--out", tmp_path / "merged.npz"]
    assert "merged.npz" in run(capsys, "merge", *files, *base)
    bank = AdapterBank(load_model(folder / "base.model"))
    for path in files:
        bank.load_adapter(path.stem, path)
    expected = bank.merged_copy("a", "child", "b").state_dict()
    assert_same(load_model(tmp_path / "merged.npz").state_dict(), expected)


def test_files_may_share_their_names_and_a_parent_may_be_renamed(folder, tmp_path, capsys):
    """Adapters in folders of their runs are all called adapter.npz; `child` was trained on top of an `a`."""
    files = []
    for name in ("a", "child", "b"):
        files.append(tmp_path / f"run {name}" / "adapter.npz")
        files[-1].parent.mkdir()
        files[-1].write_bytes((folder / f"{name}.npz").read_bytes())
    merged = [tmp_path / "merged.npz", tmp_path / "same.npz"]
    run(capsys, "merge", *files, "--base", folder / "base.model", "--out", merged[0])
    named = [folder / f"{name}.npz" for name in ("a", "child", "b")]
    run(capsys, "merge", *named, "--base", folder / "base.model", "--out", merged[1])
    assert merged[0].read_bytes() == merged[1].read_bytes()
    states = [row["state"] for row in rows(capsys, "verify", "--base", folder / "base.model", *files)]
    assert states == ["ok"] * 3
    base = ["--base", str(folder / "base.model"), "--out", str(tmp_path / "m")]
    assert main(["adapters", "merge", *map(str, files[1:]), *base]) == 2
    assert "on top of 'a': give that adapter's file before it" in capsys.readouterr().err


def test_merge_takes_the_shipped_base_by_default(folder, tmp_path, capsys):
    run(capsys, "merge", folder / "shipped.npz", "--out", tmp_path / "merged.npz")
    assert load_model(tmp_path / "merged.npz").config == load_base()[0].config


def test_sum_writes_the_weighted_sum(folder, tmp_path, capsys):
    files = [folder / "a.npz", folder / "b.npz"]
    (row,) = rows(capsys, "sum", *files, "--weights", "0.5,-2", "--out", tmp_path / "sum.npz")
    assert (row["file"], row["r"]) == ("sum.npz", 5)  # v_proj, in both, has rank 2 + 3
    expected = weighted_sum([read_adapter(path) for path in files], [0.5, -2]).tensors
    assert_same(read_adapter(tmp_path / "sum.npz").tensors, expected)


def test_compress_says_what_each_layer_lost(folder, tmp_path, capsys):
    lost = rows(capsys, "compress", folder / "b.npz", "--r", "2", "--out", tmp_path / "small.npz")
    smaller, expected = compress(read_adapter(folder / "b.npz"), 2)
    assert {row["layer"]: (row["rank"], row["new rank"], row["lost"]) for row in lost} == {
        path: (3, 2, layer.error) for path, layer in expected.items()
    }
    assert all(0 < row["ratio"] < 1 for row in lost)
    assert read_adapter(tmp_path / "small.npz").lora == smaller.lora


def test_verify_accepts_only_intact_files_made_for_the_base(folder, capsys):
    whole = [folder / f"{name}.npz" for name in ("a", "b", "child", "shipped")]
    assert [row["state"] for row in rows(capsys, "verify", *whole)] == ["ok"] * 4
    assert main(["adapters", "verify", "--json", *map(str, [*whole, folder / "cut.npz"])]) == 2
    captured = capsys.readouterr()
    assert [row["state"] == "ok" for row in json.loads(captured.out)] == [True] * 4 + [False]
    assert captured.err == "minilora: error: 1 of 5 files are refused\n"
    assert main(["adapters", "verify", "--base", str(folder / "base.model"), *map(str, whole)]) == 2
    captured = capsys.readouterr()
    states = [line.split(maxsplit=1)[1] for line in captured.out.splitlines()[1:]]
    assert [state.startswith("ok") for state in states] == [True, True, True, False] and "for a base of" in states[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "nothing"], "holds no .npz files"),
        (["list", "a.npz"], "give the folder"),
        (["merge", "a.npz", "--out", "m"], "base"),
        (["merge", "child.npz", "--base", "base.model", "--out", "m"], "on top of the adapter 'a'"),
        (["merge", "a.npz", "--base", "base.model", "--out", "a.npz"], "a file that this command reads"),
        (["sum", "a.npz", "shipped.npz", "--out", "s"], "different bases"),
        (["sum", "a.npz", "--weights", "1,2", "--out", "s"], "1 adapters and 2 weights"),
        (["sum", "a.npz", "--weights", "one", "--out", "s"], "not a list of numbers"),
        (["sum", "none.npz", "--out", "s"], "No such file"),
        (["compress", "cut.npz", "--r", "1", "--out", "s"], "damaged"),
        (["compress", "a.npz", "--r", "0", "--out", "s"], "at least 1"),
        (["compress", "a.npz", "--r", "1", "--out", "none/s"], "there is no folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert_refused(["adapters", *arguments], message, folder, capsys)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_device_or_pipe_is_not_replaced(folder, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["adapters", "sum", str(folder / "a.npz"), "--out", str(pipe)]) == 2
    assert "name a plain file" in capsys.readouterr().err and pipe.is_fifo()
