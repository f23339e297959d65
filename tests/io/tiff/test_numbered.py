"""Numbered series are found by names alone."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.io.tiff.numbered import has_series

WORDS = st.sampled_from(["mean", "a", "", "1", "12", "Ch2_", "_000001", ".ome", "é", "٣"])


@given(st.lists(st.lists(WORDS, max_size=4).map(lambda parts: "".join(parts) + ".tif"), max_size=6, unique=True))
def test_two_names_that_differ_in_their_last_number_are_a_series(names):
    visible = [name for name in names if not name.startswith(".")]
    last = [re.sub(r"[0-9]+(?=[^0-9]*\.tif$)", "*", name) for name in visible if re.search("[0-9]", name)]
    if max(Counter(last).values(), default=0) > 1:
        assert has_series(names)
    if len(visible) < 2:
        assert not has_series(names)


def test_names_without_a_number():
    assert not has_series(["mean.tif", "std.tif"])
    assert has_series(["mean.tif", "t_1.tif", "t_2.tif"])
