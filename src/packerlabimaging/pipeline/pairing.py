"""Pairing movies with signals and protocols: by place and name, by numbers of pulses, by dates; each pair with its reasons.

Evidence that is hard to get by accident counts first: the same name, then numbers in the names (only where they fit for all),
then numbers of pulses, then dates. A candidate that the pulses contradict is left out. Where that leaves several, none is
chosen: the open choice is told, with what speaks for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packerlabimaging.pipeline.evidence import (
    MovieFacts,
    ProtocolFacts,
    SignalsFacts,
    Support,
    by_frames,
    by_place,
    by_stims,
    by_time,
    fitting_blocks,
    telling_numbers,
)


@dataclass
class Candidate:
    """A recording that may belong to a movie, with what speaks for and against it.

    Parameters
    ----------
    path
        The recording.
    name, number, data, time
        Evidence of each kind; None where there is none.
    options
        Channels proposed by the data: ``frame_clock``, ``stim``.
    blocks
        Blocks of frame pulses in the file that fit the movie.
    problem
        Why it can't be read; empty where it can.
    """

    path: Path
    name: Support | None = None
    number: Support | None = None
    data: Support | None = None
    time: Support | None = None
    options: dict[str, str] = field(default_factory=dict)
    blocks: frozenset[int] = frozenset()
    problem: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """All that was found, in words."""
        number = None if _for(self.name) else self.number  # the whole name holds the number
        told = [support.text for support in (self.name, number, self.data, self.time) if support is not None]
        return (*told, *([f"can't be read: {self.problem.removesuffix('.')}"] if self.problem else []))

    @property
    def contradicted(self) -> bool:
        """True if the pulses are not those of the movie, or nothing can be read."""
        return bool(self.problem) or (self.data is not None and self.data.weight < 0)


@dataclass
class Choice:
    """What was chosen for one input of one movie, and what else there was."""

    chosen: Candidate | None
    others: tuple[Candidate, ...] = ()
    by: str = ""
    doubt: str = ""


def choose(candidates: Sequence[Candidate], *, n_movies: int) -> Choice:
    """Choose the candidate that the evidence singles out, or none."""
    named = [candidate for candidate in candidates if _for(candidate.name)]
    if any(candidate.problem for candidate in named):
        return Choice(None, tuple(candidates))  # the right one is probably there but can't be read: no other takes its place
    viable = [candidate for candidate in candidates if not candidate.contradicted]
    if len(named) == 1 and not (named[0].contradicted and any(_for(candidate.data) for candidate in viable)):
        doubt = "its name fits, but its content does not" if named[0].contradicted else ""
        return Choice(named[0], _without(candidates, named[0]), "name", doubt)
    pool, used = viable, ""
    for kind in ("name", "number", "data", "time"):
        fitting = [candidate for candidate in pool if _for(getattr(candidate, kind))]
        if fitting:
            pool, used = fitting, kind
        if used and len(pool) == 1:
            break
    if len(pool) == 1 and (used or (len(candidates) == 1 and n_movies == 1)):
        best = pool[0]
        rivals = [candidate for candidate in viable if candidate is not best and _for(candidate.data) and not _for(best.data)]
        if used == "number" and rivals:
            return Choice(None, tuple(candidates))
        if not used:
            best.name = Support(1, "is the only one, as is the movie")
        doubt = "only the dates tell it from others" if used == "time" else ""
        return Choice(best, _without(candidates, best), used, doubt)
    return Choice(None, tuple(candidates))


def _for(support: Support | None) -> bool:
    return support is not None and support.weight > 0


def _without(candidates: Sequence[Candidate], chosen: Candidate) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in candidates if candidate is not chosen)


def choose_signals(candidates: Mapping[Path, Sequence[Candidate]]) -> dict[Path, Choice]:
    """Choose the signals of each movie: first where names tell, then where what is left tells.

    A block of frame pulses belongs to one movie: a file whose fitting blocks other movies have by their names is no candidate.
    """
    n_movies = len(candidates)
    choices = {movie: choose(found, n_movies=n_movies) for movie, found in candidates.items()}
    sure = {movie: choice for movie, choice in choices.items() if choice.chosen is not None and choice.by in ("name", "number")}
    for movie in candidates.keys() - sure.keys():
        left = [candidate for candidate in candidates[movie] if not _is_taken(candidate, sure.values())]
        choices[movie] = _unless_common(movie, choose(left, n_movies=n_movies), candidates)
    return choices


def _unless_common(movie: Path, choice: Choice, candidates: Mapping[Path, Sequence[Candidate]]) -> Choice:
    """Leave a choice open where a number of pulses was all that told, and it fits other movies as well."""
    chosen = choice.chosen
    if chosen is None or choice.by != "data" or chosen.data is None:
        return choice
    others = [other for path, found in candidates.items() if path != movie for other in found if other.path == chosen.path]
    if not any(_for(other.data) for other in others):
        return choice
    chosen.data = replace(chosen.data, text=f"{chosen.data.text}, but these fit other movies as well")
    return Choice(None, (chosen, *choice.others))


def _is_taken(candidate: Candidate, sure: Iterable[Choice]) -> bool:
    """Say whether a file is another movie's, with no block of pulses left that would fit this one."""
    owners = [choice.chosen for choice in sure if choice.chosen is not None and choice.chosen.path == candidate.path]
    if not owners:
        return False
    left = set(candidate.blocks)
    for owner in owners:
        own = left & owner.blocks
        left -= own if len(owner.blocks) == 1 else set(list(own)[:1])
    return not left


