"""What is saved comes back to the bit; what is not an honest file is a CheckpointError and changes nothing."""

import functools
import hashlib
import io
import json
import os
import pickle
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilora import (
    GPT,
    Adam,
    CheckpointError,
    GPTConfig,
    LoraConfig,
    LoraError,
    add_lora,
    evaluate,
    fit,
    load_adapter,
    load_base,
    load_model,
    lora_layers,
    merge,
    python_docs,
    save_adapter,
    save_model,
    unmerge,
)
from minilora.files.container import read_file, write_file
from minilora.files.training import load_training, save_training
from minilora.text import split
from tests.models import TINY, batch, bits, gpt, scramble

SMALL = GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2)
LORA = LoraConfig(r=1, bias="lora_only")


@st.composite
def models(draw) -> GPT:
    n_head = draw(st.integers(1, 2))
    config = GPTConfig(
        vocab_size=draw(st.integers(1, 9)),
        block_size=draw(st.integers(1, 9)),
        n_layer=draw(st.integers(1, 2)),
        n_head=n_head,
        n_embd=n_head * draw(st.integers(1, 4)),
        dtype=draw(st.sampled_from(("float32", "float64"))),
    )
    return scramble(GPT(config), seed=draw(st.integers(0, 2**32 - 1)))


lora_configs = st.builds(
    LoraConfig,
    r=st.integers(1, 5) | st.integers(1, 5).map(np.int64),
    lora_alpha=st.floats(-8, 8) | st.integers(1, 9) | st.integers(1, 9).map(np.float32),
    target_modules=st.sampled_from((("q_proj", "v_proj"), ("wte", "0.mlp.up_proj"), r".*\.attn\.[ko]_proj")),
    lora_dropout=st.floats(0, 0.9),
    bias=st.sampled_from(("none", "all", "lora_only")),
    use_rslora=st.booleans(),
    rank_pattern=st.sampled_from(({}, {"q_proj": 2, r"0\.attn\.k_proj": 3})),
    alpha_pattern=st.sampled_from(({}, {"wte|o_proj": 0.5})),
)


def small(seed: int = 0, lora: LoraConfig | None = None) -> GPT:
    """A model of a few bytes; its LoRA, if asked for, is trained, and its base is that of the same seed."""
    model = scramble(GPT(SMALL), seed)
    if lora is not None:
        add_lora(model, lora)
        for _, layer in lora_layers(model):
            layer.lora_B.data += 0.5
    return model


# --------------------------------------------------------------------------------------------- there and back


@given(model=models(), lora=st.none() | lora_configs)
def test_a_model_comes_back_to_the_bit(tmp_path, model, lora):
    if lora is not None:
        scramble(add_lora(model, lora))
    save_model(model, tmp_path / "model.npz")
    loaded = load_model(tmp_path / "model.npz")
    assert loaded.config == model.config and bits(loaded) == bits(model)
    assert [(n, p.data.dtype, p.trainable) for n, p in loaded.named_parameters().items()] == [
        (n, p.data.dtype, p.trainable) for n, p in model.named_parameters().items()
    ]
    assert says(loaded) == says(model)


def says(model: GPT) -> list[tuple]:
    """What the LoRA's config says of each layer; a file holds the layers that a regular expression chose."""
    return [
        (path, layer.r, layer.scaling, layer.config.lora_dropout, layer.config.bias)
        for path, layer in lora_layers(model)
    ]


@given(model=models(), lora=lora_configs, lora_first=st.booleans())
def test_an_adapter_comes_back_to_the_bit_on_its_base(tmp_path, model, lora, lora_first):
    base = GPT(model.config)
    base.load_state_dict(model.state_dict())
    add_lora(model, lora)
    rng = np.random.default_rng(0)
    for parameter in model.named_parameters().values():
        if parameter.trainable:
            parameter.data += rng.standard_normal(parameter.shape).astype(parameter.data.dtype)
    save_adapter(model, tmp_path / "adapter.npz")
    if lora_first:
        add_lora(base, lora, seed=1)
    load_adapter(base, tmp_path / "adapter.npz")
    assert bits(base) == bits(model)
    assert [p.trainable for p in base.named_parameters().values()] == [
        p.trainable for p in model.named_parameters().values()
    ]


