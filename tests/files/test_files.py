"""What is saved comes back to the bit, and goes only where it fits."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora.files.container import read_file
from minilora.text import split
from tests.files.damage import forge
from tests.files.kinds import LORA, Reader, file_of, small, write
from tests.models import adapted, batch, bits, configs, gpt, refused, scramble, seeds, trainable


@st.composite
def models(draw) -> ml.GPT:
    return scramble(ml.GPT(draw(configs())), seed=draw(seeds))


lora_configs = st.builds(
    ml.LoraConfig,
    r=st.integers(1, 5) | st.integers(1, 5).map(np.int64),
    lora_alpha=st.floats(-8, 8) | st.integers(1, 9) | st.integers(1, 9).map(np.float32),
    target_modules=st.sampled_from((("q_proj", "v_proj"), ("wte", "0.mlp.up_proj"), r".*\.attn\.[ko]_proj")),
    lora_dropout=st.floats(0, 0.9),
    bias=st.sampled_from(("none", "all", "lora_only")),
    use_rslora=st.booleans(),
    rank_pattern=st.sampled_from(({}, {"q_proj": 2, r"0\.attn\.k_proj": 3})),
    alpha_pattern=st.sampled_from(({}, {"wte|o_proj": 0.5})),
)


# --------------------------------------------------------------------------------------------- there and back


@given(model=models(), lora=st.none() | lora_configs)
def test_a_model_comes_back_to_the_bit(tmp_path, model, lora):
    if lora is not None:
        scramble(ml.add_lora(model, lora))
    ml.save_model(model, tmp_path / "model.npz")
    loaded = ml.load_model(tmp_path / "model.npz")
    assert loaded.config == model.config and bits(loaded) == bits(model)
    assert [(n, p.data.dtype, p.trainable) for n, p in loaded.named_parameters().items()] == [
        (n, p.data.dtype, p.trainable) for n, p in model.named_parameters().items()
    ]
    assert says(loaded) == says(model)


def says(model: ml.GPT) -> list[tuple]:
    """Each layer's settings in the LoRA's config; a file lists the layers that a regular expression chose."""
    return [
        (path, layer.r, layer.scaling, layer.config.lora_dropout, layer.config.bias)
        for path, layer in ml.lora_layers(model)
    ]


@given(model=models(), lora=lora_configs, lora_first=st.booleans())
def test_an_adapter_comes_back_to_the_bit_on_its_base(tmp_path, model, lora, lora_first):
    base = ml.GPT(model.config)
    base.load_state_dict(model.state_dict())
    adapted(model, lora)
    ml.save_adapter(model, tmp_path / "adapter.npz")
    if lora_first:
        ml.add_lora(base, lora, seed=1)
    ml.load_adapter(base, tmp_path / "adapter.npz")
    assert bits(base) == bits(model) and trainable(base).keys() == trainable(model).keys()


def test_an_adapter_holds_what_trains_and_nothing_else(tmp_path):
    model = small(lora=LORA)
    ml.save_adapter(model, tmp_path / "adapter.npz")
    _, tensors = read_file(tmp_path / "adapter.npz", "adapter")
    assert tensors.keys() == trainable(model).keys()


@pytest.mark.parametrize("targets", [r"blocks\.[0-9]\.attn\.[qv]_proj", r".*up_proj|wte"])
def test_a_regular_expression_is_saved_as_the_layers_that_it_chose(targets, tmp_path):
    """It loads into a model that was set up with the expression, and into a plain one."""
    config = ml.LoraConfig(r=2, target_modules=targets, rank_pattern={".*v_proj": 3}, alpha_pattern={".*q_proj": 5})
    model = small(lora=config)
    ml.save_adapter(model, tmp_path / "file")
    header, _ = read_file(tmp_path / "file")
    assert all("*" not in name and "[" not in name for name in header["lora"]["target_modules"])
    for other in (small(), small(lora=config)):
        loaded = ml.load_adapter(other, tmp_path / "file")
        assert bits(loaded) == bits(model) and says(loaded) == says(model)


def test_an_adapter_can_be_saved_while_it_is_merged(tmp_path):
    model = small(lora=LORA)
    ml.save_adapter(model, tmp_path / "before.npz")
    ml.save_adapter(ml.merge(model), tmp_path / "merged.npz")
    assert (tmp_path / "merged.npz").read_bytes() == (tmp_path / "before.npz").read_bytes()


def test_the_shipped_base_knows_the_documentation():
    """An untrained model has log 256 = 5.5 nats per byte, the trained one 1.2; a few held-out lines tell them apart."""
    model, tokenizer = ml.load_base()
    _, held_out = split(tokenizer.encode(ml.python_docs()))
    assert ml.evaluate(model, held_out[:1000]) < 2


# ------------------------------------------------------------------------------------- what a header must describe


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
IMPOSSIBLE = {  # what the odd values and missing entries of damage.crafted do not reach
    "model": [named("ln_f.bias", None), named("more", SINGLE), named(A, None), named(A, np.zeros((1, 3), "float32"))],
    "adapter": [
        named(A, None),
        named("more", SINGLE),
        named(A, np.zeros((1, 3), "float32")),
        lambda h, t: h["config"].update(n_layer=2),
        lambda h, t: h["lora"].update(target_modules=["none"]),
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
        lambda h, t: h["config"].update(n_head=2),
        lambda h, t: h["lora"].update(lora_alpha=1),
    ],
}


@pytest.mark.parametrize(("kind", "change"), [(kind, change) for kind in IMPOSSIBLE for change in IMPOSSIBLE[kind]])
def test_a_file_that_describes_something_else_than_it_holds_is_refused(tmp_path, kind, change):
    Reader(kind, tmp_path / f"{kind}.npz").assert_refuses(forge(file_of(kind, tmp_path), change), f"{kind}.npz")


# --------------------------------------------------------------------------------------------- what fits what


def test_an_adapter_of_another_base_is_refused_unless_that_is_meant(tmp_path):
    path, other = write("adapter", tmp_path / "adapter.npz"), small(seed=1)
    with refused(other, "trained on a different base", ml.CheckpointError):
        ml.load_adapter(other, path)
    assert not any(ml.lora_layers(other))
    ml.load_adapter(other, path, check_base=False)
    assert bits(other)[A] == bits(small(lora=LORA))[A]


def test_an_adapter_does_not_care_how_biases_that_it_holds_were_before(tmp_path):
    path, base = write("adapter", tmp_path / "adapter.npz"), small()
    base.blocks[0].attn.q_proj.bias.data += 1
    assert bits(ml.load_adapter(base, path)) == bits(small(lora=LORA))


def test_an_adapter_is_not_loaded_into_another_lora(tmp_path):
    path = write("adapter", tmp_path / "adapter.npz")
    model = small(lora=ml.LoraConfig(r=1, lora_alpha=1, bias="lora_only"))
    with refused(model, "give the model the same LoRA first", ml.CheckpointError):
        ml.load_adapter(model, path)


def test_a_run_is_not_resumed_with_another_base_or_lora(tmp_path):
    path = tmp_path / "run.npz"
    ml.fit(ml.add_lora(gpt(), ml.LoraConfig(r=2)), batch()[0].ravel(), steps=1, checkpoint=path, progress=False)
    for model in (ml.add_lora(gpt(seed=1), ml.LoraConfig(r=2)), ml.add_lora(gpt(), ml.LoraConfig(r=3)), gpt()):
        with refused(model, r"different base|belongs to the LoRA", ml.CheckpointError):
            ml.fit(model, batch()[0].ravel(), steps=2, checkpoint=path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda path: ml.save_model(ml.merge(small(lora=LORA)), path), "remove_lora.* to save only W, or unmerge"),
        (lambda path: ml.save_adapter(small(), path), "no LoRA to save: call add_lora"),
        (
            lambda path: ml.save_adapter(ml.merge(small(lora=LORA), keep_base=False), path),
            "without keeping W0: call unmerge",
        ),
        (lambda path: ml.load_adapter(ml.merge(small(lora=LORA)), write("adapter", path)), "call unmerge"),
    ],
)
def test_a_lora_in_the_wrong_state_is_refused(tmp_path, wrong, message):
    with pytest.raises(ml.LoraError, match=message):
        wrong(tmp_path / "file.npz")


def test_an_adapter_goes_on_training_after_a_round_trip(tmp_path):
    model = ml.load_adapter(small(), write("adapter", tmp_path / "adapter.npz"))
    before = bits(model)
    ml.fit(model, np.array([0, 1, 2] * 5), steps=1, progress=False)
    assert {name for name, now in bits(model).items() if now != before[name]} == trainable(model).keys()
    assert bits(ml.unmerge(ml.merge(model))) == bits(model)


# ------------------------------------------------------------------------------ what is written can be read again


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8"])
def test_an_array_of_another_type_than_the_config_names_is_not_written(tmp_path, dtype):
    model = gpt()
    ml.save_model(model, tmp_path / "m.npz")
    before = (tmp_path / "m.npz").read_bytes()
    model.ln_f.weight.data = model.ln_f.weight.data.astype(dtype)
    with pytest.raises(ml.CheckpointError, match=r"m\.npz was not written"):
        ml.save_model(model, tmp_path / "m.npz")
    assert (tmp_path / "m.npz").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_the_same_layers_are_the_same_lora_however_they_are_named(tmp_path):
    same = [("q_proj", "v_proj"), ("v_proj", "q_proj"), {"v_proj", "q_proj"}, r"blocks\.\d+\.attn\.[qv]_proj"]
    for one in same:
        ml.save_adapter(ml.add_lora(gpt(), ml.LoraConfig(r=2, target_modules=one)), tmp_path / "a.npz")
        for other in same:
            ml.load_adapter(ml.add_lora(gpt(), ml.LoraConfig(r=2, target_modules=other)), tmp_path / "a.npz")
    with pytest.raises(ml.CheckpointError, match="belongs to the LoRA"):
        ml.load_adapter(ml.add_lora(gpt(), ml.LoraConfig(r=2, target_modules=("q_proj", "k_proj"))), tmp_path / "a.npz")
