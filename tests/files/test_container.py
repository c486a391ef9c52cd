"""Files that can be trusted: every damage is found, every crash leaves a whole file, and loading runs no code."""

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minilora import CheckpointError, load_model, save_model
from minilora.files.container import read_file, write_file
from tests.files import damage
from tests.files.kinds import KINDS, LORA, Reader, file_of, small

# For a longer run: MINILORA_FUZZ=100000 python -m pytest tests/files/test_container.py
CASES = int(os.environ.get("MINILORA_FUZZ", "2000"))
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """read(kind, file): the bits that it gives, which must be those of an honest file, or None if it is refused."""
    monkeypatch.chdir(tmp_path)  # where we would find what an attacker's code makes
    readers = {kind: Reader(kind, tmp_path / "file") for kind in KINDS}
    # A splice may be the file that it took its end from, with meaningless bits of the other.
    honest = {kind: [readers[kind].read(file_of(kind, tmp_path, change)) for change in (0, 1)] for kind in KINDS}
    save_model(small(), tmp_path / "plain")
    honest["model"].append(readers["model"].read((tmp_path / "plain").read_bytes()))

    def read(kind, file):
        found = readers[kind].read(file)
        assert found is None or found in honest[kind], "it loaded, and is not what was saved"
        return found

    return read


# --------------------------------------------------------------------------------------------------- damage


@kinds
def test_an_honest_file_loads_and_so_does_one_forged_to_be_the_same(kind, read, tmp_path):
    file = file_of(kind, tmp_path)
    assert read(kind, file) == read(kind, damage.forge(file, lambda header, tensors: None)) is not None


