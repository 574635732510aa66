"""A mixture of Spatial-ASTs as a graph of plain operators, of the graphs of its experts (:mod:`.graph`)."""

from __future__ import annotations

import copy
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from bat_agent_spatial_ast.blending import blended, shares_of
from bat_agent_spatial_ast.graph import FramedGraph, fix_norms, named


class ExpertsGraph(nn.Module):
    """Every expert is computed for every clip: a graph has no way around one."""

    def __init__(self, mixture: Any) -> None:
        """From a :class:`~bat_agent_spatial_ast.experts.SpatialASTExperts`, which stays as it is."""
        super().__init__()
        self.experts = nn.ModuleList(FramedGraph(expert) for expert in mixture.experts)
        self.gate = copy.deepcopy(mixture.gate).eval().float().cpu()
        fix_norms(self.gate)
        self.least_share = mixture.config.least_share
        first = self.experts[0]
        assert isinstance(first, FramedGraph)
        self.frames, self.inputs, self.outputs = first.frames, first.inputs, first.outputs

    def forward(
        self,
        waveform: Float[Tensor, "B 2 N"],
        mel: Float[Tensor, "B 2 T 128"],
        phase: Float[Tensor, "B 2 T 128"],
        level_known: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """As the graph of one; all hear the same frames."""
        said: list[Any] = [expert.encoding(waveform, mel, phase, level_known) for expert in self.experts]  # type: ignore[operator]
        last: Any = self.experts[-1]
        summary = last.encoder.place_summary(waveform, remember=True)
        return named(blended(said, shares_of(self.gate, summary, self.least_share)), self.outputs)
