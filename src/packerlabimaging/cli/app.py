"""Commands of ``pli``. They are thin: options in, one call into the package, text or JSON out.

Errors that the package raises on purpose become one message on stderr and exit status 2, without a traceback; ``--debug``
shows it. Anything heavy is imported inside the commands, so that ``pli --help`` is quick.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from packerlabimaging._memory import share_freed_memory
from packerlabimaging.errors import PackerLabImagingError, ParameterError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From the rig's raw files of an imaging+ experiment to results.",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to stdout instead of text.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the simulation; the same seed gives the same files.")]
SizeOption = Annotated[
    str, typer.Option(help="Size of the simulation: tiny, standard, or HEIGHTxWIDTHxFRAMES such as 128x128x3000.")
]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="Python file that defines readers, engines or trial types of your own; repeatable."),
]


def main(arguments: list[str] | None = None) -> None:
    """Run ``pli``: the entry point of the command."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name that the terminal can't show is no reason to fail
    share_freed_memory()
    try:
        app(args=arguments, prog_name="pli")
    except (PackerLabImagingError, OSError) as error:  # OSError: the disk is full, gone, read-only ...
        if debug:
            raise
        typer.echo(f"pli: {_message(error)}", err=True)
        raise SystemExit(2) from None


def _message(error: Exception) -> str:
    told = str(error)
    if isinstance(error, PermissionError) and error.filename is not None:
        told = f"'{error.filename}' can't be used without rights to it ({error.strerror}). Mend its rights, or copy it."
    return "\n".join([told, *getattr(error, "__notes__", [])])


def _version(shown: bool) -> None:
    if shown:
        from importlib.metadata import version

        typer.echo(f"packerlabimaging {version('packerlabimaging')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors (anywhere on the line).")] = False,
) -> None:
    """From the rig's raw files of an imaging+ experiment to results."""


def _load_plugins(files: list[Path] | None) -> None:
    from packerlabimaging.cli.plugins import load_plugin

    for file in files or ():
        load_plugin(file)


def _simulation_size(size: str) -> tuple[str, dict[str, Any]]:
    """Split ``--size`` into a named size and overrides of its parameters."""
    if size in ("tiny", "standard"):
        return size, {}
    parts = size.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise ParameterError(f"--size {size} is not a size. Give tiny, standard, or HEIGHTxWIDTHxFRAMES such as 128x128x3000.")
    height, width, n_frames = (int(part) for part in parts)
    return "standard", {"frame_shape_px": (height, width), "n_frames": n_frames}


@app.command()
def demo(
    out: Annotated[Path | None, typer.Argument(help="New folder for everything; by default pli-demo, pli-demo-2, ...")] = None,
    engine: Annotated[str, typer.Option(help="Segmentation engine: quick or suite2p.")] = "quick",
    seed: SeedOption = 1,
    size: SizeOption = "standard",
    json: JsonOption = False,
) -> None:
    """Simulate an all-optical experiment, analyse it, report, and compare with the truth."""
    from packerlabimaging.cli import text
    from packerlabimaging.pipeline import run_demo

    folder = _new_folder() if out is None else out
    name, overrides = _simulation_size(size)
    comparison = run_demo(folder, engine=engine, seed=seed, size=name, progress=not json, **overrides)
    if json:
        text.print_json(comparison)
    else:
        text.print_comparison(comparison, folder)


def _new_folder() -> Path:
    number = 1
    while (folder := Path("pli-demo" if number == 1 else f"pli-demo-{number}")).exists():
        number += 1
    return folder


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="New folder; gets raw/, truth/ and experiment.toml.")],
    size: SizeOption = "standard",
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Write a simulated all-optical experiment as the rig would, with its truth."""
    from packerlabimaging.cli import text
    from packerlabimaging.simulate import simulate_experiment

    name, overrides = _simulation_size(size)
    simulate_experiment(out, size=name, seed=seed, progress=not json, **overrides)
    if json:
        text.print_json({"folder": str(out), "experiment": str(out / "experiment.toml"), "seed": seed, "size": size})
    else:
        typer.echo(f"Wrote {out}. Next: pli run {out / 'experiment.toml'}")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Any file or folder of raw data or results.")],
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every fact, finding and file.")] = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a file or folder is, what can be read of it, and what looks wrong. Reads headers only."""
    from packerlabimaging.cli import text
    from packerlabimaging.pipeline.inspection import inspect_all

    _load_plugins(plugin)
    inspections = inspect_all(path)
    if json:
        text.print_json([text.inspection_to_dict(inspection) for inspection in inspections])
    else:
        text.print_inspections(inspections, path, verbose=verbose)


