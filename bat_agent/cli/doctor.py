"""``bat-agent doctor``: is everything here that is needed, and what to do about what is not."""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli.inputs import DEFAULT_MODEL, AsJson
from bat_agent.cli.output import print_json, print_table
from bat_agent.errors import BadInput
from bat_agent.extras import DISTRIBUTION, EXTRAS, LITE_DISTRIBUTION, how_to_install, installed, is_lite
from bat_agent.sound.torchaudio_parts import FAILURES, torchaudio_for

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from bat_agent.registry import Kind

REINSTALL = "install it again from its repository (make install)"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    """What was looked at."""
    ok: bool
    """Whether it is as it should be."""
    detail: str
    """What was found."""
    fix: str = ""
    """What to do where it is not."""
    required: bool = True
    """Whether the agent works without it."""


Habitat = Annotated[
    bool, typer.Option("--habitat", help="Also open a small house in the habitat-sim that is installed, and listen.")
]


Clean = Annotated[
    bool, typer.Option("--clean", help="Instead, list and remove temporary files that killed commands left behind.")
]
Below = Annotated[
    list[Path] | None,
    typer.Option("--in", metavar="FOLDER", help="With --clean, look in and below it; default: where you are."),
]


def doctor(habitat: Habitat = False, clean: Clean = False, below: Below = None, json: AsJson = False) -> None:
    """Check the installation and say what to do about what is missing."""
    if below and not clean:
        raise BadInput("--in says where --clean looks: give --clean, too")
    if clean:
        from bat_agent.cli.clean import clean_up

        clean_up(below or [Path()], as_json=json)
        return
    by_torch = [torch(), *torchaudio(), devices(), threads()]
    checks = [
        python(),
        *distributions(),
        dependencies(),
        *([onnxruntime()] if is_lite() else by_torch),
        audio_files(),
        plugins(),
        *components(),
        model(),
        *extras(),
        *(tried("simulator", "habitat") if habitat else ()),
    ]
    failed = [check.name for check in checks if check.required and not check.ok]
    if json:
        print_json({"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        rows = ((_mark(check), check.name, check.detail, "" if check.ok else check.fix) for check in checks)
        print_table("", ("", "what", "found", "what to do"), rows)
        print(f"not in order: {', '.join(failed)}" if failed else "everything required is in order")
    raise typer.Exit(1 if failed else 0)


def python() -> Check:
    """Whether this Python is one the distribution was made for."""
    from packaging.specifiers import SpecifierSet

    wanted = _requires_python()
    return Check(
        "python", platform.python_version() in SpecifierSet(wanted), f"{platform.python_version()} on "
        f"{platform.system()} {platform.machine()}", f"install Python {wanted}",
    )  # fmt: skip


def distributions() -> list[Check]:
    """That not both are installed: each would overwrite files of the other, and take them along when it goes."""
    if len(installed()) < 2:
        return []
    detail = f"{' and '.join(installed())} are both installed, and are the same packages"
    fix = f"uninstall both, then install {DISTRIBUTION}, or {LITE_DISTRIBUTION} where there shall be no torch"
    return [Check("distributions", False, detail, fix)]


def onnxruntime() -> Check:
    """Whether ONNX Runtime loads, and what it computes on."""
    try:
        module = importlib.import_module("onnxruntime")
    except (ImportError, OSError) as error:
        return Check("onnxruntime", False, f"import fails: {_line(error)}", "run pip install onnxruntime")
    return Check(
        "onnxruntime", True, f"onnxruntime {module.__version__}: {', '.join(module.get_available_providers())}"
    )


def dependencies() -> Check:
    """Whether every required distribution is installed in a version that fits."""
    try:
        wanted = _requirements()
    except metadata.PackageNotFoundError:
        found = f"{_ours()} runs from source without being installed"
        return Check("dependencies", False, found, "install it from its repository (make install)")
    wrong = _unmet(wanted)
    detail = f"needs {'; '.join(wrong)}" if wrong else f"{len(wanted)} of {len(wanted)} fit"
    return Check("dependencies", not wrong, detail, REINSTALL)


def torch() -> Check:
    """Whether torch loads."""
    try:
        version = importlib.import_module("torch").__version__
    except FAILURES as error:
        return Check("torch", False, f"import fails: {_line(error)}", REINSTALL)
    return Check("torch", True, f"torch {version}")


def torchaudio() -> list[Check]:
    """Whether torchaudio, if it is installed, loads beside this torch; what little needs it, its extra says."""
    beside, version = _version("torch"), _version("torchaudio")
    if beside is None or version is None:
        return []
    fix = f"pip install --no-deps torchaudio=={torchaudio_for(beside)}"
    try:
        importlib.import_module("torchaudio")
    except FAILURES as error:
        detail = f"torchaudio {version} does not load beside torch {beside} ({_line(error)}): no encoder audiomae"
        return [Check("torchaudio", False, detail, fix, required=False)]
    return [Check("torchaudio", True, f"torchaudio {version} beside torch {beside}", required=False)]


def extras() -> list[Check]:
    """Which extras are installed, and what each of the others would give."""
    try:
        declared = metadata.metadata(_ours()).get_all("Provides-Extra") or []
        return [_extra(name, extra.gives) for name, extra in EXTRAS.items() if name in declared]
    except metadata.PackageNotFoundError:  # the check of dependencies says so
        return []


def _extra(name: str, gives: str) -> Check:
    lacking = _unmet(_requirements(name))
    detail = f"for {gives}; lacks {', '.join(lacking)}" if lacking else f"for {gives}"
    return Check(f"extra {name}", not lacking, detail, how_to_install(name), required=False)


def devices() -> Check:
    """Where the models can run; the processor always counts."""
    try:
        import torch
    except (ImportError, OSError):
        return Check("devices", False, "torch does not load", "see torch")
    found = ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return Check("devices", True, ", ".join(found))


def threads() -> Check:
    """How many threads torch uses: more than there are cores makes everything slower."""
    try:
        import torch
    except (ImportError, OSError):
        return Check("threads", False, "torch does not load", "see torch")
    used, cores = torch.get_num_threads(), _cores()
    detail = f"torch uses {used} of {cores} cores"
    return Check("threads", used <= cores, detail, f"set OMP_NUM_THREADS={cores}", required=False)


def audio_files() -> Check:
    """Whether libsndfile loads, and which of the usual formats it reads."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        return Check("audio files", False, f"soundfile fails to load: {error}", "pip install --upgrade soundfile")
    have = soundfile.available_formats()
    readable = [name for name in ("WAV", "FLAC", "OGG", "MP3") if name in have]
    detail = f"{', '.join(readable)} by libsndfile {soundfile.__libsndfile_version__}"
    return Check("audio files", "WAV" in have, detail, "pip install --upgrade soundfile")


def plugins() -> Check:
    """Whether every plugin loads and there is one of each kind."""
    from bat_agent.errors import PluginError
    from bat_agent.registry import all_components

    try:
        found = all_components()
    except PluginError as error:
        what, _, todo = str(error).rpartition("; ")  # the last clause of such an error says what to do
        return Check("plugins", False, what or todo, todo if what else "fix or uninstall that plugin")
    detail = "; ".join(f"{kind}s: {', '.join(names) or 'none'}" for kind, names in found.items())
    needed = ("reasoner",) if is_lite() else tuple(found)
    return Check("plugins", all(names for kind, names in found.items() if kind in needed), detail, REINSTALL)


def components() -> list[Check]:
    """What components with needs of their own say of them; nobody must have those."""
    from bat_agent.errors import PluginError
    from bat_agent.registry import all_components, missing

    checks = []
    try:
        for kind, found in all_components().items():
            for name in (name for name, registered in found.items() if registered.component.check):
                detail, fix = missing(kind, name) or ("", "")
                checks.append(Check(f"{kind} {name}", not detail, detail or "can run here", fix, required=False))
    except PluginError:  # the check of plugins says which
        return checks
    return checks


def tried(kind: Kind, name: str) -> list[Check]:
    """What the trial of a component says of it; who asks for that needs it."""
    from bat_agent.errors import PluginError
    from bat_agent.registry import trial

    try:
        return [Check(f"{name}: {what}", ok, found, todo) for what, ok, found, todo in trial(kind, name)]
    except PluginError as error:
        return [Check(name, False, str(error), REINSTALL)]


def model() -> Check:
    """Whether the model that is loaded by default came with the package."""
    folder = Path(str(resources.files("bat_agent"))) / "models" / DEFAULT_MODEL
    needed = (
        ("graph.json", "frames.onnx", "masks.onnx", "int8.onnx")
        if is_lite()
        else tuple(f"{p}/model.safetensors" for p in ("encoder", "reasoner"))
    )
    parts = [folder / name for name in ("config.json", *needed)]
    missing = [str(part.relative_to(folder)) for part in parts if not part.is_file()]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    detail = f"{folder} lacks {', '.join(missing)}" if missing else f"{size / 1e6:.1f} MB in {folder}"
    fix = f"{REINSTALL}, or name another model with --model"
    return Check(f"model {DEFAULT_MODEL}", not missing, detail, fix)


def _mark(check: Check) -> str:
    return "✓" if check.ok else "✗" if check.required else "–"


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _requirements(extra: str = "") -> list[Requirement]:
    """What we declare for this machine: the base, or what one extra adds to it."""
    from packaging.requirements import Requirement

    declared = [Requirement(text) for text in metadata.requires(_ours()) or []]
    base = [r for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return base
    return [r for r in declared if r not in base and r.marker and r.marker.evaluate({"extra": extra})]


def _unmet(requirements: list[Requirement]) -> list[str]:
    return [
        f"{r.name}{r.specifier} (found {_version(r.name) or 'none'})"
        for r in requirements
        if not _fits(r.name, str(r.specifier))
    ]


def _ours() -> str:
    return LITE_DISTRIBUTION if is_lite() else DISTRIBUTION


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _fits(distribution: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    version = _version(distribution)
    return version is not None and SpecifierSet(specifier).contains(version, prereleases=True)


def _requires_python() -> str:
    try:
        return metadata.metadata(_ours())["Requires-Python"]
    except metadata.PackageNotFoundError:
        return ">=3.10"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
