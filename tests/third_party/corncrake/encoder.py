from dataclasses import dataclass

import bat_agent.acoustics as levels
from bat_agent.features import NUM_MELS, binaural_features, mel_filterbank
from bat_agent.masking import keep_patches, spec_augment
from bat_agent.perception import Perception, Thresholds, perceive
from torch import Tensor, nn

from bat_agent import features
from bat_agent.interfaces import NUM_AZIMUTH_BINS, SAMPLE_RATE_HZ, Encoding
from bat_agent.labels import labels


@dataclass
class CorncrakeConfig:
    token_dim: int = 8


class Corncrake(nn.Module):
    sample_rate_hz = SAMPLE_RATE_HZ
    clip_seconds = 1.0
    num_tokens = 1

    def __init__(self, config: CorncrakeConfig) -> None:
        super().__init__()
        self.config, self.token_dim, self.labels = config, config.token_dim, labels()
        self.register_buffer("filters", mel_filterbank())
        self.project = nn.Linear(2 * NUM_MELS, config.token_dim)
        self.azimuth = nn.Linear(config.token_dim, NUM_AZIMUTH_BINS)

    def forward(self, waveform: Tensor) -> Encoding:
        mel, _ = binaural_features(waveform, self.filters)  # (B, 2, T, mels)
        mel = spec_augment(mel, 8, 8) if self.training else mel
        tokens = self.project(mel.mean(2).flatten(1))[:, None]
        return Encoding(tokens, azimuth_logits=self.azimuth(tokens[:, 0]))

    def heard(self, waveform: Tensor) -> list[Perception]:
        return perceive(self(waveform), self.labels, Thresholds())


__all__ = ["Corncrake", "CorncrakeConfig", "features", "keep_patches", "levels"]
