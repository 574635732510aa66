"""Faults on purpose, and what comes of them: kills, full disks, folders nobody may write to, two writers, ends.

    python benchmarks/faults.py [SECTION …] [--command TEXT]    # kills full readonly two ends; all unless named

Each command runs in a child of this process. *kills*: it is killed (SIGKILL) at each of its ``os.replace`` in turn and
run again; the result must be what an undisturbed run makes, byte for byte, with no temporary file beside.
*full*: its folder is a tmpfs of 8 MB with so many bytes free; the command must end with 0, or with 2 and one sentence,
and leave no half file. *readonly*: the same on a tmpfs that is mounted read-only. *two*: two at once into one folder;
one may refuse, nothing may break. *ends*: ``bat-listen`` ended by itself, by SIGTERM and by SIGHUP while it answers;
exit code 0. Sections with a tmpfs need root and are left out without it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml

ROOM = """
room: {size_m: [5, 3, 4], rt60_s: 0.2}
listener: {position_m: [2.5, 1.5, 2]}
sources: [{position_m: [1, 1.5, 1.9], labels: [Siren]}]
"""
RECIPE = {
    "name": "mouse",
    "encoder": {
        "name": "spatial-ast",
        "options": {
            "clip_seconds": 0.5, "target_frames": None, "patch_frames": 10, "patch_mels": 128, "width": 32, "depth": 1,
            "heads": 2, "store_front_end": False,
        },
    },
    "reasoner": {"name": "rules"},
    "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
    "rooms": [{"simulator": "echo", "scenes": 8, "valid_scenes": 4, "sources": 3, "seconds": 0.05}],
    "mixing": {"window_seconds": [0.5]},
    "stages": [{"name": "listen", "trains": "encoder", "steps": 3, "seconds_per_step": 1.0, "class_weight": 100}],
    "workers": 0,
    "save_every": 2,
    "validation_clips": 4,
}  # fmt: skip
FREE_BYTES = (0, 20_000, 300_000, 2_000_000)
LIMIT_S = 300.0
Arguments = Callable[[Path, Path], list[str]]
COMMANDS: dict[str, Arguments] = {
    "render: WAV, PNG, RIR": lambda given, to: [
        "render", f"{given}/room.yaml", "-o", f"{to}/room.wav", "--plot", f"{to}/room.png", "--rir", f"{to}/rir.npy",
        "--seconds", "1",
    ],
    "perceive: CSV, JSONL, picture": lambda given, to: [
        "perceive", f"{given}/two.wav", "--csv", f"{to}/tracks.csv", "--jsonl", f"{to}/tracks.jsonl", "--plot",
        f"{to}/tracks.png",
    ],
    "dataset rirs": lambda given, to: [
        "dataset", "rirs", "--simulator", "echo", "--rooms", "3", "--count", "9", "--workers", "1", "--out",
        f"{to}/rirs",
    ],
    "dataset qa": lambda given, to: [
        "dataset", "qa", "--sounds", "procedural", "--simulator", "echo", "--rooms", "2", "--rir-count", "8", "--count",
        "6", "--out", f"{to}/qa",
    ],
    "train": lambda given, to: ["train", f"{given}/mouse.yaml", f"run_dir={to}/run"],
    "new-plugin": lambda given, to: ["new-plugin", "ear-levels", "--kind", "encoder", "--out", f"{to}/new"],
}  # fmt: skip


# --- running a command in a child ---


class Ended:
    """How a child ended: exit code, or minus the signal; and what it said on standard error."""

    def __init__(self, code: int, said: str) -> None:
        self.code, self.said = code, said
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        self.sentence = errors[0] if len(errors) == 1 else ""

    @property
    def word(self) -> str:
        """``0``, ``one sentence``, or what is wrong."""
        if self.code == 0:
            return "0"
        if self.code == 2 and self.sentence and "Traceback" not in self.said:
            return "one sentence"
        return f"WRONG: code {self.code}, {self.said.strip()[-300:]!r}"


def start(arguments: list[str], folder: Path, kill_at: int | None = None) -> tuple[int, Path]:
    """The process id of a child that runs the command, and the file of its standard error."""
    handle, name = tempfile.mkstemp(dir=folder, prefix="said-")
    child = os.fork()
    if child:
        os.close(handle)
        return child, Path(name)
    os.dup2(handle, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if kill_at is not None:
        kill_before_replace(kill_at)
    code = 70
    try:
        run_command(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def run_command(arguments: list[str]) -> None:
    """As ``bat-agent`` does."""
    from bat_agent.cli import main

    main(arguments)


def kill_before_replace(number: int) -> None:
    """In this process, the ``number``-th file that is to take its place never does."""
    replace, seen = os.replace, 0

    def counted(*given: object, **more: object) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*given, **more)  # type: ignore[arg-type]

    os.replace = counted


def wait(child: int, said: Path) -> Ended:
    """The end of a child, which is killed where it does not come."""
    end_s = time.monotonic() + LIMIT_S
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return Ended(os.waitstatus_to_exitcode(status), said.read_text(errors="replace"))
        if time.monotonic() > end_s:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def run(arguments: list[str], folder: Path, kill_at: int | None = None) -> Ended:
    """A command to its end."""
    return wait(*start(arguments, folder, kill_at))


def contents(folder: Path) -> dict[str, bytes]:
    """What lies below a folder, without locks and what TensorBoard names by the time."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        name: content
        for name, content in files.items()
        if not name.endswith(".lock") and "events.out.tfevents" not in name
    }


