"""``bat-agent plugins``: which encoders, reasoners and simulators are installed, and who ships them."""

from __future__ import annotations

from bat_agent.cli.inputs import AsJson
from bat_agent.cli.output import print_json, print_table


def plugins(json: AsJson = False) -> None:
    """List installed encoders, reasoners and simulators and the package each comes from."""
    from bat_agent.registry import all_components

    found = [
        {
            "kind": kind,
            "name": name,
            "plugin": registered.plugin,
            "distribution": registered.distribution,
            "version": registered.version,
            "summary": registered.component.summary,
        }
        for kind, components in all_components().items()
        for name, registered in components.items()
    ]
    if json:
        print_json(found)
        return
    if not found:
        print("no plugins are installed; install bat-agent again from its repository, it brings the first ones")
        return
    columns = ("kind", "name", "plugin", "distribution", "summary")
    rows = (
        (row["kind"], row["name"], row["plugin"], f"{row['distribution']} {row['version']}", row["summary"])
        for row in found
    )
    print_table("", columns, rows)
