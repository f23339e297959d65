"""Traces: the right cells, units, gaps and shading."""

from __future__ import annotations

import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.core.schema import rois_of
from packerlabimaging.errors import ParameterError, SchemaError


def trace_lines(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


def test_traces_are_per_cent_against_measured_seconds(recording):
    name = recording.cells.obs_names[2]
    ax = pl.traces(recording.cells, rois=[name])
    (line,) = trace_lines(ax)
    dff = np.asarray(recording.cells[name].X).ravel() * 100
    np.testing.assert_allclose(line.get_xdata()[:-1], recording.clock.starts_s)
    np.testing.assert_allclose(line.get_ydata()[:-1], dff - np.nanmedian(dff), atol=1e-4)
    assert ax.get_xlabel() == "time (s)" and any("% ΔF/F" in text.get_text() for text in ax.texts)


def test_artefact_frames_break_the_line_and_are_shaded(recording):
    ax = pl.traces(recording.cells, n_max=3)
    artefact = recording.cells.var["artefact"].to_numpy()
    assert np.all(np.isnan(trace_lines(ax)[0].get_ydata()[:-1][artefact]))
    shaded = next(c for c in ax.collections if c.get_label() == "artefact frames")
    assert len(shaded.get_paths()) == len(recording.onsets)
    first = shaded.get_paths()[0].vertices[:, 0]
    frames = np.flatnonzero(artefact)
    assert first.min() == pytest.approx(recording.clock.starts_s[frames[0]])


def test_the_most_active_cells_are_shown_in_the_tables_order(recording):
    ax = pl.traces(recording.cells, n_max=4)
    shown = [label.get_text() for label in ax.get_yticklabels()]
    cells = recording.cells[recording.cells.obs["iscell"].to_numpy()]
    peaks = np.nanpercentile(np.asarray(cells.X), 99.5, axis=1)
    expected = cells.obs_names[np.sort(np.argsort(-peaks)[:4])]
    assert shown == list(expected)


def test_stims_are_lines_and_spans_and_only_those_in_view(recording):
    ax = pl.traces(recording.cells, n_max=2, stims=recording.responses, stop_s=float(recording.onsets[2]))
    lines = next(c for c in ax.collections if str(c.get_label()).startswith("stim onset"))
    drawn = [path.vertices[0, 0] for path in lines.get_paths()]
    np.testing.assert_allclose(drawn, recording.onsets[:2])
    assert lines.get_label() == "stim onset (n = 2)"


def test_a_trace_that_would_hide_the_others_is_cut_and_says_so(recording):
    cells = recording.cells.copy()
    cells.X[1] *= 50
    ax = pl.traces(cells, rois=list(cells.obs_names[:4]))
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["roi-0000", "roi-0001 (cut)", "roi-0002", "roi-0003"]
    step = abs(float(np.diff(ax.get_yticks())[0]))
    assert np.nanmax(trace_lines(ax)[1].get_ydata()) <= -step + 3.0 * step + 1e-3
    drawn = np.concatenate([line.get_ydata() for line in trace_lines(ax)])
    assert ax.get_ylim()[0] <= np.nanmin(drawn) + 1e-3 and ax.get_ylim()[1] >= np.nanmax(drawn) - 1e-3


def test_a_layer_is_named(recording):
    ax = pl.traces(recording.cells, n_max=2, layer="F")
    assert any("a.u. (F)" in text.get_text() for text in ax.texts)


def test_a_cell_that_is_nan_throughout_is_drawn_as_nothing(recording):
    cells = recording.cells.copy()
    cells.X[0] = np.nan
    ax = pl.traces(cells, rois=list(cells.obs_names[:2]))
    assert np.all(np.isnan(trace_lines(ax)[0].get_ydata())) and not np.all(np.isnan(trace_lines(ax)[1].get_ydata()))


def test_tables_on_disk_are_shown_without_being_read_whole(recording, tmp_path):
    from packerlabimaging.io.tables import open_table, write_table

    cells = open_table(write_table(recording.cells, tmp_path / "cells.zarr"))
    expected = trace_lines(pl.traces(recording.cells, n_max=3))
    for line, same in zip(trace_lines(pl.traces(cells, n_max=3)), expected, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), same.get_ydata())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rois": ["roi-9999"]}, "no ROI 'roi-9999'"),
        ({"layer": "spks"}, "no layer 'spks'"),
        ({"start_s": 1e6}, "no frame between"),
        ({"start_s": 5.0, "stop_s": 4.0}, "stop_s - start_s"),
        ({"stims": np.zeros((2, 3))}, r"shape \(2, 3\)"),
    ],
)
def test_what_does_not_exist_is_refused(recording, options, match):
    with pytest.raises(ParameterError, match=match):
        pl.traces(recording.cells, **options)


def test_a_table_of_another_kind_is_refused(recording):
    with pytest.raises(SchemaError, match="expected 'cells'"):
        pl.traces(recording.responses)


def test_thousand_cells_are_drawn(recording):
    """Names get small, nothing fails; the data are thinned to the width of the plot."""
    import pandas as pd

    from packerlabimaging.core.clock import FrameClock
    from packerlabimaging.core.rois import RoiSet
    from packerlabimaging.core.schema import make_cells_table

    n_cells, n_frames = 1000, 5000
    points = [(np.array([index // 128]), np.array([index % 128])) for index in range(n_cells)]
    dff = np.random.default_rng(0).normal(0, 0.1, (n_cells, n_frames)).astype(np.float32)
    cells = make_cells_table(
        dff, rois=RoiSet.from_pixels((96, 128), points), clock=FrameClock.nominal(n_frames, 30.0), trial="t",
        layers={"F": dff}, artefact=np.zeros(n_frames, bool), metadata=recording.metadata, obs=pd.DataFrame(index=range(n_cells)),
    )  # fmt: skip
    ax = pl.traces(cells, n_max=n_cells)
    lines = trace_lines(ax)
    assert len(lines) == n_cells
    assert len(lines[0].get_xdata()) < 2 * n_frames


def test_shifts_are_shown_in_micrometres():
    shifts = np.column_stack([np.arange(5.0), -np.arange(5.0)])
    ax = pl.registration(shifts, time_s=np.arange(5.0) / 30, pixel_size_um=(2.0, 3.0))
    y, x = (line for line in ax.lines if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(y.get_ydata()[:-1], 2.0 * np.arange(5))
    np.testing.assert_allclose(x.get_ydata()[:-1], -3.0 * np.arange(5))
    assert ax.get_ylabel() == "shift (µm)"


def test_shifts_of_another_shape_are_refused():
    with pytest.raises(ParameterError, match=r"\(n_frames, 2\)"):
        pl.registration(np.zeros((2, 5)))
    with pytest.raises(ParameterError, match="time_s has 3 items"):
        pl.registration(np.zeros((5, 2)), time_s=np.zeros(3))


def test_tables_and_numbers_that_do_not_fit_are_told(recording):
    with pytest.raises(ParameterError, match="n_max = 0"):
        pl.traces(recording.cells, n_max=0)
    table = recording.cells.copy()
    del table.obsm["footprints"]
    with pytest.raises(SchemaError, match="Pass a cells table: trial.cells"):
        rois_of(table)
