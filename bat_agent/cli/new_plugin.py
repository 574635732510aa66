"""``bat-agent new-plugin NAME --kind KIND``: a package to begin with, whose tests pass."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json
from bat_agent.errors import BadInput
from bat_agent.files.writing import write_text

TEMPLATES = "data/new_plugin"
"""The packages of docs/plugins.md, file by file; a test keeps page and files alike."""


class Kind(str, Enum):
    """What a plugin brings."""

    encoder = "encoder"
    reasoner = "reasoner"
    simulator = "simulator"


@dataclass(frozen=True)
class _Names:
    """How one plugin is called."""

    component: str
    """As users type it: ``ear-levels``."""

    @property
    def module(self) -> str:
        """What Python imports: ``ear_levels``."""
        return self.component.replace("-", "_")

    @property
    def class_name(self) -> str:
        """``EarLevels``"""
        return "".join(part[:1].upper() + part[1:] for part in self.component.split("-"))


_EXAMPLES = {
    Kind.encoder: _Names("ear-levels"),
    Kind.reasoner: _Names("left-or-right"),
    Kind.simulator: _Names("free-field"),
}


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As users will type it, such as ear-levels.")],
    kind: Annotated[Kind, typer.Option(help="What it brings.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the package; NAME in this one unless given.")
    ] = None,
    json: inputs.AsJson = False,
) -> None:
    """Write a package that brings an encoder, a reasoner or a simulator, with tests that pass, to go on from."""
    written = write_package(name, kind, out or Path(name))
    folder = out or Path(name)
    if json:
        print_json({"kind": kind.value, "folder": str(folder), "files": [str(file) for file in written]})
        return
    for file in written:
        print(file)
    print(f"try it:     python -m pytest {folder}")
    print(f"install it: python -m pip install --editable {folder}    (then: bat-agent plugins)")


def package_files(name: str, kind: Kind) -> dict[str, str]:
    """The files of a package, path to text.

    Raises :class:`~bat_agent.errors.BadInput` for a name that is none, or that something else has.
    """
    names, example = _Names(name), _EXAMPLES[kind]
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise BadInput(f"{name!r} cannot be the name of a plugin, expected lower-case words such as ear-levels")
    folder = resources.files("bat_agent").joinpath(TEMPLATES, kind.value)
    texts = {file.name.removesuffix(".txt"): file.read_text(encoding="utf-8") for file in folder.iterdir()}
    if name != example.component:
        if any(re.search(rf"\b{names.class_name}\b", text) for text in texts.values()):
            raise BadInput(
                f"the class of {name!r} would be called {names.class_name}, as one that it uses; choose another"
            )
        if importlib.util.find_spec(names.module) is not None:
            raise BadInput(f"Python knows a package {names.module!r} already; choose another name")
    places = {
        "pyproject.toml": "pyproject.toml",
        "hooks.py": f"{names.module}/hooks.py",
        "config.py": f"{names.module}/config.py",
        f"{kind.value}.py": f"{names.module}/{kind.value}.py",
        "test.py": f"tests/test_{names.module}.py",
    }
    files = {f"{names.module}/__init__.py": ""}
    for file, place in places.items():
        text = texts[file].replace(example.component, name).replace(example.module, names.module)
        files[place] = text.replace(example.class_name, names.class_name)
    return files


def write_package(name: str, kind: Kind, folder: Path) -> list[Path]:
    """Write the package into a new folder; returns its files.

    Raises :class:`~bat_agent.errors.BadInput` as :func:`package_files` does, and where the folder holds something.
    """
    files = package_files(name, kind)
    if folder.exists() and not (folder.is_dir() and _is_begun(folder, files)):
        raise BadInput(f"{folder} is there already; choose another folder with --out, or another name")
    for place, text in files.items():
        write_text(folder / place, text, folder=True)
    return [folder / place for place in files]


def _is_begun(folder: Path, files: dict[str, str]) -> bool:
    """Whether a folder holds nothing, or some of these files and nothing else, as where writing was stopped."""
    there = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".part")]
    ours = {folder / place: text.encode() for place, text in files.items()}
    return len(there) < len(ours) and all(path in ours and path.read_bytes() == ours[path] for path in there)
