"""What an editor and a type checker know of the public names, and what they print of themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent import Answer, Listener, MeshRoom, PerceivedSource, Perception, Room, Scene, Source
from bat_agent.listening.settings import Settings, SettingsGiven

ROOT = Path(__file__).resolve().parents[2]
LINE = 120
# What is heavy is left out: its types are then anything at all, and the checker needs seconds instead of minutes.
SETTINGS = """
[mypy]
ignore_missing_imports = true
follow_imports = silent
[mypy-torch.*,torchaudio.*,scipy.*,matplotlib.*,transformers.*,huggingface_hub.*,safetensors.*,soundfile.*,pluggy.*]
follow_imports = skip
"""
PROGRAM = """
import numpy as np
import bat_agent
import bat_agent_envs

bat = bat_agent.load()
clip = np.zeros((2, 32_000), np.float32)
clips = [clip, clip]
reveal_type(bat)
reveal_type(bat.perceive(clip))
reveal_type(bat.perceive(clips))
reveal_type(bat.perceive(clip).sources[0].azimuth_deg)
reveal_type(bat.ask(clip, "Where is it?"))
reveal_type(bat.ask(clip, ["Where is it?"]))
reveal_type(bat.ask(clips, "Where is it?"))
reveal_type(bat.ask(clips, ["Where is it?"]))
reveal_type(bat.reasoner)
reveal_type(bat_agent.listen("kitchen.wav", fast=True, hop_s=0.5))
reveal_type(bat_agent.load_encoder("spatial-ast"))
reveal_type(bat_agent.load_reasoner("rules"))
reveal_type(bat_agent.load_simulator("shoebox"))
reveal_type(bat_agent_envs.SpatialHearing)
bat_agent.lod()
bat_agent_envs.SpatialHering
bat_agent.listen(hop=0.5)
"""
KNOWN = [
    "bat_agent.agent.Bat",
    "bat_agent.hearing.perception.Perception",
    "list[bat_agent.hearing.perception.Perception]",
    "float | None",
    "bat_agent.hearing.answers.Answer",
    "list[bat_agent.hearing.answers.Answer]",
    "list[bat_agent.hearing.answers.Answer]",
    "list[list[bat_agent.hearing.answers.Answer]]",
    "bat_agent.interfaces.Reasoner",
    "bat_agent.listening.engine.LiveEars",
    "bat_agent.interfaces.Encoder",
    "bat_agent.interfaces.Reasoner",
    "bat_agent.interfaces.Simulator",
]


@pytest.mark.slow
def test_a_type_checker_knows_what_comes_back(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "mypy.ini").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "program.py"],
        cwd=tmp_path,
        env={"MYPYPATH": f"{ROOT}:{ROOT / 'envs'}", "PATH": ""},
        capture_output=True,
        text=True,
    )
    # Older releases write the same types otherwise.
    said = re.sub(r"Union\[([^,\]]+), None\]", r"\1 | None", found.stdout.replace("builtins.", ""))
    revealed = re.findall(r'Revealed type is "(.*)"', said)
    assert revealed[: len(KNOWN)] == KNOWN, found.stdout + found.stderr
    assert "bat_agent_envs.wrapper.SpatialHearing" in revealed[-1]
    errors = [line for line in found.stdout.splitlines() if ": error: " in line]
    assert [re.findall('"(.*?)"', error)[0] for error in errors] == ["lod", "SpatialHering", "hop"], found.stdout


def test_the_settings_of_listen_are_typed_as_they_are() -> None:
    assert set(SettingsGiven.__annotations__) == {field.name for field in fields(Settings)}
    assert [str(kind) for kind in SettingsGiven.__annotations__.values()] == [
        f"ForwardRef({field.type!r}, module={SettingsGiven.__module__!r})" for field in fields(Settings)
    ]


def long_source(**angles: float | None) -> PerceivedSource:
    known = {"azimuth_deg": 359.0, "elevation_deg": -90.0, "distance_m": 10.0} | angles
    return PerceivedSource(("Heavy engine (low frequency) of a very long name",), **known, confidence=0.987654)


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (PerceivedSource(("Siren",), 87.4, 3.0, 2.5, 0.931), "PerceivedSource(Siren 0.93 az 87° el 3° 2.5 m)"),
        (PerceivedSource((), None, None, None, 0.5), "PerceivedSource(unnamed 0.50)"),
        (Perception(), "Perception(nothing)"),
        (
            Perception((PerceivedSource(("Siren",), 87.4, 3.0, 2.5, 0.931),), {"Siren": 0.9}, ("cut",)),
            "Perception([Siren 0.93 az 87° el 3° 2.5 m], 1 note)",
        ),
        (Perception((long_source(),) * 12, {}, ("silence", "cut")), "10 more, 2 notes)"),
        (long_source(), "el -90° 10.0 m)"),
        (Answer("left", "left", 0.914), "Answer('left', confidence=0.91, question='left')"),
        (Answer("Where is it?", "left", 0.5, sure=False), "confidence=0.50, not sure, question='Where is it?')"),
        (Answer("Where is it? " * 20, "far 'away' \n" * 20, 0.5, sure=False), "not sure"),
        (
            Scene(Room((5, 3, 4)), Listener((1, 1.5, 1)), (Source((2, 1, 1), ("Siren",)), Source((2, 1, 2)))),
            "Scene(room 5 × 3 × 4 m, listener (1, 1.5, 1) m, [Siren, unnamed])",
        ),
        (
            Scene(
                Room((5.123456, 3.123456, 14.123456)),
                Listener((1.123456, 1.123456, 11.123456)),
                (Source((2, 1, 1), ("Heavy engine (low frequency) of a very long name",)),) * 100,
            ),
            "98 more])",
        ),
        (Scene(MeshRoom("/a/very/long/path" * 20 + "/house.glb"), Listener((0, 1, 0)), ()), "house.glb"),
    ],
)
def test_what_is_printed_fits_a_line_and_says_what_matters(shown: object, says: str) -> None:
    assert says in repr(shown)
    assert len(repr(shown)) <= LINE
    assert "\n" not in repr(shown)


def test_ears_say_what_they_are(tmp_path: Path) -> None:
    bat = bat_agent.load(device="cpu")
    assert repr(bat) == "Bat('bat-small', encoder='spatial-ast', reasoner='rules', device='cpu')"
    deaf = bat_agent.load(device="cpu", level_known=False).with_reasoner("echo")
    assert repr(deaf).endswith("reasoner='echo', device='cpu', level_known=False)")
    assert len(repr(deaf)) <= LINE


def test_a_list_of_clips_is_a_batch() -> None:
    bat = bat_agent.load(device="cpu")
    batch = 0.01 * np.random.default_rng(0).standard_normal((2, 2, 16_000)).astype(np.float32)
    whole = bat.perceive(batch)
    assert isinstance(whole, list)
    assert bat.perceive(list(batch)) == whole
    assert bat.perceive([torch.from_numpy(clip).requires_grad_() for clip in batch]) == whole
    assert bat.ask(list(batch), ["Is it a dog?"]) == bat.ask(batch, ["Is it a dog?"])
    with pytest.raises(bat_agent.BadInput, match=r"one shape .* got \(2, 16000\), \(2, 9000\)"):
        bat.perceive([torch.zeros(2, 16_000), torch.zeros(2, 9_000)])
