"""Files that were made to harm, and files that were not: no pickle may ever do more than give values."""

from __future__ import annotations

import datetime
import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted.npy import open_npy, read_dict_npy, read_object_npy
from packerlabimaging.io.untrusted.pickles import restricted_loads


def same(first: Any, second: Any) -> bool:
    """Compare values deeply; types and array types count, NaN equals NaN."""
    if isinstance(first, np.ndarray):
        if type(second) is not np.ndarray or first.dtype != second.dtype or first.shape != second.shape:
            return False
        if first.dtype.hasobject:
            return all(same(one, other) for one, other in zip(first.ravel(), second.ravel(), strict=True))
        return first.tobytes() == second.tobytes()
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return type(first) is type(second) and len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and (first == second or first != first)


numbers = st.one_of(st.booleans(), st.integers(), st.floats(), st.none(), st.text(max_size=5), st.binary(max_size=5))
arrays = numpy_strategies.arrays(
    st.one_of(
        numpy_strategies.integer_dtypes(endianness="?"),
        numpy_strategies.floating_dtypes(endianness="?"),
        numpy_strategies.boolean_dtypes(),
        numpy_strategies.unicode_string_dtypes(endianness="?", max_len=4),
    ),
    numpy_strategies.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
scalars = st.sampled_from(
    [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("cell"), np.uint8(7), 1j, datetime.date(2022, 9, 9)]
)
values = st.recursive(
    st.one_of(numbers, arrays, arrays.map(lambda array: array.T), scalars),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(values, st.sampled_from([2, 3, 4]))
def test_plain_values_come_back_as_they_were(value: Any, protocol: int) -> None:
    assert same(value, restricted_loads(pickle.dumps(value, protocol), source="x"))


@given(st.lists(st.dictionaries(st.text(max_size=4), values, max_size=3), min_size=1, max_size=4))
def test_an_object_array_on_disk_comes_back_as_it_was(tmp_path_factory: Any, items: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("npy") / "stat.npy"
    array = np.empty(len(items), object)
    array[:] = items
    np.save(path, array)
    assert same(array, read_object_npy(path))


def test_object_arrays_of_two_dimensions_and_in_column_order(tmp_path: Path) -> None:
    array = np.empty((2, 3), object)
    for index in np.ndindex(array.shape):
        array[index] = [index, np.arange(index[1])]
    for version in (array, np.asfortranarray(array)):
        np.save(tmp_path / "a.npy", version)
        assert same(version, read_object_npy(tmp_path / "a.npy"))


def test_times_and_paths() -> None:
    moment = datetime.datetime(2022, 9, 9, 11, 31, 25, 7, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "CEST"))
    value = OrderedDict(when=moment, there=pathlib.PureWindowsPath("D:/data/x"), here=pathlib.PurePosixPath("/data/x"), s={1})
    loaded = restricted_loads(pickle.dumps(value), source="x")
    assert loaded == {"when": moment, "there": "D:\\data\\x", "here": "/data/x", "s": {1}}


def test_module_names_of_both_numpy_generations() -> None:
    data = pickle.dumps(np.arange(3), 3)
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        old = data.replace(b"numpy._core.multiarray", name).replace(b"numpy.core.multiarray", name)
        assert same(np.arange(3), restricted_loads(old, source="x"))


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("echo harm > harm",), r"(posix|nt)\.system"),
        (eval, ("open('harm', 'w')",), r"(builtins|__builtin__)\.eval"),
        (exec, ("open('harm', 'w')",), r"(builtins|__builtin__)\.exec"),
        (getattr, (1, "real"), r"(builtins|__builtin__)\.getattr"),
        (__import__, ("os",), r"(builtins|__builtin__)\.__import__"),
        (open, ("harm", "w"), r"_?io\.open"),
        (np.load, ("harm.npy",), r"numpy.*load"),
        (np.fromfile, ("harm",), r"fromfile"),
        (pickle.loads, (b"N.",), r"_?pickle\.loads"),
        (pathlib.Path.cwd, (), r"getattr"),
        (bytearray, (1 << 40,), r"(builtins|__builtin__)\.bytearray"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_calls_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, arguments: tuple[Any, ...], name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    harm = np.array([{"ypix": [Call(function, *arguments)]}], dtype=object)
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"shape": (1,), "fortran_order": False, "descr": "|O"})
    (tmp_path / "stat.npy").write_bytes(data.getvalue() + pickle.dumps(harm, protocol))
    with pytest.raises(FormatError, match=name):
        read_object_npy(tmp_path / "stat.npy")
    assert not (tmp_path / "harm").exists()


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


