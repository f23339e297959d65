"""The ``.env`` file of a recording: the program's settings when it began, all that is left where the scan's XML is not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from packerlabimaging.errors import FormatError
from packerlabimaging.io.prairieview.state import NO_STATE, ShardCollector, State
from packerlabimaging.io.untrusted.xml import stream_xml


class EnvironmentHandler:
    """Collects the attributes of the root, and the state values wherever they stand."""

    def __init__(self) -> None:
        self.attributes: Mapping[str, str] | None = None
        self.root = ""
        self.state: State = NO_STATE
        self._shard: ShardCollector | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.attributes is None:
            self.root, self.attributes = tag, attributes
        elif self._shard is not None:
            self._shard.start(tag, attributes)
        elif tag == "PVStateShard":
            self._shard = ShardCollector()

    def end(self, tag: str) -> None:
        if self._shard is None:
            return
        if tag == "PVStateShard":
            self.state = {**self.state, **self._shard.state()}
            self._shard = None
        else:
            self._shard.end(tag)


def read_environment(path: str | Path) -> tuple[State, Mapping[str, str]]:
    """Read an ``.env`` file; about half of the real ones are no well-formed XML, and are repaired.

    Returns
    -------
    tuple
        State values by key, and the attributes of the root (``version``, ``date``; absent in old files).

    Raises
    ------
    MissingFileError
        If there is no such file.
    FormatError
        If it can't be read, or is not an ``.env`` file.
    """
    handler, _ = stream_xml(path, lambda parser: EnvironmentHandler())
    if handler.root != "Environment":
        raise FormatError(f"'{path}' has the root element {handler.root}. Expected Environment, as in PrairieView's .env files.")
    return handler.state, handler.attributes or {}
