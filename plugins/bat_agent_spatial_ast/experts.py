"""Several Spatial-ASTs that know different worlds, and a gate that hears from a clip how much each of them counts.

A mixture of experts (Jacobs et al., 1991): one was trained with the heads and rooms of simulators, another with other
people's heads and the world of microphones, and each is better at its own. The gate sees the interaural means of the
whole clip (:mod:`.summary`), in which head, band limits and noise show. What is said is the mean of all, by share; an
expert with next to no share is not asked at all.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn

from bat_agent.checkpoint import WEIGHTS_FILE, find_weights, load_state, read_tensors, write_tensors
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent_spatial_ast.blending import blended, shares_of
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.experts_config import SpatialASTExpertsConfig
from bat_agent_spatial_ast.packed import packed, unpacked

if TYPE_CHECKING:
    from typing_extensions import Self

    from bat_agent_spatial_ast.experts_graph import ExpertsGraph

LARGEST_INPUT = 5.0
"""Standard deviations up to which the gate looks at a number."""


class Gate(nn.Module):
    """How much each expert counts for a clip, from the interaural means of all of it."""

    def __init__(self, inputs: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs, affine=False)
        self.first, self.last = nn.Linear(inputs, hidden), nn.Linear(hidden, experts)

    def forward(self, means: Float[Tensor, "B V"]) -> Float[Tensor, "B E"]:
        """Logits."""
        seen = self.norm(means).clamp(-LARGEST_INPUT, LARGEST_INPUT)
        found: Tensor = self.last(nn.functional.gelu(self.first(seen)))
        return found


class SpatialASTExperts(nn.Module):
    """The encoder; heads as those of one Spatial-AST, tokens those of the expert that counts most."""

    def __init__(self, config: SpatialASTExpertsConfig) -> None:
        super().__init__()
        self.config = config
        self.experts = nn.ModuleList(SpatialAST(each) for each in config.built())
        first = self.first
        self.gate = Gate(self.last.slot_summary.num_means, config.gate_hidden, len(self.experts))
        self.sample_rate_hz, self.clip_seconds = first.sample_rate_hz, first.clip_seconds
        self.fixed_length, self.labels = first.fixed_length, first.labels
        self.token_dim, self.num_tokens = first.token_dim, first.num_tokens
        for expert in self.experts:  # one spectrogram for all
            expert._frames = first._frames  # type: ignore[assignment]

    @property
    def first(self) -> SpatialAST:
        """The first expert."""
        found = self.experts[0]
        assert isinstance(found, SpatialAST)
        return found

    @property
    def last(self) -> SpatialAST:
        """The last expert, through whose front end the gate hears."""
        found = self.experts[-1]
        assert isinstance(found, SpatialAST)
        return found

    @property
    def level_known(self) -> bool | Tensor:
        """Whether the level of clips says something."""
        return self.first.level_known

    @level_known.setter
    def level_known(self, known: bool | Tensor) -> None:
        for expert in self.experts:
            expert.level_known = known  # type: ignore[assignment]

    def forward(self, waveform: Float[Tensor, "B 2 N"]) -> Encoding:
        """Encode clips, as :class:`~bat_agent_spatial_ast.encoder.SpatialAST` does."""
        shares = self.shares(waveform)
        said = []
        for expert, share in zip(self.experts, shares.unbind(dim=1), strict=True):
            asked = share.nonzero()[:, 0]
            said.append(_of_all(expert(waveform[asked]), asked, len(waveform)) if len(asked) else None)
        return blended([one for one in said if one is not None], shares[:, [one is not None for one in said]])

    def shares(self, waveform: Float[Tensor, "B 2 N"]) -> Float[Tensor, "B E"]:
        """How much each expert counts for each clip, the same with the ears swapped; the shares sum to 1."""
        return shares_of(self.gate, self.last.place_summary(waveform, remember=True), self.config.least_share)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode of the experts; the gate is trained by itself."""
        super().train(mode)
        self.gate.eval()
        return self

    def graph(self) -> ExpertsGraph:
        """As plain operators on tensors, to be exported to ONNX; there every expert is computed for every clip."""
        from bat_agent_spatial_ast.experts_graph import ExpertsGraph

        return ExpertsGraph(self)

    def load_weights(self, path: Path | str) -> None:
        """Fill the encoder from a file or folder that :meth:`save_weights` wrote."""
        file = find_weights(path)
        load_state(self, unpacked(read_tensors(file)), str(file))

    def save_weights(self, directory: Path | str, *, half: bool = False) -> None:
        """Write ``model.safetensors``; with ``half`` large matrices as int8 with a scale for each row."""
        state = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        write_tensors(Path(directory) / WEIGHTS_FILE, packed(state) if half else state)


def _of_all(encoding: Encoding, rows: Tensor, clips: int) -> Encoding:
    """An encoding of some clips as one of all, zeros elsewhere."""
    if len(rows) == clips:
        return encoding

    def spread(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, SlotEncoding):
            return SlotEncoding(**{field.name: spread(getattr(value, field.name)) for field in fields(value)})
        found = value.new_zeros(clips, *value.shape[1:])
        found[rows] = value
        return found

    return Encoding(**{field.name: spread(getattr(encoding, field.name)) for field in fields(encoding)})
