"""The first convolution of :mod:`.graph`, of a clip and of its mirror image at once.

The mirrored maps are the clip's own, with the ears exchanged and the sine negated. A convolution of them is another
convolution of the clip's own maps, so that what takes longest of it, to lay the neighbours of each place side by side,
is done once. The ears are normalised differently, if by little: the constant between them enters by a map of ones, as
beyond the edges there are zeros after it is added.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bat_agent_spatial_ast.front_end import Heard, front_end

LEFT, RIGHT, COSINE, SINE = range(4)


class MirroredStem(nn.Module):
    """The ``conv_downsample`` of an encoder whose norms are fixed (:class:`.graph.FixedNorm`), for two."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        stem, norm, self.after = encoder.conv_downsample
        weight, factor, summand = (v.detach().double() for v in (stem.weight, norm.factor, norm.summand))
        weight = weight * factor[..., None]
        mirrored = torch.zeros_like(weight)
        constant = torch.zeros_like(weight[:, :1])
        scale, shift = (v.detach().double().flatten() for v in (encoder.bn.factor, encoder.bn.summand))
        for ear, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            # An ear as the other is normalised: (scale / scale of the other) times that, and a constant.
            ratio = scale[ear] / scale[other]
            mirrored[:, other] = weight[:, ear] * ratio
            constant += weight[:, ear : ear + 1] * (shift[ear] - shift[other] * ratio)
        mirrored[:, COSINE], mirrored[:, SINE] = weight[:, COSINE], -weight[:, SINE]
        both = torch.cat((torch.cat((weight, torch.zeros_like(constant)), 1), torch.cat((mirrored, constant), 1)))
        self.stem = nn.Conv2d(both.shape[1], both.shape[0], 3, padding=1)
        self.stem.load_state_dict({"weight": both.float(), "bias": summand.flatten().repeat(2).float()})

    def forward(self, maps: Float[Tensor, "B 4 T M"]) -> Float[Tensor, "2*B C T M"]:
        """Those of the clips, then those of the clips with their ears swapped."""
        found = self.stem(torch.cat((maps, torch.ones_like(maps[:, :1])), dim=1))
        return self.after(found.unflatten(1, (2, -1)).transpose(0, 1).flatten(0, 1))


def take_over(encoder: Any) -> None:
    """Let the encoder's front end give what its first convolution makes of clips and their mirror images."""
    stem = encoder.stem = MirroredStem(encoder)
    encoder.conv_downsample = nn.Identity()

    def hear(waveform: Tensor, mirrored: bool = False, known: tuple[Tensor, Tensor] | None = None) -> Heard:
        heard = front_end(waveform, encoder.logmel_extractor.melW, encoder.bn, encoder.config, known=known)
        return heard._replace(maps=stem(heard.maps))

    encoder._front_end = hear
