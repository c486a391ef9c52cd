"""The demo at its quick size: the claims that hold at any size, its output, its figure."""

import re
from pathlib import Path

import pytest

import minilora as ml
from minilora import analysis
from minilora.cli import main as cli
from minilora.demo import rank, run, setup
from minilora.demo.figure import demo_figure
from minilora.demo.merging import slower
from minilora.testing.bounds import unit_roundoff

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One quick run and the path of its figure."""
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


def test_training_reports_the_bytes_it_counts(result):
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
    assert scaling.scaled[1].losses[0] == scaling.unscaled[1].losses[0], "B = 0: the scale has no effect on step 0"
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
    # Rounding errors differ like the unit roundoffs, by a factor of 2^29; the effect of a mistake would not.
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
    assert [r.loss for r in again.scaling.unscaled.values()] == [r.loss for r in first.scaling.unscaled.values()]
    other = run.demo(setup.QUICK, 1, 2, tmp_path / "demo.png", progress=False)
    assert other.training.run.losses != first.training.run.losses


# ----------------------------------------------------------------------------------- the page and the figure


def test_the_output_has_five_sections_a_summary_and_the_figure_s_path(tmp_path, capsys):
    assert cli.main(["demo", "--quick", "--out", str(tmp_path / "f.png")]) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^(\d)\. ", out, re.MULTILINE) == list("123456")
    assert out.isascii() or "\ufffd" in out, "a console with a small character set must show the output"
    assert max(map(len, out.splitlines())) <= 120
    assert out.splitlines()[-1] == f"figure: {(tmp_path / 'f.png').resolve()}"
    assert "took" in err, "progress goes to stderr"
    shown = re.search(r"The demo ends with.*?```text\n(.*?)```", README.read_text("utf-8"), re.DOTALL)[1]
    labels = [line[:32] for line in shown.splitlines()]
    assert len(labels) == 6 and all(f"\n{label}" in out for label in labels), "the README shows other lines"


def test_equal_numbers_give_equal_png_figures(result, tmp_path):
    numbers, path = result
    assert path.read_bytes().startswith(b"\x89PNG")
    demo_figure(numbers, tmp_path / "no-suffix")
    assert (tmp_path / "no-suffix").read_bytes() == path.read_bytes()


def test_without_matplotlib_the_demo_says_how_to_get_it(result, tmp_path, no_matplotlib, capsys):
    run.print_figure(result[0], tmp_path / "f.png")
    assert "pip install matplotlib" in capsys.readouterr().out
    assert not (tmp_path / "f.png").exists()
