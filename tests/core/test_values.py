"""Events, signals, metadata, findings: small values that check themselves."""

from __future__ import annotations

import numpy as np
import pytest

from packerlabimaging.core.events import Events
from packerlabimaging.core.findings import Finding, worst_severity
from packerlabimaging.core.metadata import ImagingMetadata
from packerlabimaging.core.rois import RoiSet
from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.errors import MissingInputError, ParameterError


def test_events_between_is_closed_at_the_start_and_open_at_the_end():
    events = Events(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.5, 3.5]), "stim")
    inside = events.between(2.0, 3.0)
    assert inside.onsets_s.tolist() == [2.0] and inside.durations_s.tolist() == [0.5]


@pytest.mark.parametrize(
    ("onsets", "ends", "message"),
    [
        ([2.0, 1.0], None, "ascending"),
        ([1.0, np.nan], None, "NaN"),
        ([1.0], [0.5], "ends before"),
        ([1.0], [1.0, 2.0], "ends_s has 2"),
    ],
)
def test_bad_events_are_refused(onsets, ends, message):
    with pytest.raises(ParameterError, match=message):
        Events(np.array(onsets), None if ends is None else np.array(ends))


def test_channel_ranges_and_chunks():
    values = np.arange(1000, dtype=np.float32)
    channel = ArrayChannel("v", values, rate_hz=100.0, unit="V", start_s=5.0)
    np.testing.assert_array_equal(channel.read(10, 20), values[10:20])
    np.testing.assert_array_equal(channel.read_between(5.1, 5.2), values[10:20])
    np.testing.assert_array_equal(np.concatenate([part for _, part in channel.chunks(64)]), values)
    assert channel.duration_s == 10.0
    assert channel.time_of(np.array([0, 100])).tolist() == [5.0, 6.0]
    with pytest.raises(ParameterError, match="has 1000 samples"):
        channel.read(0, 1001)


def test_an_unknown_channel_is_named_with_the_nearest():
    signals = Signals([ArrayChannel("frame_clock", np.zeros(3), rate_hz=1.0)], source="a.paq")
    with pytest.raises(MissingInputError, match="Did you mean 'frame_clock'"):
        signals["frame_clok"]
    assert "frame_clock" in signals and signals.names == ("frame_clock",) and signals.get("frame_clok") is None
    with pytest.raises(ParameterError, match="Two channels"):
        Signals([signals["frame_clock"], signals["frame_clock"]])


def test_metadata_checks_its_numbers():
    metadata = ImagingMetadata(frame_shape_px=(20, 40), pixel_size_um=(2.0, 1.0), frame_rate_hz=30.0)
    assert metadata.fov_size_um == (40.0, 40.0)
    assert metadata.frame_rate_source == "given"
    for wrong in ({"frame_shape_px": (0, 3)}, {"frame_shape_px": (3, 3), "frame_rate_hz": float("nan")}):
        with pytest.raises(ParameterError):
            ImagingMetadata(**wrong)
    with pytest.raises(ParameterError, match="plane_z_um has 1"):
        ImagingMetadata(frame_shape_px=(3, 3), n_planes=2, plane_z_um=(0.0,))


def test_findings_round_trip_and_rank():
    finding = Finding("x", "Something odd.", severity="error", where="a.paq", advice="Look.", evidence={"n": 3})
    assert Finding.from_dict(finding.to_dict()) == finding
    assert worst_severity([Finding("a", "b", severity="info"), finding]) == "error"
    assert worst_severity([]) is None
    assert str(finding) == "error: Something odd. [a.paq] Look."


def test_a_segmentation_hands_out_each_trials_frames():
    rois = RoiSet.from_discs(np.array([[5.0, 5.0]]), 2, (10, 10))
    F = np.arange(10, dtype=np.float32)[None]
    whole = Segmentation(rois=rois, F=F, trial_frames={"b": (0, 4), "a": (4, 10)})
    assert whole.of_trial("a").F.tolist() == [[4, 5, 6, 7, 8, 9]]
    assert whole.of_trial("b").n_frames == 4
    with pytest.raises(ParameterError, match="It holds: b, a"):
        whole.of_trial("c")
    with pytest.raises(ParameterError, match="overlaps"):
        Segmentation(rois=rois, F=F, trial_frames={"b": (0, 5), "a": (4, 10)})
    with pytest.raises(ParameterError, match="one row per ROI"):
        Segmentation(rois=rois, F=F, Fneu=np.zeros((2, 10)))
