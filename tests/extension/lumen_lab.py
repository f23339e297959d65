"""Reader of Lumen files (.lum), the template of the page "Add a reader"."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packerlabimaging.core import ImagingMetadata
from packerlabimaging.errors import FormatError
from packerlabimaging.io import BinaryMovie, Inspection, Interleaving, MovieOptions, Reader, register_reader
from packerlabimaging.io.interleaving import choose_channel

MAGIC = b"LUMEN\x01\x00\x00"
HEADER = struct.Struct("<8sIIIdd")


@dataclass(frozen=True)
class LumenHeader:
    shape: tuple[int, int]
    n_channels: int
    n_images: int
    metadata: ImagingMetadata


def read_header(path: Path) -> LumenHeader:
    with path.open("rb") as file:
        start = file.read(HEADER.size)
    if len(start) < HEADER.size or not start.startswith(MAGIC):
        raise FormatError(f"'{path}' is no Lumen file: it starts with {start[:8]!r}. Expected {MAGIC!r}; copy it again.")
    _, height, width, n_channels, rate_hz, um = HEADER.unpack(start)
    frame_bytes = 2 * height * width
    n_images = (path.stat().st_size - HEADER.size) // max(1, frame_bytes)
    if not frame_bytes or not 0 < n_channels <= max(1, n_images) or not (0 < rate_hz < 1e6 and 0 < um < 1e4):
        raise FormatError(
            f"'{path}' claims {n_channels} channels of {height} x {width} px at {rate_hz} Hz and {um} um per pixel, "
            f"in {path.stat().st_size:,} bytes. The file is cut or damaged: copy it again."
        )
    metadata = ImagingMetadata(
        frame_shape_px=(height, width),
        channels=tuple(str(number + 1) for number in range(n_channels)),
        frame_rate_hz=rate_hz,
        frame_rate_source="nominal",  # or "frame times", where the file has the time of each frame
        pixel_size_um=(um, um),
        program="Lumen",
    )
    return LumenHeader((height, width), n_channels, n_images, metadata)


@register_reader
class LumenReader(Reader):
    name = "lumen"
    kind = "movie"  # or signals, photostim, segmentation
    description = "Lumen movie, .lum"
    options = MovieOptions  # channel=, plane=, frame_rate_hz=, ...; a subclass, where a format needs options of its own

    def detect(self, path: Path) -> bool:  # cheap: names and first bytes; never raises
        try:
            with path.open("rb") as file:
                return file.read(len(MAGIC)) == MAGIC
        except OSError:
            return False

    def open(self, path: Path, **options: Any) -> BinaryMovie:
        chosen, header = MovieOptions(**options), read_header(path)
        layout = Interleaving(n_channels=header.n_channels)
        channel = choose_channel(chosen.channel, header.metadata.channels, str(path))
        images = layout.images(header.n_images, channel=channel)
        found = header.metadata.replace(n_frames=len(images))
        return BinaryMovie(
            path,
            frame_shape_px=header.shape,
            dtype="<u2",
            offset_bytes=HEADER.size,
            images=images,
            metadata=chosen.complete(found, (len(images), *header.shape), str(path)),
            findings=layout.findings(header.n_images, str(path)),
        )

    def inspect(self, path: Path) -> Inspection:  # what `pli inspect` shows
        header = read_header(path)
        facts = {
            "n_frames": header.n_images // header.n_channels,
            "frame_shape_px": list(header.shape),
            "channels": list(header.metadata.channels),
            "frame_rate_hz": header.metadata.frame_rate_hz,
        }
        return Inspection(str(path), self.name, self.kind, facts)
