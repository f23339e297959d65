"""The results folder: receipts, results under fresh names, one lock.

A step writes its result under a name that did not exist, then replaces its receipt in one atomic step. Only what a receipt
names exists: whatever a killed process left behind is swept by the next run, and the earlier result stays readable until
the new receipt stands.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packerlabimaging._files import write_json
from packerlabimaging.core.findings import Finding
from packerlabimaging.errors import StoreError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_TOKEN = re.compile(r"-[0-9a-f]{12}(\.[a-z]+)?$")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a finished step left: the name of its result and everything that it came from.

    Parameters
    ----------
    owner
        Trial id, or FOV name for a segmentation.
    step
        Name of the step.
    token
        Random name of this one run of the step.
    result
        Path of the result relative to the results folder, or of adopted data.
    codec
        How the result is written.
    stored
        Number of files of the result and their bytes, to notice lost or cut files; None for adopted data and engines' runs.
    inputs
        ``{"trial:input": fingerprint}`` of the inputs that the step used; None for one that was not given.
    parameters
        ``{"trial:settings:section": values}`` and the like of what it used.
    upstream
        ``{"owner:step": token}`` of the results that it used.
    code
        The step's own version, or the hash of a user's hook.
    versions
        Versions of packages.
    warnings, findings
        What was warned about, and what readers and audits noticed.
    started, finished
        Times in UTC.
    """

    owner: str
    step: str
    token: str
    result: str
    codec: str
    stored: tuple[int, int] | None = None
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    upstream: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    started: str = ""
    finished: str = ""


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(f"The receipt '{path}' is damaged: {reason}. Delete it to run the step again.")


def measure(path: Path) -> tuple[int, int]:
    """Return the number of files of a result, hidden ones left out, and the sum of their bytes."""
    if path.is_file():
        return 1, path.stat().st_size
    sizes = [
        os.stat(os.path.join(place, name)).st_size
        for place, _, names in os.walk(path)
        for name in names
        if not name.startswith(".")  # what file managers leave
    ]
    return len(sizes), sum(sizes)


@cache
def _receipt_type() -> TypeAdapter[Receipt]:
    from pydantic import TypeAdapter

    return TypeAdapter(Receipt)


class Store:
    """The results folder of one experiment.

    Parameters
    ----------
    folder
        The folder; made by the first write, not before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder's lock, which dies with its process.

        Raises
        ------
        StoreError
            If another process holds it, or the folder can't be written to.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(
                f"Another process is working in '{self.folder}'. Wait until it has finished, or stop it, then run again."
            ) from None
        except (OSError, NotImplementedError) as error:
            raise StoreError(
                f"The results folder '{self.folder}' can't be written to: {error}. Choose another output, or mend its rights."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def receipt(self, owner: str, step: str) -> Receipt | None:
        """Return the receipt of a step, or None where it has not finished.

        Raises
        ------
        StoreError
            If the receipt is damaged.
        """
        from pydantic import ValidationError

        path = self._receipt_path(owner, step)
        try:
            receipt = _receipt_type().validate_json(path.read_bytes(), strict=True)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors()[0]
            raise _damaged(path, " ".join([*map(str, first["loc"]), first["msg"]])) from error
        for names, parts in ((receipt.inputs, 2), (receipt.parameters, 3), (receipt.upstream, 2)):
            for name in names:
                if name != "segmentation" and name.count(":") != parts - 1:
                    raise _damaged(path, f"'{name}' names nothing that a step can use")
        try:
            for values in receipt.findings:
                Finding.from_dict(values)
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, f"a finding is not one ({error!r})") from error
        return receipt

    def receipts(self) -> list[Receipt]:
        """Return all receipts."""
        found = []
        for path in sorted(self._receipts.glob("*.json")):
            owner, _, step = path.stem.rpartition(".")
            receipt = self.receipt(owner, step)
            if receipt is not None:
                found.append(receipt)
        return found

    def write_receipt(self, receipt: Receipt) -> None:
        """Replace a step's receipt atomically: from now on its result exists."""
        path = self._receipt_path(receipt.owner, receipt.step)
        write_json(path, asdict(receipt))

    def fresh_path(self, kind: str, name: str, *, suffix: str = "") -> tuple[str, Path]:
        """Return a new token and a path that does not exist, e.g. ``trials/t-013/cells-<token>.zarr``."""
        token = secrets.token_hex(6)
        path = self.folder / kind / f"{name}-{token}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return token, path

    def result_path(self, receipt: Receipt) -> Path:
        """Return where a receipt's result lies.

        Raises
        ------
        StoreError
            If it is gone.
        """
        path = Path(os.path.normpath(self.folder / receipt.result))
        if not path.exists():
            raise StoreError(
                f"The result of step '{receipt.step}' of '{receipt.owner}' is gone: '{path}'. "
                f"Delete '{self._receipt_path(receipt.owner, receipt.step)}' to make it again."
            )
        return path

    def has_result(self, receipt: Receipt) -> bool:
        """Say whether a receipt's result is where it should be."""
        return (self.folder / receipt.result).exists()

    def is_whole(self, receipt: Receipt) -> bool:
        """Say whether a receipt's result has the files and bytes that it was written with: a lost chunk reads as zeros."""
        return receipt.stored is None or receipt.stored == measure(self.folder / receipt.result)

    def sweep(self) -> list[Path]:
        """Delete results that no receipt names (left by killed runs or replaced since); return what was deleted."""
        named = {Path(os.path.normpath(self.folder / receipt.result)) for receipt in self.receipts()}
        swept = []
        for path in [*self.folder.glob("trials/*/*"), *self.folder.glob("segmentation/*")]:
            if _TOKEN.search(path.name) and path not in named:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                swept.append(path)
        for path in [found for folder in ("", "receipts/", "trials/*/") for found in self.folder.glob(f"{folder}.*.tmp")]:
            path.unlink()
        return swept

    @property
    def _receipts(self) -> Path:
        return self.folder / "receipts"

    def _receipt_path(self, owner: str, step: str) -> Path:
        return self._receipts / f"{owner}.{step}.json"
