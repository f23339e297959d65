"""XML as acquisition programs write it: byte order marks, no declaration, illegal character references.

A file from a rig is data, not a program: document type declarations and entities are refused, so that no file can make the
parser expand without bound or look at other files.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from packerlabimaging.errors import FormatError, MissingFileError

HEAD_BYTES = 4096
"""Bytes that ``root_tag`` looks at."""

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DECLARATION = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_ENCODINGS = {"utf-8", "us-ascii", "ascii", "iso-8859-1", "windows-1252"}
_REFERENCE = re.compile(r"&#(x[0-9a-fA-F]{1,8}|[0-9]{1,10});")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_ROOT = re.compile(r"\s*<([A-Za-z_][\w.:-]*)")


def parse_xml(path: str | Path) -> ElementTree.Element:
    """Read an XML file and return its root element.

    Byte order marks and a missing declaration are normal; character references and control characters that XML does not
    allow (``&#x1;``, which PrairieView writes as a list separator) are left out.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not XML, is cut, or holds a document type declaration; the message names the line.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.") from None
    text = _CONTROL.sub("", _REFERENCE.sub(_legal_reference, _decode(raw, path)))
    for forbidden in ("<!DOCTYPE", "<!ENTITY"):
        if forbidden in text:
            line = text.count("\n", 0, text.index(forbidden)) + 1
            raise FormatError(
                f"'{path}', line {line}, holds a document type declaration ({forbidden}). No acquisition program writes one; "
                "the file is refused. Export it again from its program."
            )
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise FormatError(
            f"'{path}' is not well-formed XML: {error} (line {line}, column {column}). "
            "It may be cut or damaged: copy it again from the acquisition computer."
        ) from error


def root_tag(path: str | Path) -> str | None:
    """Return the name of the root element, or None where the file does not begin as XML. Reads 4 KB, never raises."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), "utf-8")
    text, at = head.decode(encoding, errors="ignore"), 0
    while before := _PROLOG.match(text, at):
        at = before.end()
    found = _ROOT.match(text, at)
    return found.group(1) if found else None


def _decode(raw: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if raw.startswith(mark)), None)
    if encoding is None:
        declared = _DECLARATION.match(raw[:HEAD_BYTES])
        encoding = declared.group(1).decode("ascii").lower() if declared else "utf-8"
        if encoding not in _ENCODINGS:
            raise FormatError(f"'{path}' declares the encoding '{encoding}'. Expected one of: {', '.join(sorted(_ENCODINGS))}.")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"'{path}' is not {encoding} text: byte {error.start} (line {line}) can't be decoded. "
            "It may be damaged or not XML: copy it again from the acquisition computer."
        ) from error


def _legal_reference(found: re.Match[str]) -> str:
    digits = found.group(1)
    code = int(digits[1:], 16) if digits.startswith("x") else int(digits)
    legal = code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or 0x10000 <= code <= 0x10FFFF
    return found.group(0) if legal else ""
