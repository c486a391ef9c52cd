"""The package on a stand-in for CuPy (`strict_array`): what runs there asks arrays for their module, never mixes
them with the host's, and copies only what it says it copies. The arithmetic underneath is NumPy's, so results are equal
to the bit wherever both take the same steps. On a real GPU: `test_gpu.py`.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import minilora as ml
from minilora import analysis, methods, ops, train
from minilora.adapters.arithmetic import compress, weighted_sum
from minilora.adapters.bank import AdapterBank
from minilora.adapters.side_by_side import loss_and_grads_side_by_side
from minilora.cli.main import main
from minilora.demo import QUICK, demo
from minilora.files.container import read_file
from minilora.files.model import load_model
from minilora.machine import pieces
from minilora.machine.backend import DeviceError, array_module
from minilora.methods.subspace import fit_in_subspace
from minilora.nn import cache_bytes
from minilora.tasks import Example
from minilora.tasks.decoding import answer
from minilora.text import Batch
from tests.machine import strict_array
from tests.machine.strict_array import cupy, transfers
from tests.methods.test_methods import BOUNDARY, CONFIG, NOISE, OPTIONS, trained
from tests.models import LLAMAS, batch, bits, gpt, llama, trainable
from tests.op_cases import cases, moved

TEXT = np.array([0, 1, 2, 3, 4, 5] * 10)
LORA = ml.LoraConfig(r=2, target_modules=("q_proj", "v_proj", "up_proj"))
every_method = pytest.mark.parametrize("name", OPTIONS)


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    with strict_array.installed():
        yield


@pytest.fixture
def one_piece(monkeypatch) -> None:
    """The host takes a batch in one piece, as a device does, so both add in the same order."""
    monkeypatch.setattr(pieces, "pieces_for", lambda B, T, C, xp: [slice(0, B)])


def on_device(model: ml.GPT) -> ml.GPT:
    return copy.deepcopy(model).to("cupy")


def moved_by(action) -> tuple[int, int]:
    """Transfers (to the device, to the host) that an action made."""
    transfers.reset()
    action()
    return transfers.to_device, transfers.to_host


def assert_same(found, expected) -> None:
    """Equal to the bit, on whichever side the arrays are."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert isinstance(found[name], strict_array.ndarray), f"{name} is on the host"
        np.testing.assert_array_equal(found[name].get(), array, err_msg=name, strict=True)


# -------------------------------------------------------------------------------------------- the stand-in


def test_an_array_refuses_the_hosts_and_does_not_become_one_unasked():
    x = cupy.asarray(np.ones((2, 3)))
    assert array_module(x) is cupy and not isinstance(x, np.ndarray)
    for mix in (
        lambda: x + np.ones(3),
        lambda: np.ones(3) + x,
        lambda: np.asarray(x),
        lambda: np.exp(x),
        lambda: np.concatenate([x, x]),
        lambda: cupy.concatenate([np.ones(2)]),
        lambda: x[np.array([0])],
        lambda: x.__setitem__(0, np.ones(3)),
    ):
        with pytest.raises(TypeError):
            mix()


def test_it_has_what_cupy_has_and_no_more():
    x = cupy.ones((2, 3))
    with pytest.raises(AttributeError, match="geomspace"):
        cupy.geomspace  # noqa: B018
    with pytest.raises(AttributeError, match="setfield"):
        x.setfield(1, float)
    with pytest.raises(TypeError, match="no argument 'where'"):
        cupy.add(x, x, where=True)
    with pytest.raises(AttributeError, match="at"):
        cupy.multiply.at(x, 0, 2)


def test_transfers_are_counted():
    x = cupy.asarray(np.ones(3))
    assert (transfers.to_device, transfers.to_host) == (1, 0)
    assert float(x.sum()) == 3 and bool(x[0]) and f"{x[0]:.1f}" == "1.0"
    x.get(), x.tolist(), cupy.asnumpy(x)
    assert (transfers.to_device, transfers.to_host) == (1, 6)


def test_views_know_whose_memory_they_are_and_count_once():
    x = cupy.zeros((4, 4))
    assert cache_bytes((x, x[1:], x.T, x.reshape(16))) == x.nbytes


# ------------------------------------------------------------------------------------------------------- ops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", cases("float32"))
def test_every_op_is_the_same_on_the_device(name, dtype):
    function, arguments = cases(dtype)[name]
    expected = moved([function(*arguments)], np.asarray)
    arguments = moved(arguments, cupy.asarray)
    transfers.reset()
    found = moved([function(*arguments)], lambda x: x)
    assert (transfers.to_device, transfers.to_host) == (0, 0)
    leaves: list = []
    moved(expected, leaves.append)
    moved(found, lambda x: np.testing.assert_array_equal(x.get(), leaves.pop(0), strict=True))
    assert not leaves


