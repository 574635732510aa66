"""Numbers from outside that nobody writes: sizes of models, calibrations, lengths of recordings. One sentence each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bat_agent.errors import BadInput, BatAgentError
from bat_agent.hearing.model_folder import read_config
from bat_agent.recordings import Recording
from bat_agent.registry import config_of, create
from bat_agent.sound.audio import read_audio
from bat_agent.sound.waveform import prepare

SIZES: list[tuple[str, str, Any]] = [
    *(("spatial-ast", name, value) for name in ("heads", "width", "depth", "stem_channels") for value in (-1, 10**9)),
    *(
        ("spatial-ast", name, 0)
        for name in ("heads", "patch_frames", "patch_mels", "width", "clip_seconds", "num_slots")
    ),
    *(("spatial-ast", name, float("nan")) for name in ("clip_seconds", "drop_path", "mlp_ratio", "mask_time")),
    ("spatial-ast", "clip_seconds", 1e9),
    ("dspast", "heads", 0),
    ("seldnet", "depth", 10**9),
    ("audiomae", "clip_seconds", float("inf")),
    ("echo", "sample_rate_hz", 0),
]


@pytest.mark.parametrize(("encoder", "option", "value"), SIZES)
def test_sizes_that_no_model_has(encoder: str, option: str, value: Any) -> None:
    """heads: 0 was a ZeroDivisionError, depth: -1 a RuntimeError of torch, 1e9 an allocation of terabytes."""
    with pytest.raises(BadInput, match=option) as told:
        config_of("encoder", encoder, {option: value})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("options", [{"projector_heads": 0}, {"tiny_width": 10**9}, {"temperature": float("nan")}])
def test_sizes_that_no_reasoner_has(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(options))):
        config_of("reasoner", "llama", options)


def test_what_no_range_forbids_and_cannot_be_built_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from bat_agent_echo.echo import EchoEncoder

    def out_of_memory(self: EchoEncoder, config: Any) -> None:
        raise RuntimeError("can't allocate memory:\nyou tried to allocate 9 bytes")

    monkeypatch.setattr(EchoEncoder, "__init__", out_of_memory)
    with pytest.raises(
        BadInput, match=r"^encoder 'echo' cannot be built with these options: can't allocate memory: you"
    ):
        create("encoder", "echo", {})


CONFIG = {"name": "m", "encoder": {"name": "echo", "options": {}}, "reasoner": {"name": "echo", "options": {}}}
BROKEN: list[dict[str, Any]] = [
    {"thresholds": []},
    {"thresholds": {"activity": float("nan")}},
    {"thresholds": {"activity": "0.5"}},
    {"thresholds": {}, "calibration": []},
    {"thresholds": {}, "calibration": {"source": [1, 2]}},
    {"thresholds": {}, "calibration": {"source": {"scale": "x"}}},
    {"thresholds": {}, "calibration": {"answers": {"side": {"slope": 1}}}},
    {"thresholds": {}, "name": {}},
    {"thresholds": {}, "labels": 3},
    {"thresholds": {}, "encoder": 3},
]


@pytest.mark.parametrize("changed", BROKEN)
def test_a_config_of_another_shape(changed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | changed))
    with pytest.raises(BatAgentError, match=r"config\.json is broken") as told:
        read_config(tmp_path)
    assert "\n" not in str(told.value)


def flac(path: Path, total: int) -> Path:
    """A FLAC of 1000 frames whose header claims ``total``; 0 is that of a pipe, which does not know."""
    soundfile.write(path, np.full((1000, 2), 0.1), 32_000, "PCM_16", format="FLAC")
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("read", [read_audio, Recording])
def test_a_header_that_claims_what_no_file_holds(read: Any, tmp_path: Path) -> None:
    """68 G frames: 507 GiB were asked for."""
    with pytest.raises(BadInput, match=r"claims to hold 68,719,476,735 samples, as no recording does"):
        read(flac(tmp_path / "a.flac", 2**36 - 1))
    with pytest.raises(BadInput, match="does not say how long it is"):
        read(flac(tmp_path / "b.flac", 0))
    assert read_audio(flac(tmp_path / "c.flac", 1000)).shape == (2, 1000)


def test_samples_that_no_recording_has() -> None:
    from bat_agent_echo.config import EchoEncoderConfig
    from bat_agent_echo.echo import EchoEncoder

    encoder = EchoEncoder(EchoEncoderConfig())
    prepare(np.full((2, 3200), 2.0**31, np.float32), encoder)  # integers that were turned to floats
    with pytest.raises(BadInput, match=r"samples of the waveform reach 1e\+30, expected ±1"):
        prepare(np.full((2, 3200), 1e30, np.float32), encoder)
