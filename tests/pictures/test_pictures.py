"""The pictures: sides of rectangles are numbers of rows and columns."""

import numpy as np
import pytest

from minilora import methods, pictures, plots
from minilora.transformer import GPTConfig

pytest.importorskip("matplotlib")


def rectangles(figure):
    """(width, height) of every rectangle of a figure with one panel."""
    return [(patch.get_width(), patch.get_height()) for patch in figure.axes[0].patches]


def test_lora_is_drawn_to_scale():
    figure = pictures.lora(d=96, k=128, r=4)
    assert rectangles(figure) == [(128, 96), (4, 96), (128, 4)]
    assert figure.axes[0].get_aspect() == 1
    assert any("384 + 512 numbers" in text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("adapted", [("q_proj",), ("q_proj", "v_proj"), ("up_proj", "down_proj")])
def test_a_block_shows_six_matrices_and_counts_what_trains(adapted):
    figure = pictures.block(adapted, C=64, r=2)
    sides = rectangles(figure)
    assert sorted(side for side in sides if 2 not in side) == [(64, 64)] * 4 + [(64, 256), (256, 64)]
    assert len([side for side in sides if 2 in side]) == 2 * len(adapted)
    shape = GPTConfig(vocab_size=1, block_size=1, n_layer=1, n_head=1, n_embd=64)
    count = methods.count("lora", shape, r=2, lora_alpha=2, target_modules=adapted)
    assert any(f"rank 2, {count:,} numbers" in text.get_text() for text in figure.axes[0].texts)


def test_outer_products_add_up_to_the_update():
    dW = np.random.default_rng(0).standard_normal((12, 3)) @ np.random.default_rng(1).standard_normal((3, 8))
    figure = pictures.added_at_rank(dW, ranks=(1, 3))
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert [np.linalg.matrix_rank(image) for image in shown] == [1, 3, 3]
    assert np.allclose(shown[1], shown[2])
    assert np.allclose(np.sort(shown[2].ravel()), np.sort(dW.ravel()))


def test_the_others_can_be_drawn(tmp_path):
    for make in (pictures.ways_to_add, pictures.subspace, pictures.stretched):
        plots.save_figure(make(), tmp_path / "picture.png", dpi=30)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
