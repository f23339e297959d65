"""Safe XML parsing: what programs write is read, what could harm is refused."""

from __future__ import annotations

import pytest
from damage import only_our_errors
from hypothesis import given, settings
from hypothesis import strategies as st

from packerlabimaging.errors import FormatError, MissingFileError
from packerlabimaging.io.untrusted.xml import parse_xml, root_tag


@pytest.mark.parametrize(
    "raw",
    [
        b'<A x="1"/>',
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>\r\n<A x="1"/>',
        '<?xml version="1.0" encoding="utf-16"?><A x="1"/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?><!-- \xb5m --><A x="1"/>',
        b'<A x="&#x1;1&#0;"/>',
        b'<A x="\x011"/>',
    ],
)
def test_reads_what_programs_write(tmp_path, raw):
    path = tmp_path / "a.xml"
    path.write_bytes(raw)
    root = parse_xml(path)
    assert (root.tag, root.get("x")) == ("A", "1")
    assert root_tag(path) == "A"


def test_keeps_legal_references_and_infinity(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text('<A x="&#65;&#x221e;∞"/>', encoding="utf-8")
    assert parse_xml(path).get("x") == "A∞∞"


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_refuses_document_types(tmp_path, text, encoding):
    path = tmp_path / "a.xml"
    path.write_text(text, encoding=encoding)
    with pytest.raises(FormatError, match=r"a\.xml', line 1, holds a document type"):
        parse_xml(path)


def test_names_the_line_of_a_fault(tmp_path):
    path = tmp_path / "cut.xml"
    path.write_text("<A>\n<B>\n</A>")
    with pytest.raises(FormatError, match=r"cut\.xml' is not well-formed XML.*line 3"):
        parse_xml(path)
    path.write_bytes(b"<A>\n\xff</A>")
    with pytest.raises(FormatError, match=r"is not UTF-8 text"):
        parse_xml(path)
    with pytest.raises(MissingFileError, match="There is no file"):
        parse_xml(tmp_path / "none.xml")


def test_root_tag_of_other_files(tmp_path):
    path = tmp_path / "b"
    path.write_bytes(b"\x46\x1c\x40\x00")
    assert root_tag(path) is None
    assert root_tag(tmp_path / "none") is None
    assert root_tag(tmp_path) is None
    path.write_bytes(b"<??>" * 1000 + b"x")  # many ways to read it: must not be tried one by one
    assert root_tag(path) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_never_fails_otherwise(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("x") / "a.xml"
    path.write_bytes(raw)
    root_tag(path)
    with only_our_errors():
        parse_xml(path)
