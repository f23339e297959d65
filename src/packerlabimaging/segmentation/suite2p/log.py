"""Suite2p's messages: into a log file, and from there into progress."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from packerlabimaging._progress import Progress
from packerlabimaging.segmentation.suite2p.program import captured_loggers

LOG_FILE = "suite2p.log"
TOTAL = 1000
"""Progress is told in thousandths."""

_STAGES = (
    ("----------- REGISTRATION", 45, 120),
    ("Reference image", 120, 900),
    ("----------- ROI DETECTION", 900, 910),
    ("Binning movie", 910, 925),
    ("Binned movie", 925, 945),
    ("----------- EXTRACTION", 950, 955),
    ("Extracting fluorescence", 955, 985),
    ("----------- SPIKE DECONVOLUTION", 985, 990),
    ("----------- ROI CLASSIFICATION", 990, 995),
)
"""Start of a message, and the thousandths of a run at which it comes and at which its loop ends.

From runs of Suite2p 1.1 on a processor: 512 x 512, 3,000 frames.
"""

_BAR = re.compile(r"\b(\d+)/(\d+) \[")
_N_ROIS = re.compile(r"ROIs: (\d+),")


class ProgressHandler(logging.Handler):
    """Tell progress from what Suite2p logs; never backwards."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress
        self._start, self._end, self._done = 0, 0, 0

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        place = self._place(message)
        if place > self._done:
            self._done = place
            self._progress(place, TOTAL)

    def _place(self, message: str) -> int:
        for beginning, start, end in _STAGES:
            if message.startswith(beginning):
                self._start, self._end = start, end
                return start
        bar, rois = _BAR.search(message), _N_ROIS.match(message)
        if bar and int(bar[2]):
            return self._start + (self._end - self._start) * int(bar[1]) // int(bar[2])
        if rois:  # told every thousand; how many there will be nobody knows
            return self._start + (self._end - self._start) * int(rois[1]) // (int(rois[1]) + 1000)
        return self._done


@contextmanager
def logged(folder: Path, progress: Progress) -> Iterator[None]:
    """Write messages, prints and warnings of Suite2p to the log file of a run, and tell its progress."""
    with open(folder / LOG_FILE, "a", encoding="utf-8", buffering=1) as file, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        stream = logging.StreamHandler(file)
        stream.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        try:
            with captured_loggers(stream, ProgressHandler(progress)), redirect_stdout(file):
                yield
        finally:
            for warning in warned:
                file.write(f"{warning.category.__name__}: {warning.message} ({warning.filename}:{warning.lineno})\n")
