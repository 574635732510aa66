from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bat_agent import Encoding
from bat_agent.labels import labels


@dataclass
class NightjarConfig:
    token_dim: int = 8
    num_tokens: int = 5
    band_hz: tuple[float, float] = (50.0, 14_000.0)
    shape: tuple[int, ...] = ()


class Nightjar(nn.Module):
    sample_rate_hz = 32_000
    clip_seconds = 2.0

    def __init__(self, config: NightjarConfig) -> None:
        super().__init__()
        self.config = config
        self.token_dim, self.num_tokens, self.labels = config.token_dim, config.num_tokens, labels()
        self.project = nn.Linear(2, config.token_dim)
        self.azimuth = nn.Linear(config.token_dim, 360)

    def forward(self, waveform: Tensor) -> Encoding:
        level = waveform.unflatten(2, (self.num_tokens, -1)).square().mean(3).transpose(1, 2)  # (B, K, 2)
        tokens = self.project(torch.log(level + 1e-8))
        return Encoding(tokens, azimuth_logits=self.azimuth(tokens.mean(1)))
