"""``bat-agent doctor``: is everything here that is needed, and what would install the rest."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import typer

from bat_agent.cli.inputs import DEFAULT_MODEL, AsJson
from bat_agent.cli.output import print_json, print_table

DISTRIBUTION = "bat-agent"

OPTIONAL = (
    # module, distribution, what it is good for
    ("sounddevice", "sounddevice", "live microphone"),
    ("starlette", "starlette", "web view of the live microphone"),
    ("uvicorn", "uvicorn", "web view of the live microphone"),
    ("ray", "ray", "rendering and evaluation on many machines"),
    ("rlr_audio_propagation", "rlr-audio-propagation", "SoundSpaces engine on room meshes"),
    ("trimesh", "trimesh", "reading room meshes"),
    ("habitat", "habitat-lab", "Habitat environments"),
    ("habitat_sim", "habitat-sim", "Habitat simulator"),
    ("peft", "peft", "LoRA adapters of large language models"),
    ("wandb", "wandb", "logging runs to Weights & Biases"),
)


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


def doctor(json: AsJson = False) -> None:
    """Check the installation; exit code 1 where something required is wrong."""
    checks = [
        python(), dependencies(), torch_pair(), devices(), threads(), audio_files(), plugins(), model(), *optional(),
    ]  # fmt: skip
    healthy = all(check.ok for check in checks if check.required)
    if json:
        print_json({"ok": healthy, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        rows = ((_mark(check), check.name, check.detail, "" if check.ok else check.fix) for check in checks)
        print_table("", ("", "what", "found", "what to do"), rows)
        print("everything required is in order" if healthy else "something required is wrong: see the lines marked ✗")
    raise typer.Exit(0 if healthy else 1)


def python() -> Check:
    """Whether this Python is one the distribution was made for."""
    from packaging.specifiers import SpecifierSet

    wanted = _requires_python()
    return Check(
        "python", platform.python_version() in SpecifierSet(wanted), f"{platform.python_version()} on "
        f"{platform.system()} {platform.machine()}", f"install Python {wanted}",
    )  # fmt: skip


def dependencies() -> Check:
    """Whether every required distribution is installed in a version that fits."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        fix = "install it with pip, e.g. pip install -e . in its folder"
        return Check("dependencies", False, f"{DISTRIBUTION} runs from source without being installed", fix)
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    wrong = [f"{r} (found {_version(r.name) or 'none'})" for r in wanted if not _fits(r.name, str(r.specifier))]
    detail = f"needs {'; '.join(wrong)}" if wrong else f"{len(wanted)} of {len(wanted)} fit"
    return Check("dependencies", not wrong, detail, f"pip install --upgrade {DISTRIBUTION}")


def torch_pair() -> Check:
    """Whether torch and torchaudio load and are of the same minor version."""
    fix = "install the pair together: pip install 'torch==2.11.*' 'torchaudio==2.11.*'"
    try:
        import torch
        import torchaudio
    except (ImportError, OSError) as error:
        return Check("torch and torchaudio", False, f"import fails: {error}", fix)
    pair = (torch.__version__, torchaudio.__version__)
    same = pair[0].split(".")[:2] == pair[1].split(".")[:2]
    return Check("torch and torchaudio", same, f"torch {pair[0]}, torchaudio {pair[1]}", fix)


def devices() -> Check:
    """Where the models can run; the processor always counts."""
    try:
        import torch
    except (ImportError, OSError):
        return Check("devices", False, "torch does not load", "see above")
    found = ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return Check("devices", True, ", ".join(found))


def threads() -> Check:
    """How many threads torch uses: more than there are cores makes everything slower."""
    try:
        import torch
    except (ImportError, OSError):
        return Check("threads", False, "torch does not load", "see above")
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
        return Check("plugins", False, str(error), "as said")
    detail = "; ".join(f"{kind}s: {', '.join(names) or 'none'}" for kind, names in found.items())
    return Check("plugins", all(found.values()), detail, f"pip install --force-reinstall {DISTRIBUTION}")


def model() -> Check:
    """Whether the model that is loaded by default came with the package."""
    from bat_agent.checkpoint import WEIGHTS_FILE

    folder = Path(str(resources.files("bat_agent"))) / "models" / DEFAULT_MODEL
    parts = [folder / "config.json", *(folder / part / WEIGHTS_FILE for part in ("encoder", "reasoner"))]
    missing = [str(part.relative_to(folder)) for part in parts if not part.is_file()]
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    detail = f"{folder} lacks {', '.join(missing)}" if missing else f"{size / 1e6:.1f} MB in {folder}"
    fix = f"pip install --force-reinstall {DISTRIBUTION}, or name another model with --model"
    return Check(f"model {DEFAULT_MODEL}", not missing, detail, fix)


def optional() -> Iterator[Check]:
    """What is not needed, but adds something; nothing here is imported but the microphone, which may lack a library."""
    extras = _extra_by_distribution()
    for module, distribution, purpose in OPTIONAL:
        there = importlib.util.find_spec(module) is not None
        wanted = f"{DISTRIBUTION}[{extras[distribution]}]" if distribution in extras else distribution
        fix = f"pip install '{wanted}'"
        detail = _version(distribution) or "installed" if there else f"not installed ({purpose})"
        if there and module == "sounddevice" and (problem := _microphone_problem()):
            there, detail, fix = False, problem, "install PortAudio, e.g. apt install libportaudio2"
        if module == "habitat_sim":
            fix = "conda install -c aihabitat -c conda-forge habitat-sim"
        yield Check(module, there, detail, fix, required=False)


def _microphone_problem() -> str:
    try:
        import sounddevice  # noqa: F401
    except OSError as error:
        return f"installed, but {error}"
    return ""


def _mark(check: Check) -> str:
    return "✓" if check.ok else "✗" if check.required else "–"


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
        return metadata.metadata(DISTRIBUTION)["Requires-Python"]
    except metadata.PackageNotFoundError:
        return ">=3.10"


def _extra_by_distribution() -> dict[str, str]:
    """Which extra of ours installs a distribution, read from our own metadata so that the two cannot drift apart."""
    from packaging.requirements import Requirement

    try:
        about = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return {}
    wanted = [Requirement(text) for text in about.get_all("Requires-Dist") or []]
    return {
        r.name: extra
        for extra in about.get_all("Provides-Extra") or []
        for r in wanted
        if r.marker is not None and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
