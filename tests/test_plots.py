"""Figures: where they go, and what all of them share."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minilora import plots

pytest.importorskip("matplotlib")


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """A script in a folder of its own that draws: `sys.modules` names it as the program that runs."""
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=str(tmp_path / "lesson.py")))
    monkeypatch.delenv("MINILORA_FIGURES", raising=False)
    return tmp_path


def test_a_lesson_draws_beside_itself_and_says_where(lesson, capsys):
    figure, axes = plots.subplots(figsize=(1, 1))
    axes.plot([0, 1])
    plots.show_figure(figure, "one.png")
    assert (lesson / "drawn" / "one.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"figure: {lesson / 'drawn' / 'one.png'}\n"


def test_the_committed_figures_are_remade_only_where_the_environment_asks_for_it(lesson, monkeypatch, capsys):
    monkeypatch.setenv("MINILORA_FIGURES", str(lesson / "figures"))
    plots.show_figure(plots.subplots()[0], "one.png")
    assert [path.name for path in lesson.rglob("*.png")] == ["one.png"]
    assert (lesson / "figures" / "one.png").exists()
    assert capsys.readouterr().out == ""


def test_an_animation_is_one_png_with_all_frames(lesson, capsys):
    image = pytest.importorskip("PIL.Image")
    figure, axes = plots.subplots(figsize=(1, 1))
    (line,) = axes.plot([0, 1], [0, 0])
    plots.show_animation(figure, lambda i: line.set_ydata([0, i]), 3, "moves.png")
    with image.open(lesson / "drawn" / "moves.png") as moves:
        assert moves.n_frames == 3
    assert "moves.png" in capsys.readouterr().out


def test_curves_get_a_grid_and_lose_the_box_which_images_keep(tmp_path):
    figure, (curve, image) = plots.subplots(1, 2)
    bar = figure.colorbar(image.imshow(np.eye(2)), ax=image).ax
    plots.save_figure(figure, tmp_path / "one.png")
    assert [axes.spines["top"].get_visible() for axes in (curve, image)] == [False, True]
    assert [axes.yaxis.get_gridlines()[0].get_visible() for axes in (curve, image, bar)] == [True, False, False]


def test_a_spread_is_the_mean_with_bars_of_one_standard_deviation():
    _, axes = plots.subplots()
    plots.plot_spread(axes, {1: [1.0, 3.0], 2: [5.0]}, "o-")
    (line, _, (bars,)) = axes.containers[0]
    assert list(line.get_ydata()) == [2, 5]
    deviation = np.std([1, 3], ddof=1)
    low, high = np.array(bars.get_segments())[:, :, 1].T
    assert np.allclose((low, high), ((2 - deviation, 5), (2 + deviation, 5)))


def test_text_is_white_on_dark_cells_and_black_on_light_ones():
    _, axes = plots.subplots()
    axes.imshow([[0.0, 1.0], [1.0, np.nan]], cmap="Greys")
    plots.write_cells(axes, {(0, 0): "light", (0, 1): "dark", (1, 0): "dark"})
    assert {text.get_text(): text.get_color() for text in axes.texts} == {"light": "black", "dark": "white"}
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (0, 1)]


def test_without_matplotlib_the_error_says_how_to_get_it(no_matplotlib):
    with pytest.raises(ImportError, match="pip install"):
        plots.subplots()


def test_moving_averages():
    assert plots.moving_average([1, 2, 3, 6], 2).tolist() == [1.5, 2.5, 4.5]
    assert plots.moving_average([1, 3], 8).tolist() == [2]