SCALAR = _global("numpy.core.multiarray", "scalar")
DTYPE = _global("numpy", "dtype")
NDARRAY = _global("numpy", "ndarray")
RECONSTRUCT = _global("numpy.core.multiarray", "_reconstruct")
EMPTY = RECONSTRUCT + b"(" + NDARRAY + b"(I0\ntVb\ntR"
LAUGHS = b"(lp0\n" + b"".join(b"(lp%d\ng%d\nag%d\na" % (n, n - 1, n - 1) for n in range(1, 60)) + b"."


def _dtype(code: bytes, state: bytes) -> bytes:
    return DTYPE + b"(V" + code + b"\nI00\nI01\ntR" + state + b"b"


PLAIN_STATE = b"(I3\nV<\nNNNI-1\nI-1\nI0\nt"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"cos\nsystem\n(Vecho\ntR.", id="classic"),
        pytest.param(b"(Vecho\nios\nsystem\n.", id="INST"),
        pytest.param(b"(" + _global("os", "system") + b"Vecho\no.", id="OBJ"),
        pytest.param(b"(" + _global("datetime", "date") + b"I2000\nI1\nI1\no.", id="OBJ of an allowed class"),
        pytest.param(_global("collections", "OrderedDict") + b")\x81.", id="NEWOBJ"),
        pytest.param(b"\x80\x02\x82\x01.", id="EXT1"),
        pytest.param(b"Pharm\n.", id="PERSID"),
        pytest.param(b"Vharm\nQ.", id="BINPERSID"),
        pytest.param(b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".", id="BYTEARRAY8"),
        pytest.param(b"\x80\x05\x97.", id="NEXT_BUFFER"),
        pytest.param(SCALAR + b"(dV__code__\nI1\nsb.", id="change of an allowed function"),
        pytest.param(SCALAR + b"N(dV__defaults__\nN\nst\x86b.", id="attributes of an allowed function"),
        pytest.param(_global("datetime", "date") + b"(dVtoday\nI1\nsb.", id="change of an allowed class"),
        pytest.param(_global("datetime", "datetime") + b".", id="class as a value"),
        pytest.param(_global("datetime", "datetime.now") + b")R.", id="dotted name"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.", id="dotted name, protocol 4"),
        pytest.param(NDARRAY + b"(I1000000000000\ntR.", id="ndarray called"),
        pytest.param(RECONSTRUCT + b"(" + _global("datetime", "date") + b"(I0\ntVb\ntR.", id="array of a foreign class"),
        pytest.param(_dtype(b"f8", b"(I3\nV<\nNNNI-1\nI-1\nI63\nt") + b".", id="dtype as a value is harmless") ,
        pytest.param(_dtype(b"V8", PLAIN_STATE) + b".", id="raw memory"),
        pytest.param(_dtype(b"f8,O", PLAIN_STATE) + b".", id="records by code"),
        pytest.param(_dtype(b"f8", b"(I3\nV<\nN(Va\nt(dI-1\nI-1\nI0\nt") + b".", id="records by state"),
        pytest.param(
            EMPTY + b"(I1\n(L1000000000000L\nt" + _dtype(b"f8", PLAIN_STATE) + b"I00\nC\x00tb.",
            id="array larger than its content",
        ),
        pytest.param(
            EMPTY + b"(I1\n(I-1\nt" + _dtype(b"f8", PLAIN_STATE) + b"I00\nC\x00tb.",
            id="array of negative size",
        ),
        pytest.param(SCALAR + b"(" + _dtype(b"O8", PLAIN_STATE) + b"C\x08\x01\x02\x03\x04\x05\x06\x07\x08tR.", id="pointer"),
        pytest.param(SCALAR + b"(" + _dtype(b"f8", PLAIN_STATE) + b"C\x01\x00tR.", id="scalar too short"),
        pytest.param(EMPTY + b".", id="array never filled"),
        pytest.param(b"(lp0\ng0\na.", id="list within itself"),
        pytest.param(b"(l" * 5000 + b"a" * 4999 + b".", id="lists without end"),
        pytest.param(LAUGHS, id="billion laughs"),
    ],
)  # fmt: skip
def test_hand_made_pickles_can_do_nothing(data: bytes, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.id == "dtype as a value is harmless":
        restricted_loads(data, source="evil.npy")
    else:
        with pytest.raises(FormatError, match="'evil.npy'"):
            restricted_loads(data, source="evil.npy")
    assert datetime.date.today() <= datetime.date.max  # the class still is what it was
    assert same(np.float64(2), restricted_loads(pickle.dumps(np.float64(2)), source="x"))


def _text(text: bytes) -> bytes:
    return b"\x8d" + struct.pack("<Q", len(text)) + text


COLLIDING = b"".join(b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for n in range(1, 3000))
BOMBS = {
    "a path of many long parts": _global("pathlib", "PurePosixPath")
    + _text(b"x" * 10**5) + b"\x94(" + b"h\x00" * 10**5 + b"t\x94R.",
    "bytes spelled again and again": _global("_codecs", "encode") + b"\x94" + _text(b"x" * 10**6) + b"\x94\x8c\x06latin1\x94"
    + b"\x5d(" + b"h\x00h\x01h\x02\x86R" * 10**4 + b"e.",
    "a long list made a set again and again": _global("builtins", "set") + b"\x94](" + b"N" * 10**5 + b"e\x94"
    + b"](" + b"h\x00h\x01\x85R" * 10**4 + b"e.",
    "objects in arrays again and again": b"".join(
        (EMPTY, b"0", b"](", b"N" * 10**5, b"e\x94(", *[EMPTY + b"(I1\n(I100000\nt" + _dtype(b"O8", PLAIN_STATE) +
        b"I00\nh\x00tb"] * 1000, b"l.")
    ),
    "empty sets": b"](" + b"\x8f" * 10**6 + b"e.",
    "empty dictionaries": b"](" + b"}" * 3 * 10**6 + b"e.",
    "memories": b"N" + b"\x94" * 2 * 10**6 + b".",
    "marks": b"(" * 2 * 10**6 + b".",
    "keys that collide": b"}(" + COLLIDING + b"u.",
    "keys that collide, one by one": b"}" + b"".join(COLLIDING[n * 13 : n * 13 + 13] + b"s" for n in range(2000)) + b".",
    "pairs that collide": _global("collections", "OrderedDict") + b"](" + b"".join(
        COLLIDING[n * 13 : n * 13 + 13] + b"\x86" for n in range(2000)) + b"e\x85R.",
    "a call of lists within lists": LAUGHS[:-1] + b")R.",
    "a change of lists within lists": LAUGHS[:-1] + b"Nb.",
    "a number of very many digits": b"L" + b"9" * 10**6 + b"L\n.",
    "a name of very many letters": _global("x" * 10**6, "y") + b".",
    "a line without end": b"V" + b"x" * 10**6,
    "a buffer longer than the file": b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b".",
    "text longer than the file": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b".",
    "a frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
    "characters that there are not": SCALAR + b"(" + _dtype(b"U1", PLAIN_STATE) + b"C\x04\xff\xff\xff\xfftR.",
    "an array of characters that there are not": EMPTY + b"(I1\n(I1\nt" + _dtype(b"U1", PLAIN_STATE)
    + b"I00\nC\x04\xff\xff\xff\xfftb.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_takes_no_more_memory_than_its_size_explains(name: str) -> None:
    code = (
        "import resource, sys; from packerlabimaging.io.untrusted.pickles import restricted_loads\n"
        "data = sys.stdin.buffer.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: restricted_loads(data, source='evil.npy')\n"
        "except ValueError as error: assert len(str(error)) < 800, len(str(error))\n"
        "else: raise SystemExit('was read')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=BOMBS[name], capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr.decode()[-800:]
    assert int(done.stdout) < 300


def test_sparse_matrices_come_as_their_parts() -> None:
    from scipy.sparse import csc_array, csc_matrix, csr_matrix

    for kind in (csc_matrix, csr_matrix, csc_array):
        matrix = kind(np.array([[0, 1.5], [2, 0], [0, 3]]))
        data = pickle.dumps(matrix, 4)
        for old in (data, data.replace(b"\x11scipy.sparse._cs", b"\x10scipy.sparse.cs")):
            parts = restricted_loads(old, source="x")
            assert parts["format"] == matrix.format and parts["shape"] == (3, 2)
            assert all(same(getattr(matrix, name), parts[name]) for name in ("data", "indices", "indptr"))


@pytest.mark.parametrize("core", ["_core", "core"])
def test_arrays_as_protocol_5_spells_them(core: str) -> None:
    for array in (np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3).T, np.array(["cell", "no"])):
        data = pickle.dumps({"a": array, "b": [array.copy(), array]}, 5)
        data = data.replace(
            b"\x8c\x13numpy._core.numeric", b"\x8c" + bytes([len(f"numpy.{core}.numeric")]) + f"numpy.{core}.numeric".encode()
        )
        found = restricted_loads(data if core == "_core" else pickle.dumps({"a": array}, 5), source="x")
        assert same(array, found["a"])


def test_a_file_of_nothing_but_zeros_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stat.npy"
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"shape": (1,), "fortran_order": False, "descr": "|O"})
    for size, message in ((1 << 29, "damaged|holds"), (1 << 40, "more than a file of settings")):
        path.write_bytes(data.getvalue() + b"c")
        os.truncate(path, size)
        with pytest.raises(FormatError, match=message):
            read_object_npy(path)


