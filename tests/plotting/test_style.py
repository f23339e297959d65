"""Style: colours, lengths, panels, and that nothing global changes."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.plotting._style import ON_WHITE, axes, color_cycle, nice_length, rows


def test_importing_the_layer_loads_no_matplotlib_and_plots_load_no_pyplot():
    code = (
        "import sys, numpy as np, packerlabimaging.plotting as pl\n"
        "assert 'matplotlib' not in sys.modules and 'pandas' not in sys.modules\n"
        "pl.image(np.arange(12.0).reshape(3, 4))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist():
    for name in pl.__all__:
        assert callable(getattr(pl, name)), name


def test_style_changes_nothing_outside():
    before = dict(matplotlib.rcParams)
    with pl.style():
        assert matplotlib.rcParams["pdf.fonttype"] == 42
        pl.image(np.arange(12.0).reshape(3, 4))
    assert dict(matplotlib.rcParams) == before


def test_style_is_restored_after_an_error():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="2 dimensions"):
        pl.image(np.zeros(3))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("span", "length"), [(100.0, 100.0), (99.0, 50.0), (0.9, 0.5), (1234.0, 1000.0), (27.0, 20.0)])
def test_nice_length_is_a_round_number_below(span, length):
    assert nice_length(span) == pytest.approx(length)


def test_colours_are_distinct_and_known_names_keep_theirs():
    names = ["target", "other", *(f"group {index}" for index in range(5))]
    colors = color_cycle(names)
    assert len(set(colors.values())) == len(names)
    assert colors["target"] == color_cycle(["target"])["target"]
    assert all(colors[f"group {index}"] in ON_WHITE for index in range(5))


def test_many_names_get_as_many_colours():
    assert len(set(color_cycle([f"group {index}" for index in range(30)]).values())) == 30


def test_rows_fill_the_height_from_the_top():
    for n_rows in (1, 3, 40):
        boxes = rows(n_rows, gap=0.25)
        height = boxes[0][3]
        assert boxes[0][1] + height == pytest.approx(1.0)
        assert boxes[-1][1] == pytest.approx(0.0)
        gaps = [upper[1] - (lower[1] + height) for upper, lower in zip(boxes, boxes[1:], strict=False)]
        np.testing.assert_allclose(gaps, 0.25 * height)


def test_given_axes_are_used():
    ax = axes(None, (2.0, 2.0))
    assert axes(ax, (9.0, 9.0)) is ax
    assert ax.figure.get_figwidth() == 2.0
