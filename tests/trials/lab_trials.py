"""Small trial types for the tests of the machinery: steps that compute something trivial from a text file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from packerlabimaging.core.findings import Finding
from packerlabimaging.core.signals import ArrayChannel, Signals
from packerlabimaging.io.readers import Inspection, Reader, register_reader
from packerlabimaging.trials import SignalsInput, Trial

RUNS: list[str] = []
"""Names of the steps that really ran, in order."""


@register_reader
class NumbersReader(Reader):
    """Signals from a text file of numbers, one per line."""

    name = "numbers"
    kind = "signals"
    description = "text file of numbers, *.numbers"

    def detect(self, path):
        return path.suffix == ".numbers"

    def open(self, path, *, factor=1.0):
        values = np.array([float(line) for line in Path(path).read_text().split()]) * factor
        odd = Finding("odd-number", "There is an odd number.", severity="info", where=str(path))
        return Signals([ArrayChannel("numbers", values, rate_hz=1.0)], source=str(path), findings=[odd])

    def inspect(self, path):
        return Inspection(str(path), self.name, self.kind, {"n": len(Path(path).read_text().split())})


@dataclass(frozen=True)
class ScaleSettings:
    factor: float = 2.0
    names: tuple[str, ...] = ()


class NumbersTrial(Trial):
    """Sums numbers, then scales the sum."""

    steps: ClassVar[tuple[str, ...]] = ("total", "scaled")
    sections: ClassVar[dict[str, type]] = {"scale": ScaleSettings}

    numbers = SignalsInput(help="the numbers")
    extra = SignalsInput()
    offset: int = 0

    def make_total(self):
        RUNS.append(f"{self.id}.total")
        return {"total": float(self.numbers["numbers"].read().sum()) + self.offset}

    def make_scaled(self):
        RUNS.append(f"{self.id}.scaled")
        return np.array([self.result("total")["total"] * self.settings["scale"].factor])


class RememberingTrial(NumbersTrial):
    """Overrides a hook, adds a field, an optional input and a step."""

    steps: ClassVar[tuple[str, ...]] = (*NumbersTrial.steps, "note")
    note: str = "none"

    def make_total(self):
        found = super().make_total()
        return {**found, "has_extra": self.has_input("extra")}

    def make_note(self):
        RUNS.append(f"{self.id}.note")
        return [self.note, float(self.result("scaled")[0])]
