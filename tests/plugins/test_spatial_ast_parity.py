"""Spatial-AST against an independent reading of its definition, in numpy and float64.

Written from the description of the released code (reference of the project), not from ours: the STFT is a product with
the windowed Fourier matrix, phases are angles from atan2, the time resize is cubic convolution with aligned corners,
the patches are cut one by one, attention is written out. Logits must agree to 1e-4.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from numpy.typing import NDArray
from scipy.special import erf, softmax

from bat_agent.sound.acoustics import convolve, rms_normalise, spatialise
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST

pytestmark = pytest.mark.parity

Array = NDArray[np.float64]
Weights = dict[str, Array]
HEADS = 6
OPTIONS: dict[str, Any] = {"width": 96, "depth": 12, "heads": HEADS}
TOLERANCE = 1e-4
TOKEN_TOLERANCE = 1e-2  # tokens are large (σ 4); bins at the rounding floor of a loud frame have a phase of their own
CUBIC, LAYER_NORM_EPS, PHASE_SIGN, TANH = -0.75, 1e-6, 1, False  # misread below, to see that the comparison notices


@cache
def encoder() -> SpatialAST:
    """The released architecture, narrower, with weights that make every part of it count in the logits."""
    model = SpatialAST(SpatialASTConfig(**OPTIONS)).eval()
    random = np.random.default_rng(0)
    for name, value in model.state_dict().items():
        if name.startswith(("spectrogram", "logmel", "pos_embed")) or not value.is_floating_point():
            continue
        drawn = random.standard_normal(tuple(value.shape))
        if name == "bn.running_mean":
            drawn = np.array([-31.0, -29.0])
        elif name.endswith("running_var"):
            drawn = np.array([190.0, 230.0]) if name.startswith("bn.") else np.full(1, 0.4)
        elif name == "conv_downsample.0.weight":
            drawn = drawn * np.array([0.3, 0.3, 9.0, 9.0])[None, :, None, None]  # the phase maps are 30 times smaller
        elif "norm" in name or name.startswith("conv_downsample.1"):
            drawn = 0.2 * drawn + (1 if name.endswith("weight") else 0)
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
    """(T, 513): frames of 1024 every 320, reflected edges, periodic Hann, times exp(−2πi·k·n/1024)."""
    padded = np.pad(sound, 512, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::320]
    time = np.arange(1024)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / 1024)
    matrix = np.exp(-2j * np.pi * np.outer(time, np.arange(513)) / 1024)
    windowed = frames * window
    return windowed @ matrix.real + 1j * (windowed @ matrix.imag)


def resize_matrix(old: int, new: int) -> Array:
    """(new, old): cubic convolution with a = −0.75, corners aligned, samples beyond the edge repeated."""
    a = CUBIC
    matrix = np.zeros((new, old))
    for row in range(new):
        place = row * (old - 1) / (new - 1)
        base = int(np.floor(place))
        for tap in range(base - 1, base + 3):
            x = abs(place - tap)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            matrix[row, min(max(tap, 0), old - 1)] += near if x <= 1 else far if x < 2 else 0
    return matrix


def gelu(x: Array) -> Array:
    if TANH:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def layer_norm(x: Array, w: Weights, name: str) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPS)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Array, w: Weights, name: str) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def maps(waveform: Array, w: Weights) -> Array:
    """(4, 1024, 128): batch-normed log-mel of both ears, cosine and sine of the phase difference."""
    filters = librosa.filters.mel(sr=32_000, n_fft=1024, n_mels=128, fmin=50, fmax=14_000, dtype=np.float64).T
    left, right = (spectrum(ear) for ear in waveform)
    mel = np.stack([10 * np.log10(np.maximum(np.abs(ear) @ filters, 1e-10)) for ear in (left, right)])
    mean, variance = (w[f"bn.running_{name}"][:, None, None] for name in ("mean", "var"))
    mel = (mel - mean) / np.sqrt(variance + 1e-5)
    phase = PHASE_SIGN * (np.arctan2(right.imag, right.real) - np.arctan2(left.imag, left.real))
    stacked = np.concatenate((mel, [np.cos(phase) @ filters], [np.sin(phase) @ filters]))
    return resize_matrix(stacked.shape[1], 1024) @ stacked


def stem(stacked: Array, w: Weights) -> Array:
    """(1024, 128): 3 × 3 convolution to one map, batch norm, GELU."""
    padded = np.pad(stacked, ((0, 0), (1, 1), (1, 1)))
    kernel = w["conv_downsample.0.weight"][0]
    out = sum(
        kernel[c, i, j] * padded[c, i : i + 1024, j : j + 128] for c in range(4) for i in range(3) for j in range(3)
    )
    mean, variance = w["conv_downsample.1.running_mean"], w["conv_downsample.1.running_var"]
    normed = (out - mean) / np.sqrt(variance + 1e-5) * w["conv_downsample.1.weight"] + w["conv_downsample.1.bias"]
    return gelu(normed)


def attend(x: Array, w: Weights, name: str) -> Array:
    query, key, value = np.split(linear(x, w, f"{name}.qkv"), 3, axis=1)
    size = x.shape[1] // HEADS
    heads = []
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        share = softmax(query[:, own] @ key[:, own].T / np.sqrt(size), axis=1)
        heads.append(share @ value[:, own])
    return linear(np.concatenate(heads, axis=1), w, f"{name}.proj")


def reference(waveform: Array) -> dict[str, Array]:
    """Tokens after the last block and all logits of one clip (2, N)."""
    w = weights()
    image = stem(maps(waveform, w), w)
    filters = w["patch_embed.proj.weight"].reshape(len(w["patch_embed.proj.bias"]), -1)
    patches = [
        filters @ image[16 * t : 16 * t + 16, 16 * m : 16 * m + 16].ravel() + w["patch_embed.proj.bias"]
        for t in range(64)
        for m in range(8)
    ]
    x = np.concatenate((w["cls_tokens"][0], np.array(patches) + w["pos_embed"][0, 1:]))
    for block in range(OPTIONS["depth"]):
        name = f"blocks.{block}"
        x = x + attend(layer_norm(x, w, f"{name}.norm1"), w, f"{name}.attn")
        hidden = gelu(linear(layer_norm(x, w, f"{name}.norm2"), w, f"{name}.mlp.fc1"))
        x = x + linear(hidden, w, f"{name}.mlp.fc2")
    distance, direction, category = x[:3]
    direction = layer_norm(direction, w, "doa_norm")
    return {
        "tokens": x,
        "class_logits": linear(layer_norm(category, w, "fc_norm"), w, "head"),
        "distance_logits": linear(layer_norm(distance, w, "dis_norm"), w, "distance_head"),
        "azimuth_logits": linear(direction, w, "azimuth_head"),
        "elevation_logits": linear(direction, w, "elevation_head"),
    }


# --- the comparison ---


def sounds() -> dict[str, torch.Tensor]:
    """Ten-second clips (2, 320000) with what goes wrong easily: digital silence, in one ear or both, and levels."""
    random = torch.Generator().manual_seed(1)
    full = 0.1 * torch.randn(2, 320_000, generator=random)
    gated = full.clone()
    gated[:, 100_000:180_000] = 0
    gated[0, 200_000:260_000] = 0
    gated[:, 300_000:] *= 1e-4
    return {"noise": full, "gated": gated, "left only": full * torch.tensor([[1.0], [0.0]]), "silence": 0 * full}


def differences(waveform: torch.Tensor, exact: Array | None = None) -> dict[str, float]:
    """Largest difference of tokens and logits; ``exact`` is the waveform where it is known better than to float32."""
    wanted = reference(waveform.double().numpy() if exact is None else exact)
    with torch.no_grad():
        encoding = encoder()(waveform[None])
    ours = {name: getattr(encoding, name)[0].double().numpy() for name in wanted}
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in wanted.items()}
    return {name: float(np.abs(ours[name] - value).max()) for name, value in wanted.items()}


def compare(waveform: torch.Tensor, exact: Array | None = None) -> None:
    found = differences(waveform, exact)
    assert found.pop("tokens") <= TOKEN_TOLERANCE
    assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("name", ["noise", "gated", "left only", "silence"])
def test_logits_are_those_of_the_definition(name: str) -> None:
    compare(sounds()[name])


def test_real_clip_in_real_room_has_the_logits_of_the_definition(shared: Path) -> None:
    """From file to logits: the released loader works in float64 and hands float32 to the encoder."""
    data = shared / "data" / "spatialsoundqa"
    dry, rate = soundfile.read(data / "AudioSet" / "eval" / "audio" / "YCqvbWnTBfTk.wav", always_2d=True)
    rir = np.load(data / "mp3d_reverb" / "binaural" / "sample" / "74.npy")
    assert rate == 32_000
    loud = dry[:, 0] * 10 ** ((-14 - 20 * np.log10(np.sqrt(np.mean(dry[:, 0] ** 2)))) / 20)
    wet = scipy.signal.fftconvolve(loud[None], rir, axes=1)[:, :320_000]
    wet = np.pad(wet, ((0, 0), (0, 320_000 - wet.shape[1])))
    ours = spatialise(torch.from_numpy(dry[:, 0]), torch.from_numpy(rir))
    compare(ours.float(), wet)
    # In float32 the convolution leaves a floor of −120 dB in this clip's digital silence, which is a sound of its own.
    single = spatialise(torch.from_numpy(dry[:, 0]).float(), torch.from_numpy(rir))
    np.testing.assert_allclose(single.numpy(), wet, atol=1e-6 * np.abs(wet).max())
    compare(single)


@pytest.mark.parametrize(
    ("name", "value"), [("CUBIC", -0.5), ("LAYER_NORM_EPS", 1e-5), ("PHASE_SIGN", -1), ("TANH", True)]
)
def test_a_misreading_of_the_definition_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    monkeypatch.setitem(globals(), name, value)
    found = differences(sounds()["gated"])
    assert max(found[head] for head in found if head != "tokens") > TOLERANCE, found


def test_room_convolution_in_the_model_is_the_core_s() -> None:
    """The released model convolves inside, at the clip's length, with a RIR padded to 2 s; the core's result agrees."""
    random = torch.Generator().manual_seed(2)
    dry, rir = torch.randn(40_000, generator=random), torch.randn(2, 3_000, generator=random)
    inside = scipy.signal.fftconvolve(
        np.pad(rms_normalise(dry).double().numpy(), (0, 280_000))[None],
        np.pad(rir.double().numpy(), ((0, 0), (0, 61_000))),
        axes=1,
    )[:, :320_000]
    ours = convolve(rms_normalise(dry)[None], rir, 320_000)
    np.testing.assert_allclose(ours.numpy(), inside, atol=1e-5 * np.abs(inside).max())