@app.command()
def init(
    raw_folder: Annotated[Path, typer.Argument(help="Folder of raw data; it is only read.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The experiment file to write.")] = Path("experiment.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: JsonOption = False,
) -> None:
    """Find movies, signals and protocols, pair them, and draft a commented experiment file."""
    from packerlabimaging.cli import text
    from packerlabimaging.pipeline import draft_experiment

    draft = draft_experiment(raw_folder, path=output, overwrite=force, progress=not json)
    if json:
        text.print_json(text.draft_to_dict(draft))
    else:
        text.print_draft(draft)


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="The experiment file, experiment.toml.")],
    engine: Annotated[str | None, typer.Option(help="Segmentation engine, where it differs from the file's.")] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Run every step that is missing or stale, and write the report."""
    from packerlabimaging.cli import text
    from packerlabimaging.report import report as write_report
    from packerlabimaging.trials import Experiment

    _load_plugins(plugin)
    loaded = Experiment.from_toml(experiment).run(engine=engine, progress=not json)
    path = write_report(loaded, progress=not json)
    if json:
        results = text.results_to_dict(loaded)
        text.print_json({**text.status_to_dict(loaded), "results": results, "report": str(path)})
    else:
        text.print_status(loaded)
        text.print_results(loaded)
        typer.echo(f"Report: {path}")


@app.command()
def status(
    experiment: Annotated[Path, typer.Argument(help="An experiment file, or a results folder.")],
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Show which steps are done, stale (and why) or missing."""
    from packerlabimaging.cli import text

    _load_plugins(plugin)
    loaded = _load(experiment)
    if json:
        text.print_json(text.status_to_dict(loaded))
    else:
        text.print_status(loaded)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A results folder, or an experiment file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page to write; by default report.html in the results.")
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Write the HTML report of stored results."""
    from packerlabimaging.cli import text
    from packerlabimaging.report import report as write_report

    _load_plugins(plugin)
    path = write_report(_load(folder), path=output, progress=not json)
    if json:
        text.print_json({"report": str(path)})
    else:
        typer.echo(f"Report: {path}")


@app.command()
def sta(
    source: Annotated[Path, typer.Argument(help="An experiment file or results folder; or a movie, with --sync and --out.")],
    trial: Annotated[
        list[str] | None, typer.Option(help="Trial of the experiment; repeatable. All with stims by default.")
    ] = None,
    sync: Annotated[Path | None, typer.Option(help="Signals with frame clock and stims, where the source is a movie.")] = None,
    frame_clock: Annotated[str, typer.Option(help="Channel of the frame clock.")] = "frame_clock",
    stim: Annotated[str, typer.Option(help="Channel of the stims' pulses.")] = "markpoints2packio",
    plane: Annotated[list[int] | None, typer.Option(help="Zero-based plane of the movie; repeatable.")] = None,
    channel: Annotated[str | None, typer.Option(help="Channel of the movie, where there are several.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write to; by default sta/ in the results.")] = None,
    kinds: Annotated[str, typer.Option(help="all: one average; group: one for each group of targets.")] = "all",
    order: Annotated[Path | None, typer.Option(help="File with the kind of each stim: text, .npy or .mat.")] = None,
    every: Annotated[int | None, typer.Option(help="Number of kinds that repeat in turn: 1, 2, ..., N, 1, 2, ...")] = None,
    first: Annotated[int, typer.Option(help="One-based number of the first stim that counts.")] = 1,
    between: Annotated[
        tuple[float, float] | None, typer.Option(help="Only stims between these times of the signals, seconds.")
    ] = None,
    pre: Annotated[float, typer.Option(help="Seconds before the onset.")] = 0.75,
    post: Annotated[float, typer.Option(help="Seconds after the onset.")] = 1.25,
    average: Annotated[tuple[float, float], typer.Option(help="Response period after the onset, seconds.")] = (0.5, 1.5),
    method: Annotated[str, typer.Option(help="df, dff or z.")] = "dff",
    threshold: Annotated[float | None, typer.Option(help="Images show smaller responses as 0.")] = None,
    keep_artefacts: Annotated[bool, typer.Option("--keep-artefacts", help="Average frames with stimulation light too.")] = False,
    single_stims: Annotated[bool, typer.Option("--single-stims", help="Write the frames of every stim too.")] = False,
    mp4: Annotated[bool, typer.Option("--mp4", help="Write videos too.")] = False,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Average movies around stims (STA): TIFF movies and images, as STAMovieMaker names them."""
    from packerlabimaging.analysis import StaSettings
    from packerlabimaging.cli import text
    from packerlabimaging.pipeline import StaOptions, read_stim_order, sta_of_experiment, sta_of_files
    from packerlabimaging.pipeline.discovery import is_results_folder

    _load_plugins(plugin)
    if order is not None and every is not None:
        raise ParameterError("Give either --order or --every, not both.")
    options = StaOptions(
        kinds=read_stim_order(order) if order is not None else kinds if every is None else every,
        first_stim=first,
        between_s=between,
        settings=StaSettings(pre_s=pre, post_s=post, average_start_s=average[0], average_stop_s=average[1]),
        artefacts="keep" if keep_artefacts else "nan",
        method=method,
        threshold=threshold,
        single_stims=single_stims,
        mp4=mp4,
    )
    if sync is not None:
        if out is None:
            raise ParameterError("Averages of a movie need a folder to be written to. Give it: --out FOLDER.")
        channels = {"frame_clock": frame_clock, "stim": stim, "planes": plane or (), "channel": channel}
        made = sta_of_files(source, sync, out, options=options, progress=not json, **channels)
    else:
        if source.exists() and source.suffix != ".toml" and not is_results_folder(source):
            raise ParameterError(
                f"'{source}' is no experiment file and no results folder. "
                "For a movie, give its signals too: --sync FILE --out FOLDER."
            )
        made = sta_of_experiment(_load(source), trials=trial or (), folder=out, options=options, progress=not json)
    text.print_sta(made, as_json=json)


def _load(path: Path) -> Any:
    from packerlabimaging.trials import Experiment

    return Experiment.load(path) if path.is_dir() else Experiment.from_toml(path)
