"""Files that can be trusted: every damage is found, every crash leaves a whole file, and loading runs no code."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from minilora import (
    GPT,
    CheckpointError,
    GPTConfig,
    LoraConfig,
    add_lora,
    load_adapter,
    load_model,
    lora_layers,
    save_adapter,
    save_model,
)
from minilora.files.container import read_file
from tests.files import damage
from tests.models import scramble

# For a longer run: MINILORA_FUZZ=100000 python -m pytest tests/files/test_container.py
CASES = int(os.environ.get("MINILORA_FUZZ", "2000"))
SMALL = 16384  # a file under 16 KiB counts as 16 KiB: Python's own objects are no smaller for it
SECONDS = 20  # no case takes a hundredth of it; a loader that hangs takes more
CONFIG = GPTConfig(vocab_size=64, block_size=16, n_layer=1, n_head=2, n_embd=16)
LORA = LoraConfig(r=4, lora_alpha=8, target_modules=("q_proj", "v_proj", "up_proj"))


def base() -> GPT:
    return scramble(GPT(CONFIG), seed=1)


def adapted(seed: int = 2) -> GPT:
    model = add_lora(base(), LORA)
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters().items():
        if name.endswith(("lora_A", "lora_B")):
            parameter.data[...] = rng.standard_normal(parameter.shape)
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """An adapter, another one of the same shape, a model with a LoRA and one without."""
    folder = tmp_path_factory.mktemp("honest")
    save_adapter(adapted(2), folder / "adapter")
    save_adapter(adapted(3), folder / "other")
    save_model(adapted(2), folder / "model")
    save_model(base(), folder / "plain")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and np.array_equal(a[n], b[n]) for n in a)


@contextmanager
def no_hang():
    """An error after SECONDS, where the system has the timer for it."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


class Examiner:
    """Loads damaged files, and fails if one takes more than ten times its size, or hangs."""

    def __init__(self, folder: Path) -> None:
        self.path, self.base = folder / "file", base()
        # A splice may end up as the file it took its end from, with the other's meaningless bits.
        self.honest = [model.state_dict() for model in (adapted(2), adapted(3), base())]

    def loads(self, kind: str, file: bytes) -> bool:
        """Whether it loads, as exactly what was saved; if not, it must be refused as is documented."""
        self.path.write_bytes(file)
        model, peak = self._load(kind)
        if peak > 10 * max(len(file), SMALL):
            # What Python loads once for itself, a codec say, is not the file's: it does not show a second time.
            model, peak = self._load(kind)
        assert peak <= 10 * max(len(file), SMALL), f"{peak:,} bytes for a file of {len(file):,}"
        if model is None:
            return False
        assert any(equal(model.state_dict(), honest) for honest in self.honest), "it loaded, and is not what was saved"
        return True

    def _load(self, kind: str) -> tuple[GPT | None, int]:
        """The model, None if the file is refused, and the peak of memory in bytes."""
        model = None
        tracemalloc.start()
        try:
            with no_hang():
                model = load_model(self.path) if kind == "model" else load_adapter(self.base, self.path)
        except CheckpointError as error:
            assert str(self.path) in str(error) and str(error).isprintable() and len(str(error)) <= 600
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        if kind == "adapter" and model is not None:
            self.base = base()  # the other one has a LoRA now
        return model, peak


@pytest.fixture
def examiner(tmp_path, monkeypatch) -> Examiner:
    monkeypatch.chdir(tmp_path)  # where what an enemy's code makes would be found
    return Examiner(tmp_path)


# --------------------------------------------------------------------------------------------------- fuzz


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_an_honest_file_loads_equal_in_ten_times_its_size(kind, files, examiner):
    assert examiner.loads(kind, files[kind])


@pytest.mark.filterwarnings("ignore:Duplicate name")  # we write such a zip, and zipfile says so
def test_every_damaged_file_loads_equal_or_is_refused(files, examiner):
    """CASES files, damaged in every way of `damage.WAYS`. What loads all the same has lost bits that mean nothing, such
    as a date in the zip's directory."""
    rng = np.random.default_rng(0)
    loaded = dict.fromkeys((way.__name__ for way in damage.WAYS), 0)
    for i in range(CASES):
        way = damage.WAYS[i % len(damage.WAYS)]
        kind, other = (("adapter", "other"), ("adapter", "model"), ("model", "plain"))[i // len(damage.WAYS) % 3]
        file = way(rng, files[kind], files[other])
        if file not in files.values():  # a splice of no length is the honest file itself
            loaded[way.__name__] += examiner.loads(kind, file)
    assert not Path("pwned").exists()
    meaningless = {"flip_bits", "flip_directory_bits", "overwrite", "insert", "splice"}
    assert {way for way, n in loaded.items() if n} <= meaningless and sum(loaded.values()) < CASES / 10


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_every_crafted_file_loads_equal_or_is_refused(kind, files, examiner):
    """Written by someone who knows the format, with checksums and hash made right."""
    refused = 0
    for what, file in damage.crafted(files[kind]):
        try:
            refused += not examiner.loads(kind, file)
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert refused > 300 and not Path("pwned").exists()


# --------------------------------------------------------------------------------------------------- faults


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each kill needs a fork of the saving process")
def test_a_process_killed_at_any_line_of_saving_leaves_a_whole_file(tmp_path):
    """The old file until the rename, the new one after it; what the killed left beside it is read by nothing."""
    command = [sys.executable, "-m", "tests.files.killed_while_saving", str(tmp_path)]
    counts = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=300).stdout)
    assert counts["old"] > 100 and counts["new"] >= 1 and counts["killed from outside"] == 20
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".tmp"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_unless_asked_for(value, tmp_path):
    model = base()
    model.ln_f.bias.data[3] = value
    save_model(model, tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"ln_f\.bias holds NaN or infinity"):
        load_model(tmp_path / "file")
    loaded = load_model(tmp_path / "file", allow_nonfinite=True)
    np.testing.assert_array_equal(loaded.ln_f.bias.data, model.ln_f.bias.data)


def test_equal_content_is_an_equal_file_that_numpy_reads(files, tmp_path):
    save_adapter(adapted(2), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == files["adapter"]
    with np.load(tmp_path / "again") as archive:
        for name, parameter in adapted(2).named_parameters().items():
            if name.endswith(("lora_A", "lora_B")):
                np.testing.assert_array_equal(archive[name], parameter.data)


@pytest.mark.parametrize("targets", [r"blocks\.[0-9]\.attn\.[qv]_proj", r".*up_proj|wte"])
def test_a_regular_expression_is_saved_as_the_layers_that_it_chose(targets, tmp_path):
    """And may be loaded into a model that was set up with the expression, or into a plain one."""
    config = LoraConfig(r=2, target_modules=targets, rank_pattern={".*v_proj": 3}, alpha_pattern={".*q_proj": 5})
    model = add_lora(base(), config)
    save_adapter(model, tmp_path / "file")
    header, _ = read_file(tmp_path / "file")
    assert all("*" not in name and "[" not in name for name in header["lora"]["target_modules"])
    for other in (base(), add_lora(base(), config, seed=5)):
        loaded = load_adapter(other, tmp_path / "file")
        assert equal(loaded.state_dict(), model.state_dict())
        assert [(p, a.r, a.scaling) for p, a in lora_layers(loaded)] == [
            (p, a.r, a.scaling) for p, a in lora_layers(model)
        ]
