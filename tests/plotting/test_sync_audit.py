"""The picture of an audit."""

from __future__ import annotations

import numpy as np
import pytest

import packerlabimaging.plotting as pl
from packerlabimaging.analysis.sync import ImagedFrames, audit_pulses
from packerlabimaging.core.events import Events
from packerlabimaging.errors import ParameterError


@pytest.fixture
def audit():
    """Live scan, a lost pulse, four stims of which the last comes too late, and a second channel."""
    frames = 10.0 + np.arange(300) / 30
    pulses = np.concatenate([5 + np.arange(40) / 30, np.delete(frames, 100)])
    triggers = {"slm": Events(np.array([11.0, 13.0, 15.0, 25.0])), "led": Events(np.array([12.0, 14.0]))}
    return audit_pulses(Events(pulses, name="frame_clock"), ImagedFrames(n_frames=300), triggers=triggers)


def test_every_part_is_drawn_at_its_time(audit):
    found = pl.sync_audit(audit)
    assert list(found) == ["timeline", "frames", "stims"]
    assert found["timeline"].get_title("left") == "verdict: fail"
    labels = [label.get_text() for label in found["timeline"].get_yticklabels()]
    assert labels == ["frame pulses (339)", "frames of the movie (300)", "slm (4)", "led (2)"]
    bars = [path.vertices[:, 0] for path in found["timeline"].collections[0].get_paths()]
    np.testing.assert_allclose(bars, [[5, 5 + 39 / 30], [10, 10 + 299 / 30]])
    ticks = [path.vertices[0, 0] for path in found["timeline"].collections[3].get_paths()]
    assert ticks == [25.0]  # not within the recording: red
    (gap,) = [path.vertices[0, 0] for path in found["frames"].collections[0].get_paths()]
    assert gap == pytest.approx(10 + 99 / 30, abs=1e-3)  # the lost pulse comes after this one
    np.testing.assert_allclose(found["stims"].lines[0].get_ydata(), [2, 2, 10])


def test_what_there_is_nothing_of(audit):
    frames = ImagedFrames(n_frames=300, frame_rate_hz=30.0)
    found = pl.sync_audit(audit_pulses(None, frames))
    assert [label.get_text() for label in found["timeline"].get_yticklabels()] == ["frames of the movie (300)"]
    assert found["stims"].texts[0].get_text() == "no stims to compare"
    unmatched = audit_pulses(Events(np.arange(50) / 30.0), frames)
    assert pl.sync_audit(unmatched)["frames"].texts[0].get_text() == "no frame times"
    with pytest.raises(ParameterError, match="nothing to show"):
        pl.sync_audit(audit_pulses(None, ImagedFrames(n_frames=300)))