def test_an_adapter_holds_what_trains_and_nothing_else(tmp_path):
    model = small(lora=LORA)
    save_adapter(model, tmp_path / "adapter.npz")
    _, tensors = read_file(tmp_path / "adapter.npz", "adapter")
    assert tensors.keys() == {name for name, p in model.named_parameters().items() if p.trainable}


def test_an_adapter_can_be_saved_while_it_is_merged(tmp_path):
    model = small(lora=LORA)
    save_adapter(model, tmp_path / "before.npz")
    save_adapter(merge(model), tmp_path / "merged.npz")
    assert (tmp_path / "merged.npz").read_bytes() == (tmp_path / "before.npz").read_bytes()


def test_the_same_model_is_the_same_file(tmp_path):
    for name in ("one.npz", "two.npz"):
        save_model(small(), tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_numpy_opens_our_files(tmp_path):
    save_model(small(), tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["wte.weight"], small().wte.weight.data)


def test_the_shipped_base_knows_the_documentation():
    """An untrained model has log 256 = 5.5 nats a byte, the trained one 1.2; a few held-out lines tell them apart."""
    model, tokenizer = load_base()
    _, held_out = split(tokenizer.encode(python_docs()))
    assert evaluate(model, held_out[:1000]) < 2


# ---------------------------------------------------------------------------------------------- nothing is lost


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


# ---------------------------------------------------------------------------------- three kinds of file, refused
#
# WRITERS has a function for each kind that writes a file; a Reader loads it, and knows whether it has been changed.


def write_model(path: Path) -> None:
    save_model(small(lora=LORA), path)


def write_adapter(path: Path) -> None:
    save_adapter(small(lora=LORA), path)


def write_training(path: Path) -> None:
    model = small(lora=LORA)
    optimizer = Adam(model)
    optimizer.step({"blocks.0.attn.q_proj.lora_B": np.ones((2, 1), "float32")})
    save_training(path, model, optimizer, {"step": 1}, best={})


class Reader:
    """Something to load into, and whether it has been changed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.model = small(lora=LORA if kind == "training" else None)
        self.optimizer = Adam(self.model)
        self.before = self.state()

    def state(self) -> tuple:
        return bits(self.model), {k: v.tobytes() for k, v in self.optimizer.state_dict().items()}

    def read(self, path: Path) -> dict[str, bytes]:
        """The bits that the file gives; CheckpointError if it is refused."""
        if self.kind == "model":
            return bits(load_model(path))
        if self.kind == "adapter":
            return bits(load_adapter(self.model, path))
        load_training(path, self.model, self.optimizer)
        return bits(self.model)

    def assert_refuses(self, path: Path, message: str | None = None) -> None:
        with pytest.raises(CheckpointError, match=message):
            self.read(path)
        assert self.state() == self.before


WRITERS = {"model": write_model, "adapter": write_adapter, "training": write_training}
kinds = pytest.mark.parametrize("kind", WRITERS)


def written(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.npz"
    WRITERS[kind](path)
    return path


def forge(path: Path, change: Callable[[dict, dict], None]) -> Path:
    """The file with its header and tensors changed, and otherwise honest, its hash included; what is not an array is a
    member's bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    header = json.loads(members.pop("header").tobytes())
    change(header, members)
    header.pop("sha256")
    digest = hashlib.sha256(json.dumps(header).encode())
    for array in members.values():
        digest.update(array if isinstance(array, bytes) else array.tobytes())
    header["sha256"] = digest.hexdigest()
    members = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **members}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            archive.writestr(name + ".npy", value if isinstance(value, bytes) else npy(value))
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


@kinds
def test_a_forgery_that_changes_nothing_is_accepted(tmp_path, kind):
    _, given_by_the_honest = honest(kind)
    assert Reader(kind).read(forge(written(kind, tmp_path), lambda header, tensors: None)) == given_by_the_honest


