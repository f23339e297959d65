"""The protocol's times: rows, shots, groups, trigger modes, against a plain simulation of the rig's order of events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.core.photostim import PhotostimProtocol, PhotostimRow
from packerlabimaging.errors import ParameterError


def protocol(rows, *, groups=((0, 1), (2,)), **changes):
    n_targets = 1 + max(target for group in groups for target in group)
    values = {"targets_px": np.zeros((n_targets, 3)), "image_shape_px": (64, 32), "groups": groups, "rows": rows}
    return PhotostimProtocol(**{**values, **changes})


def play(protocol, triggers):
    """What the rig does, one event after the other."""
    events = []
    waiting = list(triggers)
    stim = 0
    while waiting:
        now = waiting[0] + (protocol.lead_in_s if protocol.trigger == "once" else 0)
        for number, row in enumerate(protocol.rows):
            if protocol.trigger == "each":
                if not waiting:
                    break
                now = waiting.pop(0)
            now += row.initial_delay_s
            for shot in range(row.n_shots):
                for _ in range(1 if row.all_at_once else len(protocol.groups[row.group])):
                    events.append((now, now + row.shot_duration_s, stim, number, row.group, shot))
                    now += row.shot_duration_s + row.inter_shot_s
        if protocol.trigger == "once":
            waiting.pop(0)
        stim += 1
    return events


milliseconds = st.integers(0, 50).map(lambda value: value / 1000)
random_rows = st.lists(
    st.builds(
        PhotostimRow,
        group=st.integers(0, 1),
        n_shots=st.integers(1, 4),
        shot_duration_s=st.integers(1, 30).map(lambda value: value / 1000),
        inter_shot_s=milliseconds,
        initial_delay_s=milliseconds,
        all_at_once=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(random_rows, st.sampled_from(["once", "each"]), st.integers(0, 7), st.sampled_from([0.0, 0.001]))
def test_light_is_what_the_rig_does(rows, trigger, n_triggers, lead_in_s):
    made = protocol(rows, trigger=trigger, lead_in_s=lead_in_s)
    triggers = 10 + 5.0 * np.arange(n_triggers)
    light = made.light(triggers)
    expected = np.array(play(made, triggers)).reshape(-1, 6)
    np.testing.assert_allclose(light.onset_s, expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(light.end_s, expected[:, 1], atol=1e-9)
    for column, values in enumerate((light.stim, light.row, light.group, light.shot), start=2):
        np.testing.assert_array_equal(values, expected[:, column])


def test_rows_back_to_back():
    """The oracle of RL109 t-013: 4 groups, 10 shots, 20 + 5 ms."""
    rows = [PhotostimRow(group=group, n_shots=10, shot_duration_s=0.02, inter_shot_s=0.005) for group in range(4)]
    made = protocol(rows, groups=tuple((group,) for group in range(4)))
    assert made.stim_duration_s == pytest.approx(1.0)
    assert made.pulses_per_stim == 1
    shots = made.shots()
    np.testing.assert_allclose([shots.onset_s[shots.group == group][0] for group in range(4)], [0, 0.25, 0.5, 0.75])
    assert shots.end_s.max() == pytest.approx(0.995)


def test_first_light_at_the_trigger_is_exact():
    made = protocol([PhotostimRow(group=0, n_shots=1, shot_duration_s=0.02)])
    triggers = np.array([0.1, 6.97885, 123.45678901])
    np.testing.assert_array_equal(made.light(triggers).onset_s, triggers)


def test_each_row_waits_for_its_own_pulse():
    rows = [PhotostimRow(group=group, n_shots=1, shot_duration_s=0.01, initial_delay_s=0.02) for group in (0, 1)]
    made = protocol(rows, trigger="each")
    assert made.pulses_per_stim == 2
    light = made.light(np.array([1.0, 2.0, 3.0]))  # the last stim was cut short after its first row
    np.testing.assert_allclose(light.onset_s, [1.02, 2.02, 3.02])
    np.testing.assert_array_equal(light.stim, [0, 0, 1])
    np.testing.assert_array_equal(light.row, [0, 1, 0])


def test_without_rows_or_triggers_there_is_no_light():
    assert len(protocol([]).light(np.array([1.0])).onset_s) == 0
    assert len(protocol([PhotostimRow(group=0, n_shots=1, shot_duration_s=1)]).light(np.zeros(0)).onset_s) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets_px": np.zeros((3, 2))}, r"Expected \(n_targets, 3\)"),
        ({"targets_px": np.full((3, 3), np.inf)}, "NaN or infinite positions"),
        ({"groups": ((0, 7), (1,))}, r"Groups name targets \[7\]"),
        ({"groups": ((0, 1), ())}, r"Groups \[1\] have no target"),
        ({"groups": ((0,),)}, r"Rows name groups \[1\]"),
        ({"weights": [1.0]}, "Expected 3, one per target"),
        ({"weights": [1.0, np.nan, 1.0]}, "weights contains"),
        ({"target_ids": ("a", "a", "b")}, "3 different names"),
        ({"lead_in_s": -1}, "lead_in_s"),
        ({"n_stims": np.inf}, "n_stims"),
        ({"image_shape_px": (0, 5)}, "image height"),
        ({"spiral_diameter_um": 0}, "spiral_diameter_um"),
        ({"trigger": "twice"}, "trigger = 'twice' is not possible"),
    ],
)
def test_impossible_protocols(changes, message):
    with pytest.raises(ParameterError, match=message):
        protocol([PhotostimRow(group=1, n_shots=1, shot_duration_s=1)], **{"targets_px": np.zeros((3, 3)), **changes})


@pytest.mark.parametrize("name", ["group", "n_shots", "shot_duration_s", "inter_shot_s", "initial_delay_s"])
def test_impossible_rows(name):
    with pytest.raises(ParameterError, match=name):
        PhotostimRow(**{"group": 0, "n_shots": 1, "shot_duration_s": 1, name: -1})


def test_points_lit_one_after_another_are_told_apart():
    rows = [
        PhotostimRow(group=0, n_shots=2, shot_duration_s=0.01, inter_shot_s=0.01, all_at_once=False),
        PhotostimRow(group=0, n_shots=1, shot_duration_s=0.01),
    ]
    light = protocol(rows, groups=((1, 0), (2,))).light(np.array([0.0, 1.0]))
    assert light.target.tolist() == [1, 0, 1, 0, -1] * 2  # in the order of the group
    np.testing.assert_allclose(light.onset_s[:5], [0, 0.02, 0.04, 0.06, 0.08])


def test_power_of_each_target_follows_the_weights():
    together = PhotostimRow(group=0, n_shots=1, shot_duration_s=0.01, power_mw=6)
    in_turn = PhotostimRow(group=0, n_shots=1, shot_duration_s=0.01, power_mw=6, all_at_once=False)
    plain = PhotostimRow(group=1, n_shots=1, shot_duration_s=0.01)
    made = protocol([together, in_turn, plain], weights=[1, 0.5, 0.2])
    np.testing.assert_allclose(made.target_powers_mw(0), [8, 4])  # 12 mW in all
    np.testing.assert_allclose(made.target_powers_mw(1), [6, 6])
    assert made.target_powers_mw(2) is None
    np.testing.assert_allclose(protocol([together]).target_powers_mw(0), [6, 6])
    np.testing.assert_array_equal(protocol([together], weights=[0, 0, 1]).target_powers_mw(0), [0, 0])


def test_planned_length_of_a_stim_whose_rows_wait_for_triggers():
    rows = [PhotostimRow(group=0, n_shots=1, shot_duration_s=0.01)] * 3
    assert protocol(rows, trigger="each").stim_duration_s == pytest.approx(0.03)
    assert protocol(rows, trigger="each", row_interval_s=0.5).stim_duration_s == pytest.approx(1.01)


def test_a_damaged_count_of_shots_allocates_nothing():
    made = protocol([PhotostimRow(group=0, n_shots=10**9, shot_duration_s=0.01)], source="a.xml")
    with pytest.raises(ParameterError, match=r"1 stims of 1000000000 shots .* 'a.xml'"):
        made.shots()


def test_groups_of_a_target():
    made = protocol([], groups=((0, 1), (1, 2), (2, 2)))
    assert made.group_of_target == ((0,), (0, 1), (1, 2))
