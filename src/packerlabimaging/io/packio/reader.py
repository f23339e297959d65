"""The reader of PackIO recordings."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import Signals
from packerlabimaging.io.channel_names import distinct_names
from packerlabimaging.io.packio.channels import PaqChannel
from packerlabimaging.io.packio.header import SAMPLE, PaqHeader, Variant, is_packio, read_paq_header
from packerlabimaging.io.readers import Inspection, Kind, Reader


class PackIOReader(Reader):
    """Reads PackIO recordings: ``.paq``, and the older ``.bin``."""

    name: ClassVar[str] = "packio"
    kind: ClassVar[Kind] = "signals"
    description: ClassVar[str] = "PackIO recording, .paq or .bin"

    def detect(self, path: Path) -> bool:
        """Say whether ``path`` is named ``.paq``, or has a header in which every number makes sense.

        ``.bin`` is also what raw movies are called: of such a file the first rows have to make sense too.
        """
        return path.is_file() and (path.suffix.lower() == ".paq" or is_packio(path))

    def open(self, path: Path, *, variant: Variant | None = None) -> Signals:
        """Open a recording; reads the header only.

        Parameters
        ----------
        path
            The file.
        variant
            ``"paq"``, or ``"bin"``, which has neither hardware lines nor units; by default what the file's name says.

        Raises
        ------
        MissingFileError
            If there is no such file.
        FormatError
            If the header makes no sense.
        """
        header = read_paq_header(path, variant=variant)
        names, findings = distinct_names(header.names, where=str(header.path))
        channels = [PaqChannel(header, index, name=name) for index, name in enumerate(names)]
        return Signals(channels, source=str(path), findings=[*_header_findings(header), *findings])

    def inspect(self, path: Path) -> Inspection:
        """Describe a recording from its header."""
        header = read_paq_header(path)
        names, findings = distinct_names(header.names, where=str(header.path))
        facts = {
            "variant": header.variant,
            "rate_hz": header.rate_hz,
            "n_channels": header.n_channels,
            "n_samples": header.n_samples,
            "duration_s": header.n_samples / header.rate_hz,
            "channels": list(names),
            "hardware": list(header.hardware),
            "units": list(header.units),
        }
        return Inspection(str(path), self.name, self.kind, facts, (*_header_findings(header), *findings))


def _header_findings(header: PaqHeader) -> list[Finding]:
    where = str(header.path)
    findings = []
    if header.variant == "bin":
        message = "The file is of the variant without hardware lines and units: the units of its channels are not known."
        findings.append(Finding("no-units", message, "info", where, "They are usually volts."))
    if header.n_stray_bytes:
        n_stray, n_bytes = divmod(header.n_stray_bytes, SAMPLE.itemsize)
        findings.append(
            Finding(
                "cut-row",
                f"The file ends in the middle of a row: {n_stray} stray numbers{f' and {n_bytes} bytes' if n_bytes else ''} "
                f"after {header.n_samples} whole rows are left out.",
                where=where,
                advice="The recording probably crashed; check that it lasts as long as the movie.",
                evidence={"n_stray": n_stray, "n_stray_bytes": header.n_stray_bytes, "n_samples": header.n_samples},
            )
        )
    if header.n_samples == 0:
        findings.append(Finding("no-samples", "The file holds a header but no sample.", "error", where, "Copy it again."))
    return findings