@kinds
def test_a_truncated_file_is_refused_at_every_length(tmp_path, kind):
    path, reader = written(kind, tmp_path), Reader(kind)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 41), *range(len(whole) - 30, len(whole))}:
        path.write_bytes(whole[:length])
        reader.assert_refuses(path)


@functools.cache
def honest(kind: str) -> tuple[bytes, dict[str, bytes]]:
    """An honest file, and the bits that it gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(kind, Path(folder))
        return path.read_bytes(), Reader(kind).read(path)


@kinds
@settings(max_examples=100)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_does_not_matter(tmp_path, kind, place, bit):
    """Some bits of a zip say when a member was made, or on what system."""
    whole, given_by_the_whole = honest(kind)
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    path, reader = tmp_path / f"{kind}.npz", Reader(kind)
    path.write_bytes(damaged)
    try:
        assert reader.read(path) == given_by_the_whole
    except CheckpointError:
        assert reader.state() == reader.before


def a_text(path: Path) -> None:
    path.write_text("This is no archive.")


def an_empty_file(path: Path) -> None:
    path.write_bytes(b"")


def someones_arrays(path: Path) -> None:
    np.savez(path, **{"wte.weight": np.zeros((3, 2))})


def someones_header(path: Path) -> None:
    np.savez(path, header=np.zeros(3))


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"wte.weight": [0.0]}))


@kinds
@pytest.mark.parametrize("foreign", [a_text, an_empty_file, someones_arrays, someones_header, a_pickle])
def test_a_foreign_file_is_refused(tmp_path, kind, foreign):
    foreign(tmp_path / "foreign.npz")
    Reader(kind).assert_refuses(tmp_path / "foreign.npz", "foreign.npz .*minilora")


@kinds
@pytest.mark.parametrize("other", WRITERS)
def test_a_file_of_another_kind_is_refused(tmp_path, kind, other):
    if other != kind:
        Reader(kind).assert_refuses(written(other, tmp_path), f"holds a {other}, where a {kind} was expected")


@kinds
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, t: h.update(format="other"), "no minilora header"),
        (lambda h, t: h.update(version=2), "format version 2, this minilora reads 1"),
        (lambda h, t: h.pop("version"), "format version None"),
        (lambda h, t: h.pop("kind"), "incomplete header"),
        (lambda h, t: h.pop("tensors"), "incomplete header"),
        (lambda h, t: h.update(tensors=[1]), "incomplete header"),
        (lambda h, t: h["tensors"].popitem(), "disagree about"),
        (lambda h, t: t.popitem(), "disagree about"),
        (lambda h, t: t.update(more=np.zeros(1)), "disagree about more"),
        (lambda h, t: t.update({next(iter(t)): np.zeros((9, 9), "float32")}), "its header says"),
        (lambda h, t: t.update({next(iter(t)): next(iter(t.values())).astype("float64")}), "its header says"),
        (lambda h, t: next(iter(t.values())).fill(np.nan), "holds NaN or infinity"),
        (lambda h, t: next(iter(t.values())).fill(np.inf), "holds NaN or infinity"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, kind, change, message):
    Reader(kind).assert_refuses(forge(written(kind, tmp_path), change), message)


def named(name: str, array: np.ndarray | None) -> Callable[[dict, dict], None]:
    """Put a tensor in, or with None take it out, in the header too."""

    def change(header: dict, tensors: dict) -> None:
        tensors.pop(name, None)
        header["tensors"].pop(name, None)
        if array is not None:
            tensors[name], header["tensors"][name] = array, [list(array.shape), array.dtype.name]

    return change


SINGLE = np.zeros(1, "float32")
A, B = "blocks.0.attn.q_proj.lora_A", "blocks.0.attn.q_proj.lora_B"
IMPOSSIBLE = {
    "model": [
        named("ln_f.bias", None),
        named("more", SINGLE),
        named(A, None),
        named(A, np.zeros((1, 3), "float32")),
        lambda h, t: h.pop("config"),
        lambda h, t: h.update(config=None),
        lambda h, t: h["config"].pop("n_embd") and h["config"].update(unknown=1),
        lambda h, t: h["config"].update(n_embd=-2),
        lambda h, t: h["config"].update(n_embd="2"),
        lambda h, t: h["config"].update(dtype="object"),
        lambda h, t: h.update(lora=None),
    ],
    "adapter": [
        named(A, None),
        named("more", SINGLE),
        named(A, np.zeros((1, 3), "float32")),
        lambda h, t: h.pop("config"),
        lambda h, t: h["config"].pop("n_head"),
        lambda h, t: h["config"].update(n_layer=2),
        lambda h, t: h.pop("base_sha256"),
        lambda h, t: h.update(lora=None),
    ],
    "training": [
        named(f"param.{A}", None),
        named("param.more", SINGLE),
        named("more", SINGLE),
        named(f"param.{A}", np.zeros((1, 3), "float32")),
        named("adam.t", None),
        named("adam.t", np.zeros(2, "int64")),
        named(f"adam.m.{B}", np.zeros((3, 1), "float32")),
        named("best.more", SINGLE),
        lambda h, t: h.pop("record"),
        lambda h, t: h.pop("base_sha256"),
        lambda h, t: h["config"].update(n_head=2),
        lambda h, t: h["lora"].update(lora_alpha=1),
    ],
}
IMPOSSIBLE_LORAS = [
    lambda h, t: h["lora"].update(unknown=1),
    lambda h, t: h["lora"].update(r=0),
    lambda h, t: h["lora"].update(r="1"),
    lambda h, t: h["lora"].update(target_modules=["none"]),
    lambda h, t: h["lora"].update(target_modules="("),
    lambda h, t: h["lora"].update(target_modules=None),
    lambda h, t: h["lora"].update(rank_pattern=None),
    lambda h, t: h["lora"].update(alpha_pattern={"(": 1}),
    lambda h, t: h.update(lora=[1]),
]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        *((kind, change) for kind, changes in IMPOSSIBLE.items() for change in changes),
        *((kind, change) for kind in WRITERS for change in IMPOSSIBLE_LORAS),
    ],
)
def test_a_file_that_describes_something_else_than_it_holds_is_refused(tmp_path, kind, change):
    Reader(kind).assert_refuses(forge(written(kind, tmp_path), change), f"{kind}.npz")


# --------------------------------------------------------------------------------------------- hostile files


class Payload:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@kinds
def test_nothing_is_ever_unpickled(tmp_path, kind):
    objects = np.array([Payload(tmp_path / "executed")], dtype=object)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, objects, allow_pickle=True)
    Reader(kind).assert_refuses(
        forge(written(kind, tmp_path), lambda h, t: t.update({next(iter(t)): buffer.getvalue()})), "not a plain version"
    )
    assert not (tmp_path / "executed").exists()


def peak_memory(run: Callable[[], None]) -> int:
    """Bytes."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def a_bomb(path: Path) -> None:
    """A few kilobytes that unpack to 100 MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", bytes(10**8))


def a_member_that_says_it_is_larger_than_the_file(path: Path) -> None:
    write_model(path)
    data = path.read_bytes()
    size = data.rindex(b"PK\x01\x02") + 24  # of the last entry of the central directory: the unpacked size
    path.write_bytes(data[:size] + (2**31).to_bytes(4, "little") + data[size + 4 :])


def a_shape_that_the_bytes_do_not_fill(path: Path) -> None:
    write_model(path)
    shape, start = (30_000, 20_000), io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def enlarge(header: dict, tensors: dict) -> None:
        tensors["wte.weight"] = start.getvalue() + bytes(24)
        header["tensors"]["wte.weight"] = [shape, "float32"]

    forge(path, enlarge)


def a_config_of_a_huge_model(path: Path) -> None:
    write_model(path)
    forge(path, lambda header, tensors: header["config"].update(n_embd=10**6, n_layer=10**6))


def a_lora_of_huge_rank(path: Path) -> None:
    write_model(path)
    forge(path, lambda header, tensors: header["lora"].update(r=10**9))


def an_adapter_of_huge_rank(path: Path) -> None:
    write_adapter(path)
    forge(path, lambda header, tensors: header["lora"].update(r=10**9))


@pytest.mark.parametrize(
    ("hostile", "kind"),
    [
        (a_bomb, "model"),
        (a_member_that_says_it_is_larger_than_the_file, "model"),
        (a_shape_that_the_bytes_do_not_fill, "model"),
        (a_config_of_a_huge_model, "model"),
        (a_lora_of_huge_rank, "model"),
        (an_adapter_of_huge_rank, "adapter"),
    ],
)
def test_a_file_that_claims_to_be_large_is_refused_before_anything_large_is_made(tmp_path, hostile, kind):
    hostile(tmp_path / "hostile.npz")
    reader = Reader(kind)
    assert peak_memory(lambda: reader.assert_refuses(tmp_path / "hostile.npz")) < 2**20


# --------------------------------------------------------------------------------------------- what fits what


def test_an_adapter_of_another_base_is_refused_unless_that_is_meant(tmp_path):
    path, other = written("adapter", tmp_path), small(seed=1)
    before = bits(other)
    with pytest.raises(CheckpointError, match="trained on another base"):
        load_adapter(other, path)
    assert bits(other) == before and not any(lora_layers(other))
    load_adapter(other, path, check_base=False)
    assert bits(other)[A] == bits(small(lora=LORA))[A]


def test_an_adapter_does_not_care_how_biases_that_it_holds_were_before(tmp_path):
    path, base = written("adapter", tmp_path), small()
    base.blocks[0].attn.q_proj.bias.data += 1
    assert bits(load_adapter(base, path)) == bits(small(lora=LORA))


def test_an_adapter_is_not_loaded_into_another_lora(tmp_path):
    path, model = written("adapter", tmp_path), small(lora=LoraConfig(r=1, lora_alpha=1, bias="lora_only"))
    before = bits(model)
    with pytest.raises(CheckpointError, match="remove_lora takes a LoRA off"):
        load_adapter(model, path)
    assert bits(model) == before


def test_a_run_is_not_resumed_with_another_base_or_lora(tmp_path):
    path = tmp_path / "run.npz"
    fit(add_lora(gpt(), LoraConfig(r=2)), batch()[0].ravel(), steps=1, checkpoint=path, progress=False)
    for model in (add_lora(gpt(seed=1), LoraConfig(r=2)), add_lora(gpt(), LoraConfig(r=3)), gpt()):
        before = bits(model)
        with pytest.raises(CheckpointError, match=r"another base|belongs to the LoRA"):
            fit(model, batch()[0].ravel(), steps=2, checkpoint=path, resume=True, progress=False)
        assert bits(model) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda path: save_model(merge(small(lora=LORA)), path), "remove_lora.* to save W alone, or unmerge"),
        (lambda path: save_adapter(small(), path), "no LoRA to save: call add_lora"),
        (lambda path: save_adapter(merge(small(lora=LORA), keep_base=False), path), "without keeping W0: call unmerge"),
        (lambda path: load_adapter(merge(small(lora=LORA)), written("adapter", path.parent)), "call unmerge"),
    ],
)
def test_a_lora_in_the_wrong_state_is_refused(tmp_path, wrong, message):
    with pytest.raises(LoraError, match=message):
        wrong(tmp_path / "file.npz")


def test_a_failed_training_can_be_looked_at_if_one_asks(tmp_path):
    model = gpt(TINY)
    model.ln_f.bias.data[0] = np.nan
    save_model(model, tmp_path / "model.npz")
    assert bits(load_model(tmp_path / "model.npz", allow_nonfinite=True)) == bits(model)


def test_an_adapter_goes_on_training_after_a_round_trip(tmp_path):
    model = load_adapter(small(), written("adapter", tmp_path))
    before = bits(model)
    fit(model, np.array([0, 1, 2] * 5), steps=1, progress=False)
    assert {name for name, now in bits(model).items() if now != before[name]} == {
        name for name, p in model.named_parameters().items() if p.trainable
    }
    assert bits(unmerge(merge(model))) == bits(model)


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
