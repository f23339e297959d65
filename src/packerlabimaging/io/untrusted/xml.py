"""XML as acquisition programs write it: byte order marks, no declaration, illegal character references.

A file from a rig is data, not a program: document type declarations and entities are refused, so that no file can make the
parser expand without bound or look at other files. What programs write although XML forbids it is repaired, and told.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar
from xml.etree import ElementTree
from xml.parsers import expat

from packerlabimaging.errors import FormatError, MissingFileError

HEAD_BYTES = 4096
"""Bytes that ``root_tag`` looks at."""
REPAIRED_ENCODING = "read as ISO 8859-1, since it is not UTF-8"
"""The repair that may have changed letters."""

_MAX_BYTES = 1 << 30
_MAX_TREE_BYTES = 64 << 20
_MAX_REPAIRED_BYTES = 128 << 20
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_ILLEGAL_REFERENCE = re.compile(
    rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[dD][89a-fA-F][0-9a-fA-F]{2}|[fF]{3}[efEF])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));"
)
_ILLEGAL_BYTES = bytes(set(range(32)) - {9, 10, 13})
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_ROOT = re.compile(r"\s*<([A-Za-z_][\w.:-]*)")


class XmlHandler(Protocol):
    """What takes the elements of a file, one after another."""

    def start(self, tag: str, attributes: dict[str, str], /) -> Any:
        """Take the start of an element."""

    def end(self, tag: str, /) -> Any:
        """Take its end."""


H = TypeVar("H", bound=XmlHandler)


def stream_xml(
    path: str | Path, make_handler: Callable[[expat.XMLParserType], H], *, max_bytes: int = _MAX_BYTES
) -> tuple[H, tuple[str, ...]]:
    """Feed a handler with the elements of a file, in memory that does not depend on the file's length.

    Parameters
    ----------
    make_handler
        Gets the parser (which knows the line) and returns the handler; called a second time where the file needs repair.

    Returns
    -------
    tuple
        The handler, and what was repaired, in words: nothing for a file that is XML. Byte order marks and a missing
        declaration are normal.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not XML, is cut, holds a document type declaration, or is larger than ``max_bytes``.
    """
    path = Path(path)
    try:
        file = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise MissingFileError(f"There is no file '{path}'. Check the path, and that its disk is connected.") from None
    with file:
        n_bytes = file.seek(0, io.SEEK_END)
        if n_bytes > max_bytes:
            raise FormatError(f"'{path}' has {n_bytes:,} bytes. Expected at most {max_bytes:,} for an XML file of this kind.")
        file.seek(0)
        try:
            return _feed(path, file, make_handler), ()
        except expat.ExpatError as error:
            file.seek(0)
            repaired, encoding, done = _repair(file.read()) if n_bytes <= _MAX_REPAIRED_BYTES else (b"", None, ())
            if not done:
                raise _malformed(path, error) from error
            try:
                return _feed(path, io.BytesIO(repaired), make_handler, encoding), done
            except expat.ExpatError:
                raise _malformed(path, error) from error


def parse_xml(path: str | Path) -> ElementTree.Element:
    """Read a small XML file and return its root element; see :func:`stream_xml` for what is tolerated.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it is not XML, is cut, or holds a document type declaration; the message names the line.
    """
    tree, repairs = stream_xml(path, lambda parser: ElementTree.TreeBuilder(), max_bytes=_MAX_TREE_BYTES)
    if REPAIRED_ENCODING in repairs:
        raise FormatError(
            f"'{path}' is not UTF-8 text. It may be damaged or not XML: copy it again from the acquisition computer."
        )
    return tree.close()


def root_tag(path: str | Path) -> str | None:
    """Return the name of the root element, or None where the file does not begin as XML. Reads 4 KB, never raises."""
    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return None
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


def _feed(path: Path, file: BinaryIO, make_handler: Callable[[expat.XMLParserType], H], encoding: str | None = None) -> H:
    parser = expat.ParserCreate(encoding)

    def refuse(*declaration: Any) -> None:
        raise FormatError(
            f"'{path}', line {parser.CurrentLineNumber}, holds a document type declaration. No acquisition program writes one, "
            "and it can be made to exhaust memory: the file is refused. Export it again from its program."
        )

    handler = make_handler(parser)
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    if isinstance(handler, ElementTree.TreeBuilder):  # a scan's XML has no text but in attributes
        parser.buffer_text = True
        parser.CharacterDataHandler = handler.data
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.ParseFile(file)
    except (LookupError, ValueError) as error:  # from the encoding that the declaration names
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"'{path}' can't be read in the encoding that it names ({error}). Expected UTF-8.") from error
    finally:  # parser and handler hold each other: let go now, not when garbage is next collected
        parser.StartElementHandler = parser.EndElementHandler = None
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = None
    return handler


def _malformed(path: Path, error: expat.ExpatError) -> FormatError:
    return FormatError(
        f"'{path}' is not well-formed XML: {expat.ErrorString(error.code)} (line {error.lineno}, column {error.offset}). "
        "It may be cut or damaged: copy it again from the acquisition computer. If the recording was broken off, the program "
        "may not have finished it."
    )


def _repair(data: bytes) -> tuple[bytes, str | None, tuple[str, ...]]:
    """Return the document without what XML forbids but programs are known to write, its encoding, and what was done."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16
        return data, None, ()
    done = []
    cleaned = _ILLEGAL_REFERENCE.sub(b"", data)
    if len(cleaned) < len(data):
        done.append("references to control characters taken out")
    stripped = cleaned.translate(None, _ILLEGAL_BYTES)
    if len(stripped) < len(cleaned):
        done.append("control characters taken out")
    if not _is_utf8(stripped):
        return stripped, "iso-8859-1", (*done, REPAIRED_ENCODING)
    if re.match(rb"\s*<\?xml[^>]*encoding\s*=\s*[\"']utf-?16", stripped.removeprefix(codecs.BOM_UTF8), re.IGNORECASE):
        return stripped, "utf-8", (*done, "read as UTF-8, although it says UTF-16")
    return stripped, None, tuple(done)


def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), 1 << 20):
            decoder.decode(data[start : start + (1 << 20)])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
