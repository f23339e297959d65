"""The contract test of a trial type: subclass :class:`TrialContract` and say how one is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from packerlabimaging.errors import ConfigError
from packerlabimaging.trials import Experiment, ExperimentConfig, Trial
from packerlabimaging.trials.trial import trial_types, type_key


class TrialContract:
    """Tests that every trial type passes.

    Subclass it and write ``make_trial``; pytest collects the subclass. Where running takes an engine, set ``run_options``.
    """

    run_options: dict[str, Any] = {"engine": "quick"}  # noqa: RUF012 - replaced, never changed

    def make_trial(self, folder: Path) -> Trial:
        """Return a new trial; its small raw data may be written to ``folder``."""
        raise NotImplementedError

    @pytest.fixture
    def experiment(self, tmp_path: Path) -> Experiment:
        """An experiment with the trial alone; nothing has run."""
        raw = tmp_path / "raw"
        raw.mkdir()
        return Experiment("contract", output=tmp_path / "results").add(self.make_trial(raw))

    def test_is_found_by_its_name(self, experiment: Experiment) -> None:
        trial = next(iter(experiment))
        assert trial_types.get(type_key(type(trial))) is type(trial)

    def test_making_one_writes_nothing(self, experiment: Experiment) -> None:
        assert not experiment.output.exists()
        assert type(next(iter(experiment))).__name__ in repr(experiment)

    def test_a_mistyped_name_is_refused_with_the_choices(self, experiment: Experiment) -> None:
        cls = type(next(iter(experiment)))
        wrong: list[dict[str, Any]] = [
            {"no_such_field": 1},
            {"inputs": {"no_such_input": "x"}},
            {"settings": {"no_such_section": {}}},
        ]
        for given in wrong:
            with pytest.raises(ConfigError, match="no_such"):
                cls("t", **given)

    def test_its_description_makes_the_same_trial(self, experiment: Experiment) -> None:
        values = experiment.config.to_dict(base=experiment.output)
        again = ExperimentConfig.from_dict(values, base=experiment.output, source="its own description")
        assert again.to_dict(base=experiment.output) == values

    def test_runs_once_and_then_not_again(self, experiment: Experiment) -> None:
        trial = next(iter(experiment))
        experiment.run(**self.run_options, progress=False)
        assert {status.state for status in experiment.status()} == {"done"}
        tokens = {step: receipt["token"] for step, receipt in trial.receipts.items()}
        assert set(tokens) == set(trial.steps)
        experiment.run(progress=False)
        assert {step: receipt["token"] for step, receipt in trial.receipts.items()} == tokens
        loaded = next(iter(Experiment.load(experiment.output)))
        assert all(loaded.result(step) is not None for step in loaded.steps)
