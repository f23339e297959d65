"""Targets of the full field in the imaged part of it: against the lab's own crop of a target image, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import ParameterError
from packerlabimaging.io import read_photostim
from packerlabimaging.io.naparm import SubField, crop_to_field, write_naparm

AMPLITUDE_V = (2.84 * 2, 2.62 * 2)  # (y, x) of the Packer lab's rig


def protocol_at(places, *, shape=(512, 512), groups=None, **row):
    groups = groups or (tuple(range(len(places))),)
    return PhotostimProtocol(
        targets_px=np.column_stack([np.zeros(len(places)), places]),
        image_shape_px=shape,
        groups=groups,
        rows=[PhotostimRow(group=number, n_shots=1, shot_duration_s=0.01, **row) for number in range(len(groups))],
        n_stims=1,
        weights=np.ones(len(places)),
    )


def field(frame=(512, 512), center=(0.0, 0.0), zoom=1.0, **more):
    return SubField(frame_shape_px=frame, scan_center_v=center, zoom=zoom, scan_amplitude_v=AMPLITUDE_V, **more)


def lab_crop(y, x, frame, center, zoom):
    """The lab's crop: pixel 2 i + 1 of a 1024 image, cut around pixel 511, moved by the scan centre, whole pixels."""
    volts_per_px = np.array(AMPLITUDE_V) / zoom / 1024
    offset_y, offset_x = np.array(center) / volts_per_px
    top, left = round(511 - frame[0] / 2 - offset_y), round(511 - frame[1] / 2 + offset_x)
    return 2 * y + 1 - top, 2 * x + 1 - left


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 511),
    st.integers(0, 511),
    st.sampled_from([(512, 512), (256, 512), (1024, 1024), (300, 700)]),
    st.floats(-0.5, 0.5),
    st.floats(-0.5, 0.5),
    st.floats(1, 4),
)
def test_as_the_lab_crops_to_the_last_pixel(y, x, frame, center_y, center_x, zoom):
    ours = field(frame, (center_y, center_x), zoom).to_frame(np.array([[y, x]]), (512, 512))[0]
    theirs = lab_crop(y, x, frame, (center_y, center_x), zoom)
    np.testing.assert_allclose(ours, theirs, atol=2.001)  # theirs is 1.5 pixels off the middle, and rounds


def test_middle_stays_in_the_middle_and_the_whole_field_is_itself():
    middle = np.array([[255.5, 255.5]])
    np.testing.assert_allclose(field((100, 300)).to_frame(middle, (512, 512)), [[49.5, 149.5]])
    corners = np.array([[-0.5, -0.5], [511.5, 511.5], [10, 20]])
    np.testing.assert_allclose(field((1024, 1024)).to_frame(corners, (512, 512)), (corners + 0.5) * 2 - 0.5)
    np.testing.assert_allclose(field((512, 512), full_shape_px=(512, 512)).to_frame(corners, (512, 512)), corners)


def test_scan_centre_moves_targets_left_and_down():
    """0.1 V in x at zoom 2 is 0.1 / (5.24 / 2 / 1024) pixels to the right: targets lie further left."""
    here, moved = (
        field((512, 512), center, 2.0).to_frame(np.array([[200.0, 200.0]]), (512, 512))[0] for center in ((0, 0), (0.2, 0.1))
    )
    np.testing.assert_allclose(moved - here, [0.2 / (5.68 / 2 / 1024), -0.1 / (5.24 / 2 / 1024)])


def test_another_zoom_than_that_of_the_targets_image():
    """Seen at twice the zoom, distances from the middle are twice as many pixels."""
    point = np.array([[200.0, 300.0]])
    wide = field((1024, 1024), zoom=1.0).to_frame(point, (512, 512)) - 511.5
    close = field((1024, 1024), zoom=2.0, full_zoom=1.0).to_frame(point, (512, 512)) - 511.5
    np.testing.assert_allclose(close, 2 * wide)


def test_targets_outside_are_told_and_kept_or_left_out():
    made = protocol_at([(256, 256), (5, 5), (250, 260)], groups=((0, 1), (2,)))
    kept = crop_to_field(made, field((256, 256)))
    assert (kept.n_targets, kept.image_shape_px) == (3, (256, 256))
    finding = kept.findings[-1]
    assert (finding.code, finding.evidence["targets"]) == ("targets-outside-field", ["target-001"])
    assert "1 of 3 targets" in finding.message
    fewer = crop_to_field(made, field((256, 256)), keep_outside=False)
    assert (fewer.groups, fewer.target_ids) == (((0,), (1,)), ("target-000", "target-002"))
    np.testing.assert_array_equal(fewer.targets_px, kept.targets_px[[0, 2]])
    assert crop_to_field(made, field((1024, 1024))).findings == ()


def test_what_can_not_be_left_out():
    with pytest.raises(ParameterError, match=r"No target of the groups \[1\]"):
        crop_to_field(protocol_at([(256, 256), (5, 5)], groups=((0,), (1,))), field((256, 256)), keep_outside=False)
    with pytest.raises(ParameterError, match="would change the times"):
        crop_to_field(protocol_at([(256, 256), (5, 5)], all_at_once=False), field((256, 256)), keep_outside=False)
    with pytest.raises(ParameterError, match="No target of .* lies in the imaged part"):
        crop_to_field(protocol_at([(5, 5)]), field((256, 256)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zoom": 0}, "zoom"),
        ({"frame": (5,)}, "frame_shape_px"),
        ({"center": (np.nan, 0)}, "scan_center_v"),
        ({"full_zoom": -1}, "full_zoom"),
    ],
)
def test_impossible_fields(changes, message):
    with pytest.raises(ParameterError, match=message):
        field(**changes)


def test_as_an_option_of_the_reader(tmp_path):
    folder = write_naparm(tmp_path / "ps_001", protocol_at([(256, 256), (300, 200)]), pixel_size_um=1.0)
    values = {"frame_shape_px": [512, 256], "scan_center_v": [0, 0], "zoom": 1.5, "scan_amplitude_v": AMPLITUDE_V}
    protocol = read_photostim(folder, sub_field=values)
    assert protocol.image_shape_px == (512, 256)
    np.testing.assert_allclose(protocol.targets_px[0, 1:], [256.5, 128.5])
    with pytest.raises(ParameterError, match="Did you mean 'zoom'"):
        read_photostim(folder, sub_field={**values, "zoomm": 1})
    with pytest.raises(ParameterError, match="is not complete"):
        read_photostim(folder, sub_field={"zoom": 1})
