"""``bat-agent doctor --clean``: temporary files and folders that killed commands left, listed and removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bat_agent.cli.output import print_json, print_table
from bat_agent.errors import BadInput
from bat_agent.files.leftovers import Leftover, leftover_folders, leftovers, remove


def clean_up(folders: Iterable[Path], *, as_json: bool) -> None:
    """Remove what nobody will finish, in and below ``folders`` and in the system's temporary folder, and say so.

    What a process that runs is writing stays, and what another machine has written to within a day. Raises
    :class:`~bat_agent.errors.BadInput` for no such folder, and where something could not be removed.
    """
    found: dict[Path, Leftover] = {left.path: left for left in leftover_folders()}
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"there is no folder {folder} to look in; give one that is there")
        found |= {left.path.absolute(): left for left in leftovers(folder, deep=True)}
    gone = {path: remove(left) for path, left in found.items()}
    if as_json:
        print_json([{"path": str(path), "bytes": left.bytes, "removed": gone[path]} for path, left in found.items()])
    elif found:
        rows = ((str(path), f"{left.bytes / 1e6:,.1f}", "yes" if gone[path] else "no") for path, left in found.items())
        print_table("", ("what killed commands left", "MB", "removed"), rows)
    else:
        print("nothing was left behind")
    if not all(gone.values()):
        stays = next(path for path, removed in gone.items() if not removed)
        raise BadInput(f"cannot remove {stays}; remove it by hand, or change its permissions")
