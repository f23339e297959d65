"""Named classes that third parties can add: from an entry point, or by ``register`` in a script or notebook.

The package's own readers and engines are entry points as well: there is no list of formats in the code, and a plugin is
found exactly as they are.
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from packerlabimaging._check import did_you_mean
from packerlabimaging.errors import ParameterError, UnknownFormatError

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Registry(Generic[T]):
    """Classes of one contract by name.

    Parameters
    ----------
    what
        What they are, in one word, for messages: ``"reader"``.
    group
        Entry point group that they are found in.
    """

    def __init__(self, what: str, group: str) -> None:
        self.what = what
        self.group = group
        self._registered: dict[str, type[T]] = {}
        self._found: dict[str, type[T]] | None = None
        self.broken: dict[str, str] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Add a class under its ``name``; a second one of the same name replaces it (notebooks redefine classes)."""
        self._registered[cls.name] = cls  # type: ignore[attr-defined]
        return cls

    def all(self) -> dict[str, type[T]]:
        """Return every class by name; loads entry points the first time.

        A broken plugin is logged and left out, so that it can't take the others down; asking for it by name tells why.
        """
        if self._found is None:
            self._found = {}
            for point in entry_points(group=self.group):
                if point.name in self._found:
                    raise ParameterError(
                        f"Two installed packages give a {self.what} '{point.name}' ({point.value} is the second). "
                        "Uninstall one of them."
                    )
                try:
                    self._found[point.name] = point.load()
                except Exception as error:  # a plugin's own failure: reported by name below, never silently lost
                    self.broken[point.name] = f"{type(error).__name__}: {error}"
                    logger.warning("The %s '%s' (%s) can't be loaded: %s", self.what, point.name, point.value, error)
        return {**self._found, **self._registered}

    def get(self, name: str) -> type[T]:
        """Return the class called ``name``.

        Raises
        ------
        UnknownFormatError
            If there is none; the message lists those that there are.
        """
        classes = self.all()
        if name in classes:
            return classes[name]
        if name in self.broken:
            raise UnknownFormatError(f"The {self.what} '{name}' is installed but can't be loaded: {self.broken[name]}")
        raise UnknownFormatError(
            f"There is no {self.what} called '{name}'. Available: {', '.join(sorted(classes)) or 'none'}."
            f"{did_you_mean(name, classes)}"
        )
