"""The demo at its quick size: the claims that hold at any size, the page that it prints, its figure."""

import re
import sys

import numpy as np
import pytest

import minilora as ml
from minilora import analysis, plots
from minilora.cli import main as cli
from minilora.demo import rank, run, setup
from minilora.demo.figure import demo_figure
from minilora.demo.merging import slower
from minilora.testing.bounds import unit_roundoff


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One quick run and the folder of its figure."""
    folder = tmp_path_factory.mktemp("demo")
    return run.demo(setup.QUICK, 0, 2, folder / "demo.png", progress=False), folder / "demo.png"


# -------------------------------------------------------------------------------------------- the claims


def test_zero_init_is_the_identity_and_only_b_moves_first(result):
    lora, swapped, zeros, random = result[0].inits
    assert [effect.identical for effect in result[0].inits] == [True, True, True, False]
    assert (lora.logit_change, lora.grad_A) == (0, 0) and lora.grad_B > 0
    assert (swapped.logit_change, swapped.grad_B) == (0, 0) and swapped.grad_A > 0
    assert (zeros.logit_change, zeros.grad_A, zeros.grad_B) == (0, 0, 0)
    assert random.logit_change > 0 and random.grad_A > 0 and random.grad_B > 0
    assert lora.loss == swapped.loss == zeros.loss != random.loss


def test_training_counts_what_it_says(result):
    training, base = result[0].training, ml.load_base()[0]
    parameters = base.config.parameter_count
    trained = 4 * 4 * setup.RANK * (128 + 128)  # blocks, projections, r (k + d)
    assert training.full_bytes == analysis.TrainingBytes(4 * parameters, 4 * parameters, 8 * parameters)
    assert training.lora_bytes == analysis.TrainingBytes(4 * (parameters + trained), 4 * trained, 8 * trained)
    assert training.trainable == ml.trainable_report(training.model)
    assert [step for step, _ in training.run.val_losses] == list(range(setup.QUICK.steps + 1))
    assert training.text_before.startswith(setup.PROMPT) and training.text_after.startswith(setup.PROMPT)


def test_every_rank_is_run_with_and_without_the_scale(result):
    scaling = result[0].scaling
    assert tuple(scaling.scaled) == tuple(scaling.unscaled) == setup.QUICK.ranks
    assert scaling.scaled[setup.ALPHA] is scaling.unscaled[setup.ALPHA]
    assert scaling.scaled[1].losses[0] == scaling.unscaled[1].losses[0], "B = 0: the scale cannot show on step 0"
    assert scaling.scaled[1].losses[1] != scaling.unscaled[1].losses[1]


def test_the_spectra_are_those_of_every_attention_projection(result):
    intrinsic = result[0].intrinsic
    names = {f"blocks.{i}.attn.{layer}.weight" for i in range(4) for layer in setup.ATTENTION}
    assert intrinsic.sigma.keys() == intrinsic.control.keys() == names
    few = rank.mean_of(analysis.rank_for_energy, intrinsic.sigma)
    many = rank.mean_of(analysis.rank_for_energy, intrinsic.control)
    assert few < many


def test_merging_only_rounds_and_unmerge_restores(result):
    merging = result[0].merging
    assert merging.restored
    single, double = merging.logit_difference["float32"], merging.logit_difference["float64"]
    assert 0 < double < single
    # Rounding errors of the two precisions differ as their unit roundoffs do, a factor of 2^29; a mistake would not.
    assert 2**26 < single / double < 2**32
    assert 0 < merging.drift <= 2 * unit_roundoff("float32")  # W stays below 1: two roundings, of W0 + dW and back
    for times in (merging.reading, merging.writing):
        assert times.keys() == {"base", "unmerged", "merged"} and min(times.values()) > 0
        assert slower(times, "base") == 0


def test_the_same_seed_gives_the_same_numbers(result, tmp_path):
    again = run.demo(setup.QUICK, 0, 2, tmp_path / "demo.png", progress=False)
    first = result[0]
    assert again.inits == first.inits
    assert again.training.run.losses == first.training.run.losses
    assert again.training.text_after == first.training.text_after
    assert [run.loss for run in again.scaling.unscaled.values()] == [
        run.loss for run in first.scaling.unscaled.values()
    ]
    other = run.demo(setup.QUICK, 1, 2, tmp_path / "demo.png", progress=False)
    assert other.training.run.losses != first.training.run.losses


# ----------------------------------------------------------------------------------- the page and the figure


def test_the_page_has_five_sections_a_table_and_the_figures_path(tmp_path, capsys):
    assert cli.main(["demo", "--quick", "--out", str(tmp_path / "f.png")]) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^(\d)\. ", out, re.MULTILINE) == list("123456")
    assert out.isascii() or "\ufffd" in out, "a console of few characters must show the page"
    assert max(map(len, out.splitlines())) <= 120
    assert out.splitlines()[-1] == f"figure: {(tmp_path / 'f.png').resolve()}"
    assert "took" in err, "progress goes to stderr"


def test_the_figure_is_a_png_and_the_same_for_the_same_numbers(result, tmp_path):
    numbers, path = result
    assert path.read_bytes().startswith(b"\x89PNG")
    demo_figure(numbers, tmp_path / "no-suffix")
    assert (tmp_path / "no-suffix").read_bytes() == path.read_bytes()


def test_without_matplotlib_the_demo_says_how_to_get_it(result, tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run.print_figure(result[0], tmp_path / "f.png")
    assert "pip install matplotlib" in capsys.readouterr().out
    assert not (tmp_path / "f.png").exists()


# ------------------------------------------------------------------------------------------- its analysis


def test_singular_values_count_the_rank_of_an_update():
    rng = np.random.default_rng(0)
    B, A = rng.standard_normal((9, 3)), rng.standard_normal((3, 7))
    sigma = analysis.singular_values(B @ A)
    assert sigma.shape == (7,) and (np.diff(sigma) <= 0).all()
    assert sigma[2] > 0.1
    # LAPACK's error is a modest multiple, below max(d, k), of eps times the largest singular value.
    assert sigma[3] < 9 * np.finfo(np.float64).eps * sigma[0]
    assert analysis.energy_share(sigma, 3) == 1.0
    assert analysis.rank_for_energy(sigma, 1 - 1e-9) == 3


def test_energy_and_rank_of_a_known_spectrum():
    sigma = np.array([4.0, 2.0, 2.0, 1.0])  # squares 16, 4, 4, 1 of 25
    assert [analysis.energy_share(sigma, r) for r in (1, 2, 3, 4)] == [16 / 25, 20 / 25, 24 / 25, 1]
    assert [analysis.rank_for_energy(sigma, share) for share in (0.5, 0.64, 0.65, 0.9, 1.0)] == [1, 1, 2, 3, 4]


def test_the_control_has_the_updates_shape_and_norm():
    dW = np.arange(12.0).reshape(3, 4)
    control = analysis.gaussian_control(dW, np.random.default_rng(0))
    assert control.shape == dW.shape
    # Two norms of 12 terms, a quotient and a product: fewer than 40 roundings in all.
    assert abs(np.linalg.norm(control) / np.linalg.norm(dW) - 1) < 40 * unit_roundoff("float64")


def test_counting_bytes_leaves_the_model_alone():
    model = ml.GPT(ml.GPTConfig(block_size=8, n_layer=1, n_head=1, n_embd=8))
    before = model.state_dict()
    tokens = np.zeros((1, 4), dtype=int)
    assert analysis.training_bytes(model, tokens, tokens).total == 16 * model.config.parameter_count
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())


def test_moving_averages():
    assert plots.moving_average([1, 2, 3, 6], 2).tolist() == [1.5, 2.5, 4.5]
    assert plots.moving_average([1, 3], 8).tolist() == [2]