def test_a_table_of_memories_of_any_size_costs_nothing() -> None:
    data = b"\x80\x03K\x07r" + struct.pack("<I", (1 << 32) - 1) + b"."  # the C unpickler would allocate 64 GB
    assert restricted_loads(data, source="x") == 7


VALID = pickle.dumps([{"ypix": np.arange(4), "lam": np.ones(2, "f4"), "med": [1.5, 2], "when": datetime.datetime(2020, 1, 1)}], 4)


@settings(max_examples=300)
@given(st.integers(0, len(VALID) - 1), st.integers(0, 255), st.integers(0, len(VALID)))
def test_damaged_pickles_give_values_or_one_error(place: int, byte: int, end: int) -> None:
    damaged = bytearray(VALID)
    damaged[place] = byte
    for data in (bytes(damaged), VALID[:end]):
        try:
            restricted_loads(data, source="x")
        except FormatError as error:
            assert "'x'" in str(error)


def test_headers_are_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "F.npy"

    def write(descr: Any, shape: Any, content: bytes = b"") -> None:
        data = io.BytesIO()
        np.lib.format.write_array_header_1_0(data, {"shape": shape, "fortran_order": False, "descr": descr})
        path.write_bytes(data.getvalue() + content)

    write("<f4", (10**6, 10**9))
    with pytest.raises(FormatError, match="cut.*4000000000000000 bytes, but 0 are there"):
        open_npy(path, ndim=2)
    write("<f4", (2, 3), b"\x00" * 23)
    with pytest.raises(FormatError, match="24 bytes, but 23"):
        open_npy(path, ndim=2)
    write("<f4", (2, -3), b"\x00" * 24)
    with pytest.raises(FormatError, match="header is damaged"):
        open_npy(path, ndim=2)
    write("<f4", (6,), b"\x00" * 24)
    with pytest.raises(FormatError, match="Expected 2 dimensions"):
        open_npy(path, ndim=2)
    write("|O", (2, 3), b"\x00" * 24)
    with pytest.raises(FormatError, match="Expected numbers"):
        open_npy(path, ndim=2)
    write("<f4", (0, 3))
    assert open_npy(path, ndim=2).shape == (0, 3)
    for content in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"PK\x03\x04", b"\x93NUMPY\x07\x00"):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="no readable .npy file"):
            open_npy(path, ndim=2)
    with pytest.raises(MissingFileError, match=r"There is no file .*G\.npy"):
        open_npy(tmp_path / "G.npy", ndim=2)


