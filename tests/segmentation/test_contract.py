"""The embedded engines keep the contract that third parties are held to."""

from __future__ import annotations

from packerlabimaging.segmentation import EngineJob
from packerlabimaging.testing import EngineContract, make_tiny_job


class TestQuick(EngineContract):
    name = "quick"
    settings = {"diameter_um": 10.0}


class TestMasks(EngineContract):
    name = "masks"

    def make_job(self) -> EngineJob:
        return make_tiny_job(with_rois=True)