@pytest.mark.parametrize("op", ["gelu", "plain causal_attention"])
def test_a_planted_np_on_an_activation_is_found(monkeypatch, op):
    """What this whole file is for: with `np.` in place of `xp.`, it fails."""
    function, arguments = cases("float32")[op]
    monkeypatch.setattr(ops, "array_module", lambda x: np)
    function(*arguments)  # the host does not mind
    with pytest.raises(TypeError, match=r"ufunc|Implicit conversion|Unsupported"):
        function(*moved(arguments, cupy.asarray))


# -------------------------------------------------------------------------------------- methods, a step of training


@every_method
def test_a_step_of_every_method_is_the_hosts_and_moves_only_the_batch(name, one_piece):
    host = trained(name)
    model, tokens = on_device(host), batch(B=3, T=5)
    loss, grads = ml.loss_and_grads(host, *tokens)
    optimizer, on_host = ml.Adam(model, lr=0.1), ml.Adam(host, lr=0.1)
    found: list = []

    def step() -> None:
        found.extend(ml.loss_and_grads(model, *tokens))
        ml.clip_grad_norm(found[1], 1e9)
        optimizer.step(found[1])

    # Tokens, targets, weights and the positions that count go in, nothing comes out: neither loss nor norm.
    assert moved_by(step) == (3, 0)
    assert_same(found[1], grads)
    assert float(found[0]) == loss
    on_host.step(grads)
    assert bits(model) == bits(host)


@every_method
def test_every_method_is_applied_on_the_device_as_on_the_host(name):
    host = methods.apply(gpt(CONFIG), name, seed=1, **OPTIONS[name])
    model = methods.apply(on_device(gpt(CONFIG)), name, seed=1, **OPTIONS[name])
    assert bits(model) == bits(host) and trainable(model).keys() == trainable(host).keys()
    assert_same({n: p.data for n, p in model.named_parameters().items()}, host.state_dict())


@every_method
def test_every_method_generates_the_same_text(name):
    host = trained(name)
    for prompt in ([[0, BOUNDARY, 1], [2, 2, BOUNDARY]], [1, 2]):
        for temperature in (0, 1.0):
            found, expected = (
                ml.generate(model, prompt, 4, temperature=temperature, top_k=5) for model in (on_device(host), host)
            )
            np.testing.assert_array_equal(found, expected)


@every_method
def test_what_a_method_trained_goes_into_a_file_and_back(name, tmp_path):
    model = on_device(trained(name))
    methods.save_trained(model, tmp_path / "trained.npz")
    again = methods.load_trained(on_device(gpt(CONFIG)), tmp_path / "trained.npz")
    assert bits(again) == bits(model)
    assert isinstance(again.wte.weight.data, strict_array.ndarray)