def signals_candidates(movies: Sequence[MovieFacts], signals: Sequence[SignalsFacts]) -> dict[Path, list[Candidate]]:
    """Return, for each movie, every signals file with its evidence."""
    found = {movie.path: [_signals_candidate(movie, recording) for recording in signals] for movie in movies}
    _add_numbers(found)
    return found


def _signals_candidate(movie: MovieFacts, signals: SignalsFacts) -> Candidate:
    candidate = Candidate(signals.path, name=by_place(movie.path, signals.path), problem=signals.problem)
    clocks = sorted(by_frames(movie, signals), key=lambda found: -found[1].weight)
    if clocks:
        channel, candidate.data = clocks[0]
        if candidate.data.weight >= 0:
            candidate.options["frame_clock"] = channel
            candidate.blocks = frozenset(fitting_blocks(movie, signals, channel))
    candidate.time = by_time(movie, signals)
    return candidate


def protocol_candidates(
    movies: Sequence[MovieFacts], protocols: Sequence[ProtocolFacts], synced: Mapping[Path, tuple[SignalsFacts, Candidate]]
) -> dict[Path, list[Candidate]]:
    """Return, for each movie, every protocol with its evidence, of which the stims are that of the movie's own signals."""
    found = {
        movie.path: [_protocol_candidate(movie, protocol, synced.get(movie.path)) for protocol in protocols] for movie in movies
    }
    _add_numbers(found)
    return found


def _protocol_candidate(movie: MovieFacts, protocol: ProtocolFacts, sync: tuple[SignalsFacts, Candidate] | None) -> Candidate:
    candidate = Candidate(protocol.path, name=by_place(movie.path, protocol.path), problem=protocol.problem)
    if sync is None or protocol.n_pulses is None:
        return candidate
    signals, chosen = sync
    stims = sorted(by_stims(protocol, signals, clock=chosen.options.get("frame_clock")), key=lambda found: -found[1].weight)
    if stims:
        candidate.options["stim"], candidate.data = stims[0]
    else:
        candidate.data = Support(-1, f"no channel of '{signals.path.name}' has pulses for its {protocol.n_pulses} stims")
    return candidate


def _add_numbers(found: Mapping[Path, list[Candidate]]) -> None:
    """Add the evidence of numbers in names, where the two ways of numbering are one.

    Numbers are believed only if all movies or all candidates find a partner by them, and no pulses or dates say otherwise:
    ``t-013`` and ``ps_013`` may well be of different runs, which shows in ``t-013`` to ``t-015`` beside ``ps_014`` to ``ps_016``.
    """
    movies = telling_numbers(found)
    others = telling_numbers(candidate.path for candidates in found.values() for candidate in candidates)
    pairs = {
        (movie, candidate.path): sorted(movies[movie] & others[candidate.path])
        for movie, candidates in found.items()
        for candidate in candidates
        if movies[movie] & others[candidate.path]
    }
    paired_movies, paired_others = {movie for movie, _ in pairs}, {other for _, other in pairs}
    covered = paired_movies == _numbered(movies) or paired_others == _numbered(others)
    by_pair = {(movie, candidate.path): candidate for movie, candidates in found.items() for candidate in candidates}
    denied = [pair for pair in pairs if by_pair[pair].contradicted or _elsewhere(by_pair[pair], found[pair[0]])]
    weight = 1 if covered and not denied else 0
    doubt = "" if weight else ", but the numbers do not fit for all"
    for pair, numbers in pairs.items():
        by_pair[pair].number = Support(weight, f"shares the number {', '.join(numbers)} with the movie's name{doubt}")


def _numbered(numbers: Mapping[Path, set[str]]) -> set[Path]:
    return {path for path, found in numbers.items() if found}


def _elsewhere(candidate: Candidate, all_candidates: Sequence[Candidate]) -> bool:
    """Say whether the dates speak against a candidate and for another one."""
    against = candidate.time is not None and candidate.time.weight < 0
    return against and any(_for(other.time) for other in all_candidates if other is not candidate)
