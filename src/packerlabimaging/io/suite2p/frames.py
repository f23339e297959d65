"""Which frames of a run came from which file: Suite2p joins its files in its own order, which need not be the experiment's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from packerlabimaging.core.segmentation import Segmentation
from packerlabimaging.errors import AmbiguousInputError, FormatError, MissingInputError


def frames_of_files(segmentation: Segmentation) -> Mapping[str, tuple[int, int]]:
    """Return the frames that each file of an adopted Suite2p run gave.

    Parameters
    ----------
    segmentation
        From :class:`Suite2pReader`.

    Returns
    -------
    Mapping
        ``{file as the run names it: (first frame, end)}``, in the run's order.

    Raises
    ------
    FormatError
        If the run does not say, or its counts don't add up to its traces.
    """
    files, counts = segmentation.extra.get("files", ()), segmentation.extra.get("frames_per_file", ())
    if len(files) == 1 and not counts:
        counts = (segmentation.n_frames,)
    if not files or len(files) != len(counts):
        raise FormatError(
            f"The Suite2p run '{segmentation.source}' does not record how many frames each of its {len(files)} files gave. "
            "Give the frames of each trial by hand."
        )
    if sum(counts) != segmentation.n_frames:
        raise FormatError(
            f"The files of the Suite2p run '{segmentation.source}' have {sum(counts)} frames, its traces "
            f"{segmentation.n_frames}. They are not of the same run, so that no frame "
            "can be given to a trial. Run it again, or give the frames by hand."
        )
    ranges: dict[str, tuple[int, int]] = {}
    start = 0
    for file, count in zip(files, counts, strict=True):
        if file in ranges:
            raise FormatError(f"The Suite2p run '{segmentation.source}' names the file '{file}' twice. Give the frames by hand.")
        ranges[file] = (start, start + count)
        start += count
    return ranges


def find_frames(segmentation: Segmentation, path: str | Path) -> tuple[int, int]:
    """Find the frames of one recording in an adopted Suite2p run.

    Parameters
    ----------
    segmentation
        From :class:`Suite2pReader`.
    path
        File of the recording, or the folder that holds its files. Folders above may have moved since the run: the path
        that shares the most trailing names with ``path`` counts.

    Returns
    -------
    tuple of int
        ``(first frame, end)``.

    Raises
    ------
    MissingInputError
        If the run did not read this recording.
    AmbiguousInputError
        If the path fits several recordings, or its files are not next to each other in the run.
    FormatError
        If the run's own accounting is missing or wrong, see :func:`frames_of_files`.
    """
    ranges = frames_of_files(segmentation)
    files = list(ranges)
    found, _ = matching_files(files, str(path))
    if not found:
        raise MissingInputError(
            f"The Suite2p run '{segmentation.source}' did not read '{path}'. It read: {', '.join(shortened(files))}. "
            "Give the path as it was then, or the frames by hand."
        )
    if len(found) > 1:
        places = ", ".join(shortened(["/".join(parts) for parts in found]))
        raise AmbiguousInputError(f"'{path}' fits several recordings of the Suite2p run '{segmentation.source}': {places}.")
    pieces = [ranges[files[index]] for index in next(iter(found.values()))]
    if any(stop != start for (_, stop), (start, _) in zip(pieces, pieces[1:], strict=False)):
        raise AmbiguousInputError(
            f"The files of '{path}' are not next to each other in the Suite2p run '{segmentation.source}', so that they are no "
            "single range of frames. Give the files one by one."
        )
    return pieces[0][0], pieces[-1][1]


def matching_files(files: Sequence[str], path: str) -> tuple[dict[tuple[str, ...], list[int]], int]:
    """Find the recordings of a run that share the most trailing names with a path.

    Returns
    -------
    groups, shared
        For each place, a file or a folder, that shares the most: positions of its files in ``files``. And how many names those
        share; 0 where none does.
    """
    wanted = parts_of(path)
    best = 0
    found: dict[tuple[str, ...], list[int]] = {}
    for index, file in enumerate(files):
        parts = parts_of(file)
        for end in range(1, len(parts) + 1):  # the file itself, or any folder above it
            if not wanted or parts[end - 1] != wanted[-1]:
                continue
            shared = _shared_tail(parts[:end], wanted)
            if shared > best:
                best, found = shared, {}
            if shared == best > 0:
                found.setdefault(parts[:end], []).append(index)
    return found, best


def parts_of(path: str) -> tuple[str, ...]:
    """Return the names that a path is made of, whatever system wrote it."""
    return PurePosixPath(path.replace("\\", "/")).parts


def _shared_tail(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    shared = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        shared += 1
    return shared


def shortened(names: list[str]) -> list[str]:
    """Return a few of many names, for messages."""
    return names if len(names) <= 6 else [*names[:3], "...", *names[-2:]]