# --- the sections ---


def kills(given: Path, scratch: Path) -> Iterator[str]:
    """Killed at each os.replace, and run again."""
    for name, arguments in COMMANDS.items():
        whole = fresh(scratch / "whole")
        first = run(arguments(given, whole), scratch)
        if first.code:
            yield f"{name:32} undisturbed: {first.word}"
            continue
        killed, wrong = 0, Counter[str]()
        for number in itertools.count(1):
            folder = fresh(scratch / "whole-again")
            folder.rename(scratch / "moved")  # results that hold their own path must lie in the same one
            whole.rename(scratch / "kept")
            (scratch / "moved").rename(whole)
            ended = run(arguments(given, whole), scratch, kill_at=number)
            if ended.code == -signal.SIGKILL:
                killed += 1
                again = run(arguments(given, whole), scratch)
                wrong.update(differences(again, contents(scratch / "kept"), contents(whole)))
            shutil.rmtree(whole)
            (scratch / "kept").rename(whole)
            if ended.code != -signal.SIGKILL:
                break
        outcome = "the same bytes, nothing left over" if not wrong else f"WRONG: {dict(wrong)}"
        yield f"{name:32} killed at {killed:2} of its replacements, run again: {outcome}"


def differences(again: Ended, wanted: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """What is not as it should be after a second run."""
    wrong = [] if again.code == 0 else [again.word]
    wrong += [f"{name} differs" for name in wanted if found.get(name) != wanted[name]]
    return wrong + [f"{name} is left over" for name in found if name not in wanted]


def full(given: Path, scratch: Path) -> Iterator[str]:
    """On a full disk."""
    for name, arguments in COMMANDS.items():
        ends = []
        for free in FREE_BYTES:
            with tmpfs(scratch) as folder:
                fill(folder, free)
                ended = run(arguments(given, folder), given)
                ends.append(ended.word if ended.code else "fits")
                if ended.word == "one sentence" and not ("free" in ended.sentence and str(folder) in ended.sentence):
                    ends[-1] = f"WRONG: {ended.sentence}"
                if halves := half_files(folder):
                    ends[-1] += f"; WRONG: half of {halves}"
        told = ", ".join(f"{free / 1000:g} kB free: {end}" for free, end in zip(FREE_BYTES, ends, strict=True))
        yield f"{name:32} {told}"


def readonly(given: Path, scratch: Path) -> Iterator[str]:
    """Where nothing may be written."""
    for name, arguments in COMMANDS.items():
        with tmpfs(scratch) as folder:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            yield f"{name:32} {run(arguments(given, folder), given).word}"


def two(given: Path, scratch: Path) -> Iterator[str]:
    """Two at once into one folder."""
    for name, arguments in COMMANDS.items():
        folder = fresh(scratch / "whole")
        undisturbed = run(arguments(given, folder), scratch)
        wanted = contents(folder)
        folder = fresh(scratch / "whole")
        both = [wait(*child) for child in [start(arguments(given, folder), scratch) for _ in range(2)]]
        found = contents(folder)
        wrong = differences(undisturbed, wanted, found)
        same = f"WRONG: {wrong}" if wrong else "the same bytes as alone"
        yield f"{name:32} {both[0].word} and {both[1].word}: {same}"


def ends(given: Path, scratch: Path) -> Iterator[str]:
    """bat-listen ends while it answers."""
    command = [
        sys.executable, "-m", "bat_agent.cli.listen", "--file", f"{given}/two.wav", "--loop", "--view", "none", "--ask",
        "Where is the siren?", "--ask-every", "1",
    ]  # fmt: skip
    times, hows = int(os.environ.get("FAULTS_ENDS", "50")), os.environ.get("FAULTS_HOW", "--for 3,SIGTERM,SIGHUP")
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, it would rightly be ignored
    for how in hows.split(","):
        number = getattr(signal, how, None)
        codes: Counter[str] = Counter()
        for _ in range(times):
            codes[str(listened(command, number))] += 1
        told = ", ".join(f"{code} in {n} of {times}" for code, n in codes.items())
        yield f"bat-listen ended by {how:8} exit code {told}"


def listened(command: list[str], number: signal.Signals | None) -> str:
    """How it ended."""
    by_itself = ["--for", "3"] if number is None else ["--jsonl", "-"]
    with subprocess.Popen([*command, *by_itself], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        if number is not None:
            for _ in range(9):  # until it has begun to answer
                process.stdout.readline()
            process.send_signal(number)
        _, said = process.communicate()
    return str(process.returncode) if b"Traceback" not in said and b"terminate" not in said else said.decode()[-300:]


SECTIONS = {"kills": kills, "full": full, "readonly": readonly, "two": two, "ends": ends}


# --- folders ---


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def tmpfs(scratch: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = fresh(scratch / "disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path, free: int) -> None:
    """Leave so many bytes."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb") as file:
        while (left := shutil.disk_usage(folder).free) > free:
            file.write(bytes(min(left - free, 1 << 20)))
            file.flush()


def half_files(folder: Path) -> list[str]:
    """Files that a reader would take for whole ones and that are not, and temporary ones."""
    return [path.name for path in folder.rglob("*") if path.is_file() and (".part" in path.name or not is_whole(path))]


def is_whole(path: Path) -> bool:
    """Whether it can be read to its end."""
    import soundfile

    try:
        if path.suffix == ".wav":
            soundfile.read(path)
        elif path.suffix == ".npy":
            np.load(path)
        elif path.suffix == ".png":
            return path.read_bytes().endswith(b"IEND\xaeB`\x82")
        elif path.suffix == ".yaml":
            return bool(yaml.safe_load(path.read_text()))
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".jsonl", ".csv"):
            return not (content := path.read_bytes()) or content.endswith(b"\n")
    except Exception:
        return False
    return True


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[], metavar="SECTION")
    parser.add_argument("--command", default="", help="only those with this in their name, such as 'dataset qa'")
    asked = parser.parse_args()
    wanted = asked.sections or list(SECTIONS)
    for name in [name for name in COMMANDS if asked.command not in name]:
        del COMMANDS[name]
    for heavy in ("cli.train", "training.trainer", "scenes.rendering", "evaluation.plotting"):  # shared with children
        importlib.import_module(f"bat_agent.{heavy}")
    with tempfile.TemporaryDirectory() as place:
        given, scratch = Path(place, "given"), Path(place, "scratch")
        given.mkdir()
        scratch.mkdir()
        (given / "room.yaml").write_text(ROOM)
        (given / "mouse.yaml").write_text(yaml.safe_dump(RECIPE))
        from bat_agent.sound.audio import write_wav

        write_wav(given / "two.wav", siren())
        for section in wanted:
            print(f"\n{section}: {SECTIONS[section].__doc__}", flush=True)
            if section in ("full", "readonly") and os.geteuid():
                print("left out: to mount a tmpfs needs root")
                continue
            for line in SECTIONS[section](given, scratch):
                print(line, flush=True)


def siren() -> np.ndarray:
    """Four seconds of a tone that wails on the left, (2, N) float32 at 32 kHz."""
    t = np.arange(4 * 32_000) / 32_000
    wail = 0.1 * np.sin(2 * np.pi * (800 + 300 * np.sin(np.pi * t)) * t)
    noise = 0.002 * np.random.default_rng(0).standard_normal((2, len(t)))
    return (np.stack([wail, 0.5 * np.roll(wail, 12)]) + noise).astype(np.float32)


if __name__ == "__main__":
    main()
