"""The loss is the paper's objective, gradients do not depend on who computes them, a run can stop anywhere."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilora as ml
from minilora import attention, ops, train
from minilora.files.container import CheckpointError, read_file
from minilora.machine import pieces
from minilora.machine.blas import single_threaded_blas
from minilora.machine.pieces import piece_slices
from minilora.machine.watch import Watch
from minilora.testing.bounds import gamma
from minilora.text import Batch
from tests.models import TINY, assert_same, batch, bits, gpt, refused, seeds
from tests.reference import Reference, reference_logits, reference_loss

TEXT = np.array([0, 1, 2, 3, 4, 5] * 10)
NOISE = np.random.default_rng(0).integers(7, size=60)


def adapted(**config) -> ml.GPT:
    return ml.add_lora(gpt(), ml.LoraConfig(**{"r": 2, "bias": "lora_only", **config}))


@pytest.fixture
def many_pieces(monkeypatch):
    """Pieces of two sequences of four tokens, so that small batches are cut too."""
    monkeypatch.setattr(pieces, "ELEMENTS_PER_PIECE", 8 * TINY.n_embd)


# ------------------------------------------------------------------------------------------------- loss


@given(seed=seeds, B=st.integers(1, 7))
def test_the_loss_is_the_weighted_mean_of_minus_the_log_probability(many_pieces, seed, B):
    model, (tokens, targets, weights) = gpt(seed=seed), batch(seed, B)
    expected = reference_loss(model, tokens, targets, weights)
    assert abs(ml.loss_and_grads(model, tokens, targets, weights)[0] - expected.value) <= 2 * expected.error


def test_without_weights_every_target_counts_the_same():
    tokens, targets, weights = batch()
    plain, weighted = (ml.loss_and_grads(gpt(), tokens, targets, w) for w in (None, np.full_like(weights, 4.0)))
    assert plain[0] == weighted[0]
    assert_same(plain[1], weighted[1])


def test_a_target_of_weight_zero_does_not_count():
    tokens, targets, weights = batch()
    other = targets.copy()
    other[0, 0] = (other[0, 0] + 1) % 7  # where the weight is 0
    loss, grads = ml.loss_and_grads(gpt(), tokens, targets, weights)
    other_loss, other_grads = ml.loss_and_grads(gpt(), tokens, other, weights)
    assert loss == other_loss
    assert_same(grads, other_grads)


@pytest.mark.parametrize("empty", [[], [0], [0, 1]], ids=["one position", "a row", "a piece"])
def test_positions_of_weight_zero_get_no_logits_and_nothing_else_changes(many_pieces, monkeypatch, empty):
    """Gradients are a few dozen sums deep, of at most 4 C = 24 or B T = 20 terms."""
    model, (tokens, targets, weights), rounding = adapted(), batch(B=5), gamma(64 * 24, "float64")
    weights[empty] = 0
    rows, cross_entropy = [], ops.cross_entropy
    monkeypatch.setattr(ops, "cross_entropy", lambda z, y: rows.append(z.shape) or cross_entropy(z, y))
    loss, grads = ml.loss_and_grads(model, tokens, targets, weights)
    assert sum(n for n, _ in rows) == np.count_nonzero(weights) < weights.size
    monkeypatch.setattr(train, "_counted", lambda y, w, xp: (None, y.reshape(-1), w.reshape(-1)))
    all_loss, all_grads = ml.loss_and_grads(model, tokens, targets, weights)
    assert abs(all_loss - loss) <= rounding * loss
    for name, g in all_grads.items():
        assert np.abs(g - grads[name]).max() <= rounding * np.abs(g).max()


@given(seed=seeds, B=st.integers(2, 7), workers=st.integers(2, 4))
def test_the_number_of_workers_changes_only_the_order_of_addition(many_pieces, seed, B, workers):
    """The pieces are the same; P numbers added in two orders are at most 2 gamma_P times the sum of their sizes apart.

    The table is frozen, because each piece adds to its gradient twice, from the lookup and from the head.
    """
    model, (tokens, targets, weights) = gpt(seed=seed), batch(seed, B)
    model.wte.freeze()
    with single_threaded_blas():  # which is what several workers use
        loss, grads = ml.loss_and_grads(model, tokens, targets, weights)
        other_loss, other_grads = ml.loss_and_grads(model, tokens, targets, weights, workers=workers)
        parts = []
        for rows in piece_slices(*tokens.shape, TINY.n_embd):
            own = np.zeros_like(weights)
            own[rows] = weights[rows]
            parts.append((own.sum() / weights.sum(), *ml.loss_and_grads(model, tokens, targets, own)))
    bound = 2 * gamma(len(parts), "float64")
    assert abs(loss - other_loss) <= bound * sum(share * part_loss for share, part_loss, _ in parts)
    for name, g in grads.items():
        size = sum(share * np.abs(part[name]) for share, _, part in parts)
        assert (np.abs(g - other_grads[name]) <= bound * size).all()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_same_number_of_workers_gives_the_same_bits(many_pieces, workers):
    runs = [
        ml.loss_and_grads(adapted(lora_dropout=0.3), *batch(B=7), workers=workers, rng=np.random.default_rng(0))
        for _ in range(2)
    ]
    assert runs[0][0] == runs[1][0]
    assert_same(runs[0][1], runs[1][1])


def test_dropout_masks_do_not_depend_on_the_number_of_workers(many_pieces):
    """A different mask would change the loss in its first digits, a different order of addition in its last."""
    model = adapted(lora_dropout=0.5, r=4)
    for _, parameter in model.named_parameters().items():
        parameter.data += 0.1
    losses = [
        ml.loss_and_grads(model, *batch(B=7), workers=workers, rng=np.random.default_rng(seed))[0]
        for workers, seed in [(1, 0), (2, 0), (3, 0), (1, 1)]
    ]
    assert losses[0] == pytest.approx(losses[1], rel=gamma(16, "float64"))
    assert losses[0] == pytest.approx(losses[2], rel=gamma(16, "float64"))
    assert losses[0] != pytest.approx(losses[3], rel=1e-6)


def test_a_model_on_the_plain_attention_has_the_same_loss_and_gradients(monkeypatch):
    """To what some dozens of sums, each of at most 4 C = 24 terms, round."""
    rounding = gamma(64 * 24, "float64")
    loss, grads = ml.loss_and_grads(gpt(), *batch())
    for name in ("", "_dv", "_dscores", "_dq", "_dk"):
        monkeypatch.setattr(attention, f"causal_attention{name}", getattr(ops, f"causal_attention{name}"))
    plain_loss, plain_grads = ml.loss_and_grads(gpt(), *batch())
    assert abs(plain_loss - loss) <= rounding * loss
    for name, g in plain_grads.items():
        # What is added to every key moves no softmax: the gradient of its bias is 0, and only rounding is left of it.
        size = loss if name.endswith("k_proj.bias") else np.abs(g).max()
        assert np.abs(g - grads[name]).max() <= rounding * size


def test_loss_and_grads_is_pure():
    model, arrays = gpt(), batch()
    before = bits(model)
    for array in arrays:
        array.setflags(write=False)
    first, second = (ml.loss_and_grads(model, *arrays) for _ in range(2))
    assert bits(model) == before and first[0] == second[0]
    assert_same(*(grads for _, grads in (first, second)))
    assert not any(np.shares_memory(g, second[1][name]) for name, g in first[1].items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.zeros((2, 3), int)}, r"must all be the same \(B, T\)"),
        ({"weights": np.ones((2, 1))}, r"must all be the same \(B, T\)"),
        ({"weights": np.zeros((2, 4))}, "at least one target must count"),
        ({"weights": np.full((2, 4), np.nan)}, "at least one target must count"),
        ({"targets": np.full((2, 4), 7)}, "from 0 to 6"),
        ({"targets": np.full((2, 4), -1)}, "set its weight to 0"),
        ({"targets": np.zeros((2, 4))}, "whole numbers"),
        ({"tokens": np.full((2, 4), 7)}, "vocabulary is 0 to 6"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(change, message):
    arguments = dict(zip(("tokens", "targets", "weights"), batch(), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        ml.loss_and_grads(gpt(), **arguments)


def test_a_model_in_which_nothing_trains_is_refused():
    model = gpt()
    model.freeze()
    with pytest.raises(ValueError, match=r"model.unfreeze\(\) or add_lora"):
        ml.loss_and_grads(model, *batch())


# --------------------------------------------------------------------------------------------- evaluate


@given(st.integers(2, 23), st.integers(1, 4), seeds)
def test_evaluating_a_text_is_the_mean_over_its_every_next_token(length, batch_size, seed):
    """Window by window; the last one may be shorter."""
    model, text = gpt(), np.random.default_rng(seed).integers(7, size=length)
    T, nll = min(TINY.block_size, length - 1), []
    for start in range(0, length - 1, T):
        window = text[None, start : start + T + 1]
        nll.append(Reference().cross_entropy(reference_logits(model, window[:, :-1]), window[:, 1:]))
    values, errors = (np.concatenate([getattr(part, field)[0] for part in nll]) for field in ("value", "error"))
    assert len(values) == length - 1
    rounding = errors.mean() + gamma(length + 2, "float64") * np.abs(values).mean()
    assert abs(ml.evaluate(model, text, batch_size=batch_size) - values.mean()) <= 2 * rounding


def test_evaluating_a_few_batches_is_evaluating_their_text():
    text = ml.TextData(NOISE, TINY.block_size)
    first = ml.evaluate(gpt(), NOISE[: 2 * 3 * 5 + 1], batch_size=3)
    assert ml.evaluate(gpt(), text, batch_size=3, max_batches=2) == first


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_evaluate_the_same_up_to_the_order_of_addition(many_pieces, workers):
    """Every term is positive, so the sum of all of them is out by gamma of their number, relatively."""
    expected, found = (ml.evaluate(gpt(), NOISE, batch_size=7, workers=n) for n in (1, workers))
    assert found == pytest.approx(expected, rel=2 * gamma(60, "float64"))


def test_evaluating_nothing_is_refused():
    with pytest.raises(ValueError, match="no batch to evaluate"):
        ml.evaluate(gpt(), TEXT, max_batches=0)


# -------------------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize(
    "make", [lambda: ml.GPT(TINY), lambda: ml.add_lora(ml.GPT(TINY), ml.LoraConfig(r=4, target_modules=".*"))]
)
def test_training_lowers_the_loss(make):
    model = make()
    before = ml.evaluate(model, TEXT)
    result = ml.fit(model, TEXT, steps=40, lr=0.03, batch_size=4, progress=False)
    assert len(result.losses) == 40 and result.seconds > 0
    assert ml.evaluate(model, TEXT) < before / 2


def test_the_seed_decides_the_whole_run():
    def run(seed: int) -> tuple[dict[str, bytes], list[float]]:
        model = adapted(lora_dropout=0.2)
        losses = ml.fit(model, NOISE, steps=3, batch_size=2, seed=seed, progress=False).losses
        return bits(model), losses

    assert run(0) == run(0) and run(0)[1] != run(1)[1]


def test_the_learning_rate_may_be_a_function_of_the_step():
    asked = []
    ml.fit(gpt(), TEXT, steps=3, lr=lambda step: asked.append(step) or 0.0, batch_size=2, progress=False)
    assert asked == [0, 1, 2]


def test_at_learning_rate_zero_nothing_moves():
    model = gpt()
    before = bits(model)
    ml.fit(model, TEXT, steps=2, lr=0.0, batch_size=2, weight_decay=0.1, progress=False)
    assert bits(model) == before


def test_validation_comes_first_in_between_and_last():
    result = ml.fit(gpt(), TEXT, steps=5, batch_size=2, validation=NOISE, eval_every=2, progress=False)
    assert [step for step, _ in result.val_losses] == [0, 2, 4, 5]
    assert result.best_step is None and not result.stopped_early


class OneBatch(NamedTuple):
    """The smallest possible data set."""

    batch: Batch

    def sample(self, rng, batch_size):
        return self.batch

    def batches(self, batch_size):
        yield self.batch


def test_any_data_set_with_sample_and_batches_will_do_and_its_weights_count():
    tokens, targets, _ = batch(T=2)
    weights = np.array([[0, 1], [0, 1]])
    data = OneBatch(Batch(tokens, targets, weights))
    model = ml.GPT(TINY)
    losses = ml.fit(model, data, steps=30, lr=0.03, validation=data, progress=False).losses
    assert losses[-1] < 0.1 < ml.loss_and_grads(model, tokens, targets, 1 - weights)[0]


# --------------------------------------------------------------------------------------- stopping early


def test_stopping_early_puts_the_best_weights_back():
    """It learns TEXT, and its loss on NOISE rises."""
    model = adapted()
    options = {"lr": 0.05, "batch_size": 4, "validation": NOISE, "eval_every": 2, "progress": False}
    result = ml.fit(model, TEXT, steps=200, patience=3, **options)
    losses = [loss for _, loss in result.val_losses]
    best = int(np.argmin(losses))
    assert result.stopped_early and len(result.losses) < 200
    assert len(losses) == best + 1 + 3
    assert result.best_step == result.val_losses[best][0]
    assert ml.evaluate(model, NOISE, batch_size=4) == losses[best]


def test_a_run_that_never_gets_better_stops_after_as_many_evaluations_as_it_has_patience():
    result = ml.fit(gpt(), TEXT, steps=9, lr=0.0, validation=NOISE, eval_every=1, patience=3, progress=False)
    assert result.stopped_early and len(result.losses) == 3 and result.best_step == 0


def test_a_run_to_the_end_with_patience_keeps_the_best_weights_too():
    model = adapted()
    result = ml.fit(model, TEXT, steps=6, lr=0.05, validation=NOISE, eval_every=2, patience=9, progress=False)
    assert not result.stopped_early
    assert ml.evaluate(model, NOISE) == min(loss for _, loss in result.val_losses)


# ----------------------------------------------------------------------------------------------- resume


class Killed(Exception):
    """The process ends here."""


RUNS = {
    "all weights": (gpt, {"weight_decay": 0.1}),
    "LoRA with dropout": (lambda: adapted(lora_dropout=0.3), {}),
    "two workers": (lambda: adapted(lora_dropout=0.3), {"workers": 2}),
    "validation": (adapted, {"validation": NOISE, "eval_every": 2}),
    "an early stop": (adapted, {"lr": 0.1, "validation": NOISE, "eval_every": 2, "patience": 4}),
    "a schedule": (adapted, {"lr": lambda step: 0.1 / (step + 1)}),
}


@pytest.mark.parametrize("killed_at", [0, 1, 4, 5])
@pytest.mark.parametrize("kind", RUNS)
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(many_pieces, tmp_path, kind, killed_at):
    """Weights, Adam, generator, history: everything in the file of an uninterrupted run, except the time it took."""
    make, options = RUNS[kind]
    options = {"steps": 8, "batch_size": 5, "checkpoint_every": 2, "progress": False, "lr": 0.01, **options}
    rate = options["lr"] if callable(options["lr"]) else lambda step: options["lr"]

    asked = []

    def asking(step: int) -> float:
        asked.append(step)
        return rate(step)

    def killing(step: int) -> float:
        if step == killed_at:
            raise Killed
        return rate(step)

    whole = make()
    expected = ml.fit(whole, TEXT, checkpoint=tmp_path / "whole.npz", **options)
    with pytest.raises(Killed):
        ml.fit(make(), TEXT, checkpoint=tmp_path / "cut.npz", **{**options, "lr": killing})
    resumed = make()
    saved = killed_at // 2 * 2
    result = ml.fit(resumed, TEXT, checkpoint=tmp_path / "cut.npz", resume=saved > 0, **{**options, "lr": asking})

    assert asked == list(range(saved, len(expected.losses)))
    assert bits(resumed) == bits(whole)
    result.seconds = expected.seconds
    assert result == expected
    header, tensors = read_file(tmp_path / "whole.npz")
    other_header, other_tensors = read_file(tmp_path / "cut.npz")
    assert header["record"]["rng"] == other_header["record"]["rng"]
    assert_same(tensors, other_tensors)


def test_a_finished_run_that_is_resumed_is_finished(tmp_path):
    path, model = tmp_path / "run.npz", gpt()
    result = ml.fit(model, TEXT, steps=3, batch_size=2, checkpoint=path, progress=False)
    again = gpt()
    assert ml.fit(again, TEXT, steps=3, batch_size=2, checkpoint=path, resume=True, progress=False) == result
    assert bits(again) == bits(model)


def test_a_run_that_ended_off_the_grid_of_evaluations_goes_on_as_if_it_had_not(tmp_path):
    """Its last validation is not in the file: a longer run would not have it, neither as the best nor as a failure."""
    options = {"lr": 0.05, "batch_size": 4, "validation": NOISE, "eval_every": 3, "patience": 2, "progress": False}
    whole = adapted()
    expected = ml.fit(whole, TEXT, steps=40, **options)
    for end in (1, 2, 4, 5, 7):
        path, first, again = tmp_path / f"{end}.npz", adapted(), adapted()
        ended = ml.fit(first, TEXT, steps=end, checkpoint=path, **options)
        assert ended.val_losses[-1][0] == end
        assert ml.fit(again, TEXT, steps=end, checkpoint=path, resume=True, **options) == ended
        assert bits(again) == bits(first)
        result = ml.fit(again, TEXT, steps=40, checkpoint=path, resume=True, **options)
        assert replace(result, seconds=0.0) == replace(expected, seconds=0.0)
        assert bits(again) == bits(whole)
    assert expected.stopped_early


OTHER_RUNS = {
    "seed": ({"seed": 1}, TEXT, "seed=0, not 1"),
    "batch size": ({"batch_size": 3}, TEXT, "batch_size=2, not 3"),
    "weight decay": ({"weight_decay": 0.1}, TEXT, "weight_decay=0.0, not 0.1"),
    "data": ({}, NOISE, "different data"),
    "block size": ({}, ml.TextData(TEXT, 4), "different data"),
    "weights of the targets": ({}, OneBatch(Batch(*batch())), "different data"),
}


@pytest.mark.parametrize("kind", OTHER_RUNS)
def test_a_run_is_not_resumed_with_other_settings_or_data(tmp_path, kind):
    path, options = tmp_path / "run.npz", {"seed": 0, "batch_size": 2, "weight_decay": 0, "progress": False}
    ml.fit(gpt(), TEXT, steps=2, checkpoint=path, **options)
    other, data, message = OTHER_RUNS[kind]
    model, before = gpt(seed=1), path.read_bytes()
    with refused(model, f"from a run with {message}: pass the same", CheckpointError):
        ml.fit(model, data, steps=4, checkpoint=path, resume=True, **{**options, **other})
    assert path.read_bytes() == before


def test_a_run_may_be_resumed_with_another_rate_clip_end_and_validation(tmp_path):
    path = tmp_path / "run.npz"
    ml.fit(gpt(), TEXT, steps=2, batch_size=2, checkpoint=path, progress=False)
    options = {"lr": 1e-4, "clip": None, "validation": NOISE, "eval_every": 3, "patience": 3, "workers": 2}
    result = ml.fit(gpt(), TEXT, steps=4, batch_size=2, checkpoint=path, resume=True, progress=False, **options)
    assert len(result.losses) == 4


def test_there_must_be_a_file_to_resume(tmp_path):
    model = gpt()
    with refused(model, "pass its path as `checkpoint`"):
        ml.fit(model, TEXT, steps=1, resume=True, progress=False)
    with refused(model, "check the path, or pass resume=False", FileNotFoundError):
        ml.fit(model, TEXT, steps=1, checkpoint=tmp_path / "misspelt.npz", resume=True, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "run.npz"
    ml.fit(gpt(), TEXT, steps=1, checkpoint=path, progress=False)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="pass resume=True"):
        ml.fit(gpt(), TEXT, steps=2, checkpoint=path, progress=False)
    assert path.read_bytes() == before


# ------------------------------------------------------------------------------------- losses that blow up


def test_a_loss_that_is_not_finite_names_its_step_and_leaves_the_last_good_weights():
    """Step 2 takes the weights to infinity, which step 3 finds out; the weights of step 2 had a finite loss."""
    good, model = gpt(), gpt()
    ml.fit(good, TEXT, steps=2, lr=0.01, batch_size=2, progress=False)
    with (
        pytest.raises(ml.NonFiniteLossError, match=r"step 3: the loss is .* Try a lower learning rate"),
        np.errstate(all="ignore"),
    ):
        ml.fit(model, TEXT, steps=9, lr=lambda step: 0.01 if step < 2 else 1e300, batch_size=2, progress=False)
    assert bits(model) == bits(good)


def test_a_gradient_that_is_not_finite_is_found_too(monkeypatch):
    model = gpt()

    def broken(model, *args, **options):
        loss, grads = ml.loss_and_grads(model, *args, **options)
        grads["ln_f.bias"][0] = math.inf
        return loss, grads

    monkeypatch.setattr(train, "loss_and_grads", broken)
    with refused(model, r"step 0: .* gradients' norm", ml.NonFiniteLossError), np.errstate(all="ignore"):
        ml.fit(model, TEXT, steps=1, progress=False)


def test_a_small_update_is_not_kept_to_be_taken_back(monkeypatch):
    """It moves the weights by less than their size. The one after it is ten times larger than they are."""
    model, good, kept = gpt(), gpt(), []
    ml.fit(good, TEXT, steps=2, lr=0.01, batch_size=2, progress=False)
    step = Watch.step
    monkeypatch.setattr(Watch, "step", lambda self, *what: step(self, *what) or kept.append(len(self.kept)))
    losses = iter([None, None, math.nan])

    def broken(model, *args, **options):
        loss, grads = ml.loss_and_grads(model, *args, **options)
        return next(losses) or loss, grads

    monkeypatch.setattr(train, "loss_and_grads", broken)
    with pytest.raises(ml.NonFiniteLossError, match=r"step 2: .* The model holds the weights of this step"):
        ml.fit(model, TEXT, steps=9, lr=0.01, batch_size=2, progress=False)
    assert bits(model) == bits(good) and kept == [0, 0]
    large = 10 * Watch({p.name: p.data for p in model.parameters}, [], np).size
    losses = iter([None])
    ml.fit(model, TEXT, steps=1, lr=large, batch_size=2, progress=False)
    assert kept[-1] == len(model.named_parameters())


DIVERGING = {
    "to infinite weights": lambda step: 0.01 if step < 3 else 1e39,
    "to finite weights with an infinite loss": lambda step: 0.01 if step < 3 else 1e30,
}
diverging = pytest.mark.parametrize("lr", DIVERGING.values(), ids=DIVERGING)
FLOAT32 = replace(TINY, dtype="float32")


@diverging
def test_the_last_update_is_looked_at_too(lr):
    good, model = gpt(FLOAT32), gpt(FLOAT32)
    ml.fit(good, TEXT, steps=3, lr=lr, batch_size=2, progress=False)
    with pytest.raises(ml.NonFiniteLossError, match="step 3: its update leads to a loss of"), np.errstate(all="ignore"):
        ml.fit(model, TEXT, steps=4, lr=lr, batch_size=2, progress=False)
    assert bits(model) == bits(good)


@diverging
def test_a_run_that_diverges_does_not_overwrite_its_last_good_checkpoint(tmp_path, lr):
    path, options = tmp_path / "run.npz", {"batch_size": 2, "progress": False, "checkpoint_every": 2}
    good = gpt(FLOAT32)
    ml.fit(good, TEXT, steps=2, lr=lr, **options)
    with pytest.raises(ml.NonFiniteLossError), np.errstate(all="ignore"):
        ml.fit(gpt(FLOAT32), TEXT, steps=8, lr=lr, checkpoint=path, **options)
    resumed = gpt(FLOAT32)
    assert len(ml.fit(resumed, TEXT, steps=2, lr=lr, checkpoint=path, resume=True, **options).losses) == 2
    assert bits(resumed) == bits(good)


# ------------------------------------------------------------------------------- settings that make no sense


COUNTS = ["steps", "batch_size", "eval_every", "eval_batches", "patience", "checkpoint_every", "workers"]
NO_COUNTS = [-3, 2.5, math.nan, "2", True, (2,)]
NO_RATES = [-1, math.nan, math.inf, "0.1"]
NO_SETTINGS = [
    *((name, value, "a whole number of at least") for name in COUNTS for value in NO_COUNTS),
    *((name, 0, "a whole number of at least 1") for name in COUNTS[1:]),
    *((name, value, "a finite number of at least 0") for name in ("lr", "weight_decay") for value in NO_RATES),
    *(("lr", lambda step, value=value: value, "a finite number of at least 0") for value in NO_RATES),
    *(("clip", value, "a number above 0") for value in (-1, 0, math.nan, "1")),
]


@pytest.mark.parametrize(("name", "value", "cure"), NO_SETTINGS)
def test_a_setting_that_makes_no_sense_is_refused_and_nothing_moves(name, value, cure):
    model = gpt()
    with refused(model, rf"{name}( to)? is .*: give {cure}"):
        ml.fit(model, TEXT, **{"steps": 2, "validation": NOISE, "progress": False, name: value})


def test_patience_needs_validation():
    with pytest.raises(ValueError, match="give validation data"):
        ml.fit(gpt(), TEXT, steps=2, patience=1, progress=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("workers", 1.5), ("workers", None), ("batch_size", 0), ("batch_size", "2"), ("max_batches", -1)],
)
def test_evaluating_with_counts_that_make_no_sense_is_refused(name, value):
    refusal = pytest.raises(ValueError, match=f"{name} is .*: give a whole number of at least")
    with refusal:
        ml.evaluate(gpt(), TEXT, **{name: value})
    if name == "workers":
        with refusal:
            ml.loss_and_grads(gpt(), *batch(), workers=value)


# --------------------------------------------------------------------------------------------- progress


def test_progress_goes_to_stderr_and_says_loss_speed_and_time(capsys):
    ml.fit(gpt(), TEXT, steps=2, batch_size=2, label="training")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("training 2/2  loss ")
    assert "tokens/s" in captured.err and "took" in captured.err


def test_without_progress_nothing_is_said(capsys):
    ml.fit(gpt(), TEXT, steps=1, progress=False)
    assert capsys.readouterr() == ("", "")