def test_numbers_are_mapped_not_read(tmp_path: Path) -> None:
    for order in "CF":
        written = np.asarray(np.arange(12, dtype="f4").reshape(3, 4), order=order)
        np.save(tmp_path / "F.npy", written)
        mapped = open_npy(tmp_path / "F.npy", ndim=2)
        assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
        np.testing.assert_array_equal(mapped, written)


def test_objects_and_dictionaries_are_told_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "ops.npy", np.array([1, 2]))
    with pytest.raises(FormatError, match="Expected Python objects"):
        read_object_npy(tmp_path / "ops.npy")
    np.save(tmp_path / "ops.npy", np.array([{"a": 1}, {}], dtype=object))
    with pytest.raises(FormatError, match="no dictionary"):
        read_dict_npy(tmp_path / "ops.npy")
    np.save(tmp_path / "ops.npy", {"a": 1})  # type: ignore[arg-type]
    assert read_dict_npy(tmp_path / "ops.npy") == {"a": 1}
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"shape": (3,), "fortran_order": False, "descr": "|O"})
    (tmp_path / "ops.npy").write_bytes(data.getvalue() + pickle.dumps(np.array([None], object)))
    with pytest.raises(FormatError, match="not the array of shape"):
        read_object_npy(tmp_path / "ops.npy")
