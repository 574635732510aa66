"""DSpAST against an independent reading of its definition, in numpy and float64.

Written from the description of the released code (reference of the project), not from ours: angles come from atan2 and
complex products, three branches go through the transformer one after the other, the level ratio is the formula itself.
The parts it shares with Spatial-AST are that encoder's own reading. Logits must agree to 1e-3: whitening weighs bins at
the rounding floor like all others.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from numpy.typing import NDArray
from scipy.special import expit

from bat_agent_spatial_ast.dspast import DSpAST
from bat_agent_spatial_ast.dspast_config import DSpASTConfig

pytestmark = pytest.mark.parity


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_for_dspast", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


base = _beside("test_spatial_ast_parity")  # spectrum, resize_matrix, gelu, layer_norm, linear, attend, sounds

Array = NDArray[np.float64]
Weights = dict[str, Array]
OPTIONS: dict[str, Any] = {"width": 96, "depth": 4, "heads": base.HEADS, "head_dim": 32}
TOLERANCE = 1e-3
ONE_EAR_TOLERANCE = 1e-2  # a bin with one part near zero falls by rounding into the third quadrant or beside it
# Misread below, to see that the comparison notices.
EARS_SWAPPED, FIRST_LAG, SIGNED_ZEROS = False, -64, True
ATTENTION, LEVELS_SWAPPED, CLASS_TOKENS, BRANCHES = True, False, 3, (1, 2, 3)


@cache
def encoder() -> DSpAST:
    """The released architecture, narrower, with weights that make every part of it count in the logits."""
    model = DSpAST(DSpASTConfig(**OPTIONS)).eval()
    random = np.random.default_rng(0)
    given = {
        "bn.running_mean": np.array([-31.0, -29.0]),
        "bn.running_var": np.array([190.0, 230.0]),
        "bn_ild.running_mean": np.array([2e4]),
        "bn_ild.running_var": np.array([1e10]),
    }
    for name, value in model.state_dict().items():
        constant = name.startswith(("spectrogram", "logmel", "pos_embed")) or name.endswith((".s", ".pi"))
        if constant or not value.is_floating_point():
            continue
        drawn = random.standard_normal(tuple(value.shape))
        if name in given:
            drawn = given[name]
        elif name.endswith("0.bn.running_mean"):
            drawn = np.array([0.0, 0.1, 0.003, 0.1, 0.01, 0.0])
        elif name.endswith("0.bn.running_var"):
            drawn = np.array([0.2, 0.3, 1e-5, 0.1, 1e-4, 1e-4])
        elif name.endswith("running_var"):
            drawn = np.full(value.shape, 0.4)
        elif name.startswith("conv_downsample") and name.endswith("1.weight"):
            drawn = drawn * np.array([0.3, 0.3, 5.0, 0.5, 9.0, 9.0])[None, :, None, None]
        elif "norm" in name or ".2." in name:
            drawn = 0.2 * drawn + (1 if name.endswith("weight") and value.ndim == 1 else 0)
        elif value.ndim > 1:
            drawn /= np.sqrt(np.prod(value.shape[1:]))
        else:
            drawn *= 0.1
        value.copy_(torch.from_numpy(drawn))
    return model


def weights() -> Weights:
    return {name: value.double().numpy() for name, value in encoder().state_dict().items()}


# --- the definition ---


def spectrum(sound: Array) -> NDArray[np.complex128]:
    """(T, 513), real where it must be: at half the rate, and for the first frame, which its reflection mirrors."""
    bins: NDArray[np.complex128] = base.spectrum(sound)
    bins.imag[np.abs(bins.imag) < 1e-9 * np.abs(bins)] = 0
    return bins


def normed(x: Array, w: Weights, name: str) -> Array:
    """Batch norm in evaluation mode over the first axis, without the learned part."""
    shape = (-1,) + (1,) * (x.ndim - 1)
    return (x - w[f"{name}.running_mean"].reshape(shape)) / np.sqrt(w[f"{name}.running_var"].reshape(shape) + 1e-5)


def correlation(left: NDArray[np.complex128], right: NDArray[np.complex128]) -> Array:
    """(T, 128): inverse transform of exp(i·angle(L·conj(R))), lags −64 to 63."""
    if EARS_SWAPPED:
        left, right = right, left
    cross = left * np.conj(right)
    if not SIGNED_ZEROS:
        cross[cross == 0] = 0
    lags = np.fft.irfft(np.exp(1j * np.angle(cross)))
    assert lags.shape[1] == 1024
    return lags[:, np.arange(FIRST_LAG, FIRST_LAG + 128) % 1024]


def maps(waveform: Array, w: Weights) -> Array:
    """(6, 1024, 128): log-mel of both ears, correlation, level ratio, cosine and sine of the phase difference."""
    filters = librosa.filters.mel(sr=32_000, n_fft=1024, n_mels=128, fmin=50, fmax=14_000, dtype=np.float64).T
    left, right = (spectrum(ear) for ear in waveform)
    mel = np.stack([10 * np.log10(np.maximum(np.abs(ear) @ filters, 1e-10)) for ear in (left, right)])
    louder, other = (mel[1], mel[0]) if LEVELS_SWAPPED else mel
    ratio = np.exp(louder) / (np.exp(other) + 1e-16)
    phase = np.arctan2(right.imag, right.real) - np.arctan2(left.imag, left.real)
    stacked = np.concatenate(
        (
            normed(mel, w, "bn"),
            [correlation(left, right)],
            normed(ratio[None], w, "bn_ild"),
            [np.cos(phase) @ filters],
            [np.sin(phase) @ filters],
        )
    )
    return base.resize_matrix(stacked.shape[1], 1024) @ stacked


def stem(stacked: Array, w: Weights, name: str) -> Array:
    """(1024, 128): channel attention, 3 × 3 convolution to one map, batch norm, GELU."""
    if ATTENTION:
        hidden = np.maximum(base.linear(normed(stacked.mean(axis=(1, 2)), w, f"{name}.0.bn"), w, f"{name}.0.fc.0"), 0)
        stacked = stacked * expit(base.linear(hidden, w, f"{name}.0.fc.2"))[:, None, None]
    out = scipy.signal.correlate(np.pad(stacked, ((0, 0), (1, 1), (1, 1))), w[f"{name}.1.weight"][0], mode="valid")
    return base.gelu(normed(out, w, f"{name}.2") * w[f"{name}.2.weight"] + w[f"{name}.2.bias"])[0]


def branch(stacked: Array, w: Weights, number: int) -> Array:
    """(515, 32): the tokens of one branch."""
    image = stem(stacked, w, f"conv_downsample{number}")
    filters, bias = w["patch_embed.proj.weight"].reshape(OPTIONS["width"], -1), w["patch_embed.proj.bias"]
    patches = [
        filters @ image[16 * t : 16 * t + 16, 16 * m : 16 * m + 16].ravel() + bias for t in range(64) for m in range(8)
    ]
    x = np.concatenate((w[f"cls_tokens{number}"][0], np.array(patches) + w["pos_embed"][0, 1:]))
    for block in range(OPTIONS["depth"]):
        name = f"blocks.{block}"
        x = x + base.attend(base.layer_norm(x, w, f"{name}.norm1"), w, f"{name}.attn")
        hidden = base.gelu(base.linear(base.layer_norm(x, w, f"{name}.norm2"), w, f"{name}.mlp.fc1"))
        x = x + base.linear(hidden, w, f"{name}.mlp.fc2")
    return base.linear(x, w, f"pre_head{number}")


def cosines(token: Array, w: Weights, name: str) -> Array:
    rows = w[f"{name}.W"]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)) @ (token / np.linalg.norm(token))


def reference(waveform: Array) -> dict[str, Array]:
    """Tokens for the language model and all logits of one clip (2, N)."""
    w = weights()
    stacked = maps(waveform, w)
    branches = [branch(stacked, w, number) for number in BRANCHES]
    distance, direction, category = (x[:CLASS_TOKENS].mean(axis=0) for x in branches)
    return {
        "tokens": np.concatenate(branches, axis=1),
        "class_logits": base.linear(base.layer_norm(category, w, "fc_norm"), w, "head"),
        "distance_logits": cosines(distance, w, "distance_head"),
        "azimuth_logits": cosines(direction, w, "azimuth_head"),
        "elevation_logits": cosines(direction, w, "elevation_head"),
    }


# --- the comparison ---


def delayed() -> torch.Tensor:
    """One noise that reaches the right ear 20 samples late, 2 dB softer, over a floor of other noise."""
    clip: torch.Tensor = 0.05 * base.sounds()["gated"]
    sound = base.sounds()["noise"][1]
    return clip + torch.stack((sound, 0.8 * sound.roll(20)))


def differences(waveform: torch.Tensor) -> dict[str, float]:
    """Largest difference of the tokens, relative to the largest token, and of the logits."""
    wanted = reference(waveform.double().numpy())
    with torch.no_grad():
        encoding = encoder()(waveform[None])
    ours = {name: getattr(encoding, name)[0].double().numpy() for name in wanted}
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in wanted.items()}
    found = {name: float(np.abs(ours[name] - value).max()) for name, value in wanted.items()}
    found["tokens"] /= float(np.abs(wanted["tokens"]).max())
    return found


def sounds() -> dict[str, torch.Tensor]:
    """Ten-second clips; 3.7 is the peak of a released clip in its room."""
    given: dict[str, torch.Tensor] = base.sounds()
    noise = given["noise"]
    right = noise * torch.tensor([[0.0], [1.0]])
    return {**given, "right only": right, "loud": noise * 3.7 / noise.abs().max(), "delayed": delayed()}


@pytest.mark.parametrize("name", ["noise", "gated", "left only", "right only", "silence", "loud", "delayed"])
def test_logits_are_those_of_the_definition(name: str) -> None:
    found = differences(sounds()[name])
    assert max(found.values()) <= (ONE_EAR_TOLERANCE if "only" in name else TOLERANCE), found


def test_real_clip_in_real_room_has_the_logits_of_the_definition(shared: Path) -> None:
    data = shared / "data" / "spatialsoundqa"
    dry, rate = soundfile.read(data / "AudioSet" / "eval" / "audio" / "YCqvbWnTBfTk.wav", always_2d=True)
    rir = np.load(data / "mp3d_reverb" / "binaural" / "sample" / "74.npy")
    assert rate == 32_000
    loud = dry[:, 0] * 10 ** ((-14 - 20 * np.log10(np.sqrt(np.mean(dry[:, 0] ** 2)))) / 20)
    wet = scipy.signal.fftconvolve(loud[None], rir, axes=1)[:, :320_000]
    wet = np.pad(wet, ((0, 0), (0, 320_000 - wet.shape[1])))
    found = differences(torch.from_numpy(wet).float())
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize(
    ("name", "value", "sound"),
    [
        ("EARS_SWAPPED", True, "delayed"),
        ("FIRST_LAG", -63, "delayed"),
        ("SIGNED_ZEROS", False, "right only"),
        ("ATTENTION", False, "delayed"),
        ("LEVELS_SWAPPED", True, "delayed"),
        ("CLASS_TOKENS", 1, "delayed"),
        ("BRANCHES", (2, 1, 3), "delayed"),
    ],
)
@pytest.mark.slow
def test_a_misreading_of_the_definition_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object, sound: str
) -> None:
    monkeypatch.setitem(globals(), name, value)
    found = differences(sounds()[sound])
    assert max(found[head] for head in found if head != "tokens") > 5 * ONE_EAR_TOLERANCE, found