def test_dropout_is_drawn_on_the_device():
    model = ml.add_lora(on_device(gpt()), ml.LoraConfig(r=2, lora_dropout=0.5))
    model.blocks[0].attn.q_proj.lora_B.data += 1
    tokens = batch()
    losses = [float(ml.loss_and_grads(model, *tokens, rng=np.random.default_rng(seed))[0]) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert moved_by(lambda: ml.loss_and_grads(model, *tokens, rng=np.random.default_rng(0))) == (3, 0)


# ------------------------------------------------------------------------------------------------------- fit


@every_method
def test_fit_is_the_hosts(name, one_piece):
    host = trained(name)
    model = on_device(host)
    options = dict(steps=4, batch_size=3, clip=None, progress=False, validation=NOISE, eval_every=2)
    expected, found = ml.fit(host, NOISE, **options), ml.fit(model, NOISE, **options)
    assert found.losses == expected.losses and found.val_losses == expected.val_losses
    assert bits(model) == bits(host)


@pytest.mark.parametrize("config", LLAMAS.values(), ids=LLAMAS)
def test_a_whole_llama_trains_and_writes_as_the_host_does(config, one_piece):
    host = llama(config)
    model = copy.deepcopy(host).to("cupy")
    options = dict(steps=3, batch_size=3, clip=None, progress=False)
    noise = np.random.default_rng(0).integers(host.vocab_size, size=60)
    assert ml.fit(model, noise, **options).losses == ml.fit(host, noise, **options).losses
    assert bits(model) == bits(host)
    np.testing.assert_array_equal(ml.generate(model, noise[:3], 4, seed=1), ml.generate(host, noise[:3], 4, seed=1))


def test_a_clipped_step_is_the_hosts_to_the_rounding_of_one_factor(one_piece):
    """The device's factor max_norm / norm is an array of the gradients' precision, the host's a Python float."""
    host = gpt()
    _, grads = ml.loss_and_grads(host, *batch())
    clipped = {name: cupy.asarray(g) for name, g in grads.items()}
    norm = ml.clip_grad_norm(grads, 0.1)
    assert math.isclose(float(ml.clip_grad_norm(clipped, 0.1)), norm, rel_tol=1e-15) and norm > 0.1
    for name, g in grads.items():
        np.testing.assert_allclose(clipped[name].get(), g, rtol=4 * np.finfo(np.float64).eps)


def test_the_squares_of_large_gradients_do_not_overflow_on_the_device():
    grads = {"W": cupy.asarray(np.full(4, 1e30, "float32"))}
    assert float(ml.clip_grad_norm(grads, 1.0)) == pytest.approx(2e30)
    np.testing.assert_allclose(grads["W"].get(), 0.5, rtol=4 * np.finfo("float32").eps)


def test_fit_looks_at_losses_only_where_it_says_so():
    model = on_device(gpt())
    data = ml.TextData(TEXT, 4)
    steps = 6  # and at every look a batch and a number more, to see what the last update did
    assert moved_by(lambda: ml.fit(model, data, steps=steps, batch_size=2, progress=False)) == (3 * steps + 3, 2)
    looks = moved_by(lambda: ml.fit(model, data, steps=steps, batch_size=2, progress=False, checkpoint_every=2))
    assert looks == (3 * steps + 9, 6)


def test_the_progress_line_copies_the_loss_to_the_host(capsys):
    model = on_device(gpt())
    assert moved_by(lambda: ml.fit(model, TEXT, steps=3, batch_size=2))[1] == 2
    assert "loss " in capsys.readouterr().err


def test_a_run_that_stopped_goes_on_to_the_bit(tmp_path):
    config = ml.LoraConfig(r=2, lora_dropout=0.1)
    options = dict(batch_size=2, progress=False, validation=TEXT, eval_every=2, patience=9)
    whole, halves = (ml.add_lora(on_device(gpt()), config) for _ in range(2))
    expected = ml.fit(whole, NOISE, steps=6, **options)
    file = tmp_path / "run.npz"
    ml.fit(halves, NOISE, steps=3, checkpoint=file, **{**options, "eval_every": 3})
    assert read_file(file, "training")[0]["record"]["result"]["losses"] == expected.losses[:3]
    found = ml.fit(ml.add_lora(on_device(gpt()), config), NOISE, steps=6, checkpoint=file, resume=True, **options)
    assert found.losses == expected.losses


@pytest.mark.parametrize("bad_from", [0, 1, 3])
def test_a_loss_that_is_not_finite_is_found_later_with_the_same_step_and_weights(monkeypatch, one_piece, bad_from):
    """The host stops at that step; the device when it next looks, when the weights are already ruined."""

    def broken(model, *args, **options):
        loss, grads = ml.loss_and_grads(model, *args, **options)
        nonlocal step
        step += 1
        if step > bad_from:
            grads["ln_f.bias"] += math.inf
        return loss, grads

    monkeypatch.setattr(train, "loss_and_grads", broken)
    host = gpt()
    model, messages = on_device(host), []
    for each in (host, model):
        step = 0
        with pytest.raises(ml.NonFiniteLossError) as error, np.errstate(all="ignore"):
            ml.fit(each, TEXT, steps=6, batch_size=2, clip=None, progress=False)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and f"step {bad_from}:" in messages[0]
    assert bits(model) == bits(host)


def test_answers_to_many_prompts_are_the_hosts():
    host = gpt(ml.GPTConfig(block_size=24, n_layer=1, n_head=1, n_embd=8))
    examples = [Example("ab", ""), Example("a longer prompt", "")]
    assert answer(on_device(host), examples, 5) == answer(host, examples, 5)


# ------------------------------------------------------------------------------------------------------- LoRA


def test_merge_unmerge_and_remove(one_piece):
    host = ml.add_lora(gpt(), LORA)
    for _, p in host.named_parameters().items():
        p.data += 0.1
    model = on_device(host)
    for change in (ml.merge, ml.unmerge, ml.merge, ml.remove_lora):
        assert bits(change(model)) == bits(change(host))
        np.testing.assert_array_equal(model(batch()[0]).get(), host(batch()[0]))


def test_a_merged_model_takes_the_weight_it_kept_along():
    model = ml.add_lora(gpt(), LORA)
    before = bits(model)
    ml.merge(model).to("cupy")
    assert bits(ml.unmerge(model)) == before
    assert isinstance(model.blocks[0].attn.q_proj.weight.data, strict_array.ndarray)
    ml.merge(model).to("numpy")
    assert isinstance(ml.unmerge(model).blocks[0].attn.q_proj.weight.data, np.ndarray) and bits(model) == before


def test_models_and_adapters_in_files(tmp_path):
    model = ml.add_lora(on_device(gpt()), LORA)
    ml.save_model(model, tmp_path / "model.npz")
    assert bits(load_model(tmp_path / "model.npz")) == bits(model)
    ml.save_adapter(model, tmp_path / "adapter.npz")
    assert bits(ml.load_adapter(on_device(gpt()), tmp_path / "adapter.npz")) == bits(model)


# --------------------------------------------------------------------------------------------------- adapters


def banks() -> tuple[AdapterBank, AdapterBank]:
    """The same adapters over the same base, on the host and on the device."""
    both = AdapterBank(gpt()), AdapterBank(on_device(gpt()))
    for bank in both:
        bank.add_adapter("root", ml.LoraConfig(r=1, target_modules=("q_proj", "down_proj")))
        bank.add_adapter("a", LORA, seed=1)
        bank.add_adapter("b", ml.LoraConfig(r=3, target_modules=("up_proj", "wte")), seed=2)
        for name in ("root", "a", "b"):
            for array in bank.adapter(name).tensors.values():
                array += 0.1
        bank.add_adapter("c", ml.LoraConfig(r=2, lora_dropout=0.1), seed=3, parent="root")
    return both


@pytest.mark.parametrize("rows", [["a", "a", "c", None, "b"], ["a", "c", "b", "a", "a"]], ids=["slices", "indices"])
def test_a_mixed_batch_is_the_hosts(rows):
    host, bank = banks()
    tokens = batch(B=5)[0]
    np.testing.assert_array_equal(bank.mixed(rows)(tokens).get(), host.mixed(rows)(tokens))


def test_views_switch_merge_and_train(one_piece):
    host, bank = banks()
    tokens = batch(B=3)
    for names in (["a"], ["b", "c"]):
        np.testing.assert_array_equal(bank.view(*names)(tokens[0]).get(), host.view(*names)(tokens[0]))
        for each in (host, bank):
            each.set_adapter(*names)
            each.merge()
        np.testing.assert_array_equal(bank.model(tokens[0]).get(), host.model(tokens[0]))
        assert bits(bank.merged_copy(*names)) == bits(host.merged_copy(*names))
        for each in (host, bank):
            each.unmerge()
    found, expected = (ml.loss_and_grads(each.view("a"), *tokens) for each in (bank, host))
    assert_same(found[1], expected[1])
    assert moved_by(lambda: ml.loss_and_grads(bank.view("a"), *tokens)) == (3, 0)


def test_training_side_by_side_is_the_hosts(monkeypatch):
    monkeypatch.setattr("minilora.adapters.side_by_side.pieces_for", lambda B, T, C, xp: [slice(0, B)])
    host, bank = banks()
    for equal in (False, True):
        streams = {name: Batch(*batch(seed=0 if equal else seed, B=3)) for seed, name in enumerate("ac")}
        losses, grads = loss_and_grads_side_by_side(host, streams)
        found_losses, found = loss_and_grads_side_by_side(bank, streams)
        assert found_losses == losses
        for name in streams:
            assert_same(found[name], grads[name])


def test_adapters_add_up_and_compress():
    host, bank = banks()
    (small, lost), (expected, expected_lost) = (
        compress(weighted_sum([each.adapter("a"), each.adapter("b")], [1.0, -0.5]), 2) for each in (bank, host)
    )
    assert lost == expected_lost
    assert_same(small.tensors, expected.tensors)


def test_an_adapter_from_a_file_joins_the_bases_device(tmp_path):
    host, bank = banks()
    host.save_adapter("a", tmp_path / "a.npz")
    bank.delete_adapter("a")
    bank.load_adapter("a", tmp_path / "a.npz")
    assert_same(bank.adapter("a").tensors, host.adapter("a").tensors)
    bank.view("a")(batch()[0])


# --------------------------------------------------------------------------------------------------- analysis


def test_every_analysis_takes_the_devices_arrays():
    rng = np.random.default_rng(0)
    host = rng.standard_normal((2, 6, 5))
    for measure in (
        lambda W, dW: analysis.singular_values(dW),
        lambda W, dW: analysis.gaussian_control(dW, np.random.default_rng(1)),
        analysis.similarity_grid,
        lambda W, dW: analysis.subspace_similarity(W, dW, 2, 3),
        lambda W, dW: analysis.projection_norm(W, dW, 2),
        lambda W, dW: analysis.amplification_factor(W, dW, 2),
    ):
        np.testing.assert_array_equal(measure(*map(cupy.asarray, host)), measure(*host))


def test_training_bytes_are_the_hosts():
    tokens = batch()[:2]
    host = ml.add_lora(gpt(), LORA)
    assert analysis.training_bytes(on_device(host), *tokens) == analysis.training_bytes(host, *tokens)


def test_training_in_a_subspace_is_the_hosts(one_piece):
    host = gpt()
    model, data = on_device(host), ml.TextData(NOISE, 4)
    options = dict(m=5, steps=3, lr=0.1, batch_size=2, clip=None)
    losses, expected = (fit_in_subspace(each, data, **options) for each in (model, host))
    assert losses == expected and bits(model) == bits(host)


# ------------------------------------------------------------------------------------------------ where there is none


def test_without_cupy_one_line_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    model = gpt()
    with pytest.raises(DeviceError, match=r"^no GPU: CuPy cannot be imported .* --device cpu$"):
        model.to("cupy")
    assert isinstance(model.wte.weight.data, np.ndarray)


@pytest.mark.parametrize(
    ("owner", "name", "does", "message"),
    [
        (cupy.cuda.runtime, "getDeviceCount", {"return_value": 0}, "finds no device"),
        (
            cupy.cuda.runtime,
            "getDeviceCount",
            {"side_effect": RuntimeError("InsufficientDriver: 12")},
            "InsufficientDriver",
        ),
        (cupy, "ones", {"side_effect": ImportError("libcublas.so.12: not found")}, "cannot compute .*libcublas"),
    ],
)
def test_without_a_device_that_computes_one_line_says_so(monkeypatch, owner, name, does, message):
    monkeypatch.setattr(owner, name, Mock(**does), raising=False)
    with pytest.raises(DeviceError, match=rf"{message}.* --device cpu$"):
        gpt().to("cupy")


# ---------------------------------------------------------------------------------------------- the command line


@pytest.mark.parametrize("command", ["demo --quick", "train --data FILE --out FILE.npz", "generate --prompt x"])
def test_a_command_without_a_gpu_says_so_in_one_line(command, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("The quick brown fox jumps over the lazy dog. " * 9)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main([*command.split(), "--device", "gpu"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("minilora: error: no GPU: CuPy") and said.err.endswith("--device cpu\n")


def test_the_demo_says_the_same_on_the_device(tmp_path):
    """Everything but the times is compared. The host cuts batches into pieces and clips with a factor of different
    precision, so losses are equal up to rounding, and texts unless a random choice is borderline."""
    expected, found = (demo(QUICK, 0, 2, tmp_path / "demo.png", progress=False, device=d) for d in ("numpy", "cupy"))
    for one, other in zip(found.inits, expected.inits, strict=True):
        assert (one.name, one.identical) == (other.name, other.identical)
        assert math.isclose(one.loss, other.loss, rel_tol=1e-5)
    assert found.training.lora_bytes == expected.training.lora_bytes
    assert found.merging.restored and found.merging.where == "the GPU"
    np.testing.assert_allclose(found.training.run.losses, expected.training.run.losses, rtol=1e-4)
    np.testing.assert_allclose(found.training.run.val_losses, expected.training.run.val_losses, rtol=1e-4)
    np.testing.assert_allclose(found.intrinsic.full.losses, expected.intrinsic.full.losses, rtol=1e-4)


def test_training_and_generating_on_the_device_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("The quick brown fox jumps over the lazy dog. " * 30)
    train = "train --data data.txt --steps 2 --batch-size 2 --block-size 32 --out a.npz --device gpu"
    assert main(train.split()) == 0
    texts = []
    for device in ("cpu", "gpu"):
        assert main(["generate", "--prompt", "The ", "--adapter", "a.npz", "--tokens", "8", "--device", device]) == 0
        texts.append(capsys.readouterr().out.splitlines()[-1])
    assert texts[0] == texts[1]
