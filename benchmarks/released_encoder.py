"""The released Spatial-AST algorithm, for comparison of speed and numbers only; written from a description of it.

What makes it slow is kept: the STFT as two dense convolutions, a phase by atan2 for each ear, the log-mel and the phase
path apart and over all 513 bins, the room convolution inside the model at FFT length 383 999, attention written out.
Parameter names are those of the released file, so the state dict of our encoder loads as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLIP_SAMPLES, RIR_SAMPLES = 320_000, 64_000
N_FFT, HOP, BINS, MELS, FRAMES, PATCH = 1024, 320, 513, 128, 1024, 16
WIDTH, DEPTH, HEADS = 768, 12, 12


class ReleasedEncoder(nn.Module):
    """Dry clips and RIRs in; (class, distance, azimuth, elevation) logits out."""

    def __init__(self, drop_path: float = 0.1, mask: float = 0.25, spec_time: int = 192, spec_mels: int = 48) -> None:
        super().__init__()
        self.mask, self.spec = mask, ((2, spec_time), (3, spec_mels))
        self.spectrogram_extractor = ConvolutionStft()
        self.logmel_extractor = nn.ParameterDict({"melW": nn.Parameter(torch.zeros(BINS, MELS), requires_grad=False)})
        self.bn = nn.BatchNorm2d(2, affine=False)
        self.conv_downsample = nn.Sequential(nn.Conv2d(4, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1), nn.GELU())
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)})
        self.cls_tokens = nn.Parameter(torch.zeros(1, 3, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + FRAMES * MELS // PATCH**2, WIDTH), requires_grad=False)
        self.blocks = nn.ModuleList(EagerBlock(drop_path * block / (DEPTH - 1)) for block in range(DEPTH))
        self.dis_norm, self.doa_norm, self.fc_norm = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(3))
        self.head, self.distance_head = nn.Linear(WIDTH, 355), nn.Linear(WIDTH, 21)
        self.azimuth_head, self.elevation_head = nn.Linear(WIDTH, 360), nn.Linear(WIDTH, 180)

    def forward(self, dry: Tensor, rir: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.read_heads(self.encode_maps(self.front_end(convolve_full(dry, rir))))

    def front_end(self, waveform: Tensor) -> Tensor:
        """(B, 2, N) → (B, 4, 1024, 128)."""
        batch = len(waveform)
        real, imag = self.spectrogram_extractor(waveform.flatten(0, 1)[:, None])
        real, imag = (part.view(batch, 2, -1, BINS) for part in (real, imag))
        mel = (real**2 + imag**2).sqrt() @ self.logmel_extractor["melW"]
        mel = self.bn(10.0 * torch.log10(torch.clamp(mel, min=1e-10)))
        phase = torch.atan2(imag, real)
        difference = (phase[:, 1] - phase[:, 0])[:, None]
        maps = [part @ self.logmel_extractor["melW"] for part in (difference.cos(), difference.sin())]
        stacked = torch.cat((mel, *maps), dim=1)
        return F.interpolate(stacked, (FRAMES, MELS), mode="bicubic", align_corners=True)

    def encode_maps(self, maps: Tensor) -> Tensor:
        """Tokens after the last block."""
        maps = self.conv_downsample(maps)
        if self.training:
            for axis, longest in self.spec:
                maps = mask_axis(maps, axis, longest)
        x = self.patch_embed["proj"](maps).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        if self.training and self.mask:
            x = self.keep_random(x)
        x = torch.cat((self.cls_tokens.expand(len(x), -1, -1), x), dim=1)
        for block in self.blocks:
            x = block(x)
        return x

    def keep_random(self, x: Tensor) -> Tensor:
        """Random rows in time, then random columns in frequency, of each clip, by gather."""
        batch, _, width = x.shape
        rows, columns = FRAMES // PATCH, MELS // PATCH
        x = x.view(batch, rows, columns, width)
        for axis, size in ((1, rows), (2, columns)):
            order = torch.rand(batch, size, device=x.device).argsort(dim=1)[:, : int(size * (1 - self.mask))]
            index = order[:, :, None, None] if axis == 1 else order[:, None, :, None]
            shape = [
                batch,
                order.shape[1] if axis == 1 else x.shape[1],
                order.shape[1] if axis == 2 else columns,
                width,
            ]
            x = x.gather(axis, index.expand(shape))
        return x.flatten(1, 2)

    def read_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Class, distance, azimuth, elevation."""
        direction = self.doa_norm(x[:, 1])
        distance = self.distance_head(self.dis_norm(x[:, 0]))
        return self.head(self.fc_norm(x[:, 2])), distance, self.azimuth_head(direction), self.elevation_head(direction)


def convolve_full(dry: Tensor, rir: Tensor) -> Tensor:
    """(B, 1, 320000) ⊛ (B, 2, 64000) at their exact full length, which has a large prime factor."""
    size = dry.shape[-1] + rir.shape[-1] - 1
    return torch.fft.irfft(torch.fft.rfft(dry, size) * torch.fft.rfft(rir, size), size)[..., :CLIP_SAMPLES]


def mask_axis(maps: Tensor, axis: int, longest: int) -> Tensor:
    """SpecAugment with one mask for the batch."""
    length = float(torch.rand(())) * longest
    start = int(float(torch.rand(())) * (maps.shape[axis] - length))
    place = torch.arange(maps.shape[axis], device=maps.device)
    hidden = (place >= start) & (place < start + int(length))
    return maps.masked_fill(hidden[:, None] if axis == 2 else hidden, 0.0)


class ConvolutionStft(nn.Module):
    """The windowed Fourier matrix as two frozen convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_real, self.conv_imag = (nn.Conv1d(1, BINS, N_FFT, HOP, bias=False) for _ in range(2))
        for convolution in (self.conv_real, self.conv_imag):
            convolution.weight.requires_grad_(False)

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(sound, (N_FFT // 2, N_FFT // 2), mode="reflect")
        return self.conv_real(padded).transpose(1, 2), self.conv_imag(padded).transpose(1, 2)


class EagerAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        query, key, value = self.qkv(x).reshape(batch, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        share = ((query @ key.transpose(-2, -1)) * (WIDTH // HEADS) ** -0.5).softmax(dim=-1)
        return self.proj((share @ value).transpose(1, 2).reshape(batch, tokens, WIDTH))


class EagerBlock(nn.Module):
    def __init__(self, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = EagerAttention()
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 4 * WIDTH), "fc2": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))))

    def drop(self, x: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return x
        keep = 1 - self.drop_path
        return x.div(keep) * (keep + torch.rand(len(x), 1, 1, device=x.device)).floor()
