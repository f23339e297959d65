"""File names kept as numbers: given back to the letter, found again."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from packerlabimaging.io.tiff.names import FileNames, list_folder

NAMES = st.lists(st.text(st.sampled_from("ab_0123456789.\n²٣é"), max_size=24) | st.from_regex(r"t_Cycle\d{5}_Ch\d_\d{6}\.tif"))


@given(names=NAMES)
def test_names_come_back_to_the_letter(names: list[str]) -> None:
    kept = FileNames.of(names)
    assert list(kept) == names
    assert [kept[index] for index in range(len(kept))] == names
    assert list(kept[1::2]) == names[1::2]
    assert list(pickle.loads(pickle.dumps(kept))) == names  # noqa: S301


@given(names=NAMES, others=NAMES)
def test_names_are_found_where_they_are(names: list[str], others: list[str]) -> None:
    unique = list(dict.fromkeys(names))
    asked = others + unique[::-1]
    found = FileNames.of(unique).find(FileNames.of(asked))
    assert found.tolist() == [unique.index(name) if name in unique else -1 for name in asked]


@given(names=st.lists(st.sampled_from(["a_1", "a_2", "b_1", "c"]), max_size=6), pages=st.lists(st.integers(0, 1), min_size=6))
def test_a_repeated_name_and_page_is_found(names: list[str], pages: list[int]) -> None:
    pairs = list(zip(names, pages, strict=False))
    repeated = FileNames.of(names).find_repeated(np.array(pages[: len(names)], np.int64))
    expected = [index for index, pair in enumerate(pairs) if pair in pairs[:index]]
    assert repeated == (expected[0] if expected else None)


def test_a_name_costs_a_few_bytes() -> None:
    tracemalloc.start()
    kept = FileNames.of(f"TSeries-001_Cycle{index % 7:05d}_Ch2_{index:06d}.ome.tif" for index in range(20_000))
    used, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 20_000 * 13
    assert peak < 20_000 * 40
    assert kept[19_999] == "TSeries-001_Cycle00000_Ch2_019999.ome.tif"


def test_a_folder_is_listed_with_sizes(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    for number in range(3):
        (tmp_path / f"a_{number}.tif").write_bytes(bytes(number))
    listing = list_folder(tmp_path)
    assert listing.sizes[listing.find(["a_2.tif", "a_0.tif"])].tolist() == [2, 0]
    assert listing.find(["folder.tif", "a_3.tif"]).tolist() == [-1, -1]
