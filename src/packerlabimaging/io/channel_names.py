"""Names for recorded channels that have none, or another's: real rigs have both."""

from __future__ import annotations

from collections.abc import Sequence

from packerlabimaging.core.findings import Finding


def distinct_names(recorded: Sequence[str], *, where: str) -> tuple[list[str], list[Finding]]:
    """Name channels that have no name, or that of one before, after their number; a recorded name always means its own channel.

    Parameters
    ----------
    recorded
        Names as recorded, in the order of the channels.
    where
        The file, for the findings.

    Returns
    -------
    names, findings
        Distinct names that are not empty, and a finding ``channel-renamed`` for each that is not the recorded one.
    """
    names: list[str] = []
    findings = []
    for index, own in enumerate(recorded):
        name = own
        while not name or name in names or (name != own and name in recorded):
            name = f"{name or 'channel'}-{index}"
        if name != own:
            message = f"Channel {index} is recorded as '{own}', which is empty or taken; it is called '{name}' here."
            findings.append(Finding("channel-renamed", message, where=where))
        names.append(name)
    return names, findings
