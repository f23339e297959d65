"""Every built-in trial type passes the one contract."""

from __future__ import annotations

import packerlabimaging as pli
from packerlabimaging.testing import TrialContract


class TestTwoPhotonImagingTrial(TrialContract):
    def make_trial(self, folder):
        pli.simulate_experiment(folder / "simulated", size="tiny", seed=4, n_frames=300)
        return pli.TwoPhotonImagingTrial("t-001", inputs={"movie": folder / "simulated" / "raw" / "t-001"}, comment="no sync")


class TestAllOpticalTrial(TrialContract):
    run_options = {"engine": "masks", "rois": "targets"}

    def make_trial(self, folder):
        simulated = folder / "simulated"
        pli.simulate_experiment(simulated, size="tiny", seed=4)
        inputs = {
            "movie": simulated / "raw" / "t-001",
            "sync": simulated / "raw" / "t-001.paq",
            "photostim": next(simulated.glob("raw/*_ps_*")),
        }
        return pli.AllOpticalTrial("t-001", inputs=inputs, settings={"responses": {"preset": "packerlab"}})