@pytest.mark.filterwarnings("ignore:Duplicate name")  # we write such a zip, and zipfile says so
def test_every_damaged_file_loads_equal_or_is_refused(read, tmp_path):
    """CASES files, damaged in every way of `damage.WAYS`. What loads anyway has lost only meaningless bits, such as a
    date in the zip's directory."""
    one, other = ({kind: file_of(kind, tmp_path, change) for kind in KINDS} for change in (0, 1))
    save_model(small(), tmp_path / "plain")
    pairs = [(kind, one[kind], other[kind]) for kind in KINDS]
    pairs += [("model", one["model"], (tmp_path / "plain").read_bytes()), ("adapter", one["adapter"], one["model"])]
    rng = np.random.default_rng(0)
    loaded = dict.fromkeys((way.__name__ for way in damage.WAYS), 0)
    for i in range(CASES):
        way = damage.WAYS[i % len(damage.WAYS)]
        kind, file, second = pairs[i // len(damage.WAYS) % len(pairs)]
        damaged = way(rng, file, second)
        if damaged not in (file, second):  # a splice of no length is the honest file itself
            loaded[way.__name__] += read(kind, damaged) is not None
    assert not Path("pwned").exists()
    meaningless = {"flip_bits", "flip_directory_bits", "overwrite", "insert", "splice"}
    assert {way for way, n in loaded.items() if n} <= meaningless and sum(loaded.values()) < CASES / 10


@kinds
@pytest.mark.filterwarnings("ignore:.*trained on this base in")  # a header may name any quantization
def test_every_crafted_file_loads_equal_or_is_refused(kind, read, tmp_path):
    """Written by someone who knows the format, with correct checksums and hash."""
    refused = 0
    for what, file in damage.crafted(file_of(kind, tmp_path)):
        try:
            refused += read(kind, file) is None
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert refused > 300 and not Path("pwned").exists()


def saved(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


FOREIGN = {
    "a text": b"This is no archive.",
    "an empty file": b"",
    "someone's arrays": saved(weight=np.zeros((3, 2))),
    "someone's header": saved(header=np.zeros(3)),
    "a pickle": pickle.dumps({"wte.weight": [0.0]}),
}


@kinds
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_file_is_refused(kind, foreign, tmp_path):
    Reader(kind, tmp_path / "foreign.npz").assert_refuses(FOREIGN[foreign], "foreign.npz .*minilora")


@pytest.mark.parametrize(("kind", "other"), [(a, b) for a in KINDS for b in KINDS if a != b])
def test_a_file_of_another_kind_is_refused(kind, other, tmp_path):
    message = f"is a file of the kind '{other}', where '{kind}' was expected"
    Reader(kind, tmp_path / "file").assert_refuses(file_of(other, tmp_path), message)


A = "blocks.0.attn.q_proj.lora_A"


@kinds
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t, first: h.update(format="other"), "no minilora header"),
        (lambda h, t, first: h.update(version=2), "format version 2, this minilora reads 1"),
        (lambda h, t, first: h.pop("version"), "format version None"),
        (lambda h, t, first: h.pop("kind"), "incomplete header"),
        (lambda h, t, first: h.update(tensors=[1]), "incomplete header"),
        (lambda h, t, first: h["tensors"].popitem(), "disagree about"),
        (lambda h, t, first: t.popitem(), "disagree about"),
        (lambda h, t, first: t.update(more=np.zeros(1)), "disagree about more"),
        (lambda h, t, first: t.update({first: np.zeros((9, 9), "float32")}), "its header says"),
        (lambda h, t, first: t.update({first: np.zeros(h["tensors"][first][0])}), "its header says"),
        (lambda h, t, first: t.update({first: np.full(h["tensors"][first][0], np.nan, "float32")}), "NaN or infinity"),
        (lambda h, t, first: t.update({first: np.full(h["tensors"][first][0], np.inf, "float32")}), "NaN or infinity"),
        (lambda h, t, first: t.update({first: np.zeros(1, object)}), "not a plain version"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, kind, change, message):
    file = file_of(kind, tmp_path)
    first = next(name for name in damage.header_of(file)["tensors"] if name.endswith(A))
    forged = damage.forge(file, lambda header, tensors: change(header, tensors, first))
    Reader(kind, tmp_path / "file").assert_refuses(forged, message)


# --------------------------------------------------------------------------------------------------- faults


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each kill needs a fork of the saving process")
def test_a_process_killed_at_any_line_of_saving_leaves_a_whole_file(tmp_path):
    """The old file until the rename, the new one after it; nothing reads what a killed process left beside it."""
    command = [sys.executable, "-m", "tests.files.killed_while_saving", str(tmp_path)]
    counts = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=300).stdout)
    assert counts["old"] > 100 and counts["new"] >= 1 and counts["killed from outside"] == 20
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".tmp"}


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "numpy.lib.format.write_array"])
def test_a_failing_write_leaves_the_old_file_and_no_other(monkeypatch, tmp_path, where, error):
    path = tmp_path / "model.npz"
    save_model(small(seed=0), path)
    before = path.read_bytes()

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(where, fail)
    with pytest.raises(type(error)):
        save_model(small(seed=1), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_others_may_read_what_they_may_read_of_other_files(tmp_path):
    (tmp_path / "plain").touch()
    save_model(small(), tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError):
        save_model(small(), tmp_path / "none" / "model.npz")
    with pytest.raises(OSError):
        load_model(tmp_path / "none.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_unless_asked_for(value, tmp_path):
    model = small()
    save_model(model, tmp_path / "file")
    model.ln_f.bias.data[1] = value
    with pytest.raises(CheckpointError, match=r"not written.*ln_f\.bias holds NaN or infinity"):
        save_model(model, tmp_path / "file")
    assert np.isfinite(load_model(tmp_path / "file").ln_f.bias.data).all()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    header, tensors = read_file(tmp_path / "file")
    tensors["ln_f.bias"][1] = value
    write_file(tmp_path / "file", "model", header, tensors, read=lambda path: None)
    with pytest.raises(CheckpointError, match=r"ln_f\.bias holds NaN or infinity"):
        load_model(tmp_path / "file")
    loaded = load_model(tmp_path / "file", allow_nonfinite=True)
    np.testing.assert_array_equal(loaded.ln_f.bias.data, model.ln_f.bias.data)


@kinds
def test_equal_content_is_an_equal_file_that_numpy_reads(kind, tmp_path):
    assert file_of(kind, tmp_path) == file_of(kind, tmp_path)
    names = [name for name, p in small(lora=LORA).named_parameters().items() if p.trainable]
    with np.load(tmp_path / "honest", allow_pickle=False) as archive:
        for name in names:
            found = archive[f"param.{name}" if kind == "training" else name]
            if kind != "training":  # which has taken a step
                np.testing.assert_array_equal(found, small(lora=LORA).named_parameters()[name].data)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_the_container_keeps_every_dtype_and_shape(tmp_path, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    write_file(tmp_path / "file.npz", "test", {"note": [1, "a"]}, {"a": array, "b": np.array(array, order="F")})
    header, tensors = read_file(tmp_path / "file.npz", "test")
    assert header["note"] == [1, "a"]
    for got in tensors.values():
        assert got.dtype == dtype and got.shape == shape
        np.testing.assert_array_equal(got, array)
