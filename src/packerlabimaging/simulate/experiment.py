"""Simulate a whole all-optical experiment into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packerlabimaging._check import check_positive
from packerlabimaging._progress import ProgressOption, progress_bar
from packerlabimaging.errors import StoreError
from packerlabimaging.simulate.movie import SimulatedRecording
from packerlabimaging.simulate.parameters import SimulationParameters
from packerlabimaging.simulate.rig import movie_writer, program_times_s, write_experiment_file, write_photostim, write_signals
from packerlabimaging.simulate.truth_writer import TraceFile, write_truth


def simulate_experiment(
    folder: str | Path,
    *,
    size: str = "standard",
    seed: int = 0,
    progress: ProgressOption = None,
    workers: int = 2,
    **overrides: Any,
) -> Path:
    """Simulate an all-optical experiment and write it as the rig would, with its truth.

    Parameters
    ----------
    folder
        A new or empty folder. It gets ``raw/`` (PrairieView t-series, ``.paq`` file, NAPARM folder), ``experiment.toml``
        and ``truth/``, whose README documents every table.
    size
        ``"standard"`` (512 x 512, 3,000 frames, 160 cells, 36 targets, 20 stims) or ``"tiny"``.
    seed
        The same seed gives the same experiment, whatever the number of workers.
    progress
        True shows a bar; a function is called with ``(frames done, frames in all)``.
    workers
        Threads that make frames.
    overrides
        Any of :class:`SimulationParameters`; see :meth:`SimulationParameters.of_size` for counts that follow.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ParameterError
        If a parameter is unknown, out of range, or does not fit the others.
    StoreError
        If the folder is not empty.

    Notes
    -----
    Memory does not depend on the number of frames: a few blocks of frames are in memory at a time.

    Examples
    --------
    >>> import tempfile
    >>> folder = simulate_experiment(tempfile.mkdtemp(), size="tiny", seed=1)
    >>> sorted(path.name for path in folder.iterdir())
    ['experiment.toml', 'raw', 'truth']
    """
    folder = Path(folder)
    check_positive("workers", workers)
    parameters = SimulationParameters.of_size(size, seed=seed, **overrides)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"'{folder}' exists and is not empty. Give a new folder; nothing is overwritten.")
    recording = SimulatedRecording.make(parameters)
    raw, truth = folder / "raw", folder / "truth"
    for path in (raw, truth):
        path.mkdir(parents=True)
    photostim = f"{parameters.experiment_id}_ps_001"
    write_photostim(raw / photostim, recording)
    write_signals(raw / f"{parameters.trial}.paq", recording)
    write_experiment_file(folder / "experiment.toml", parameters, photostim=photostim)
    shape = (parameters.n_cells, parameters.n_frames)
    traces = TraceFile(truth / "traces.npy", shape=shape, quiet=~recording.artefact_frames)
    with (
        progress_bar(progress, "Simulating") as report,
        movie_writer(raw / parameters.trial, parameters) as movie,
        traces,
    ):
        for block in recording.blocks(int(workers)):
            stop = block.start + len(block.frames)
            movie.write(block.frames, program_times_s(parameters, block.start, stop))
            traces.write(block)
            report(stop, parameters.n_frames)
    write_truth(truth, recording, sd_dff=traces.sd_dff)
    return folder
