"""What a stage trains, and with which optimiser: AdamW, or Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.config import Stage
from bat_agent.errors import BadInput

NO_MATRIX = ("embed", "tokens", "queries", "place")
"""Parts of the names of two-dimensional parameters that are lists of vectors and not linear maps."""


class Optimizers:
    """All optimisers of one stage, driven as one."""

    def __init__(self, module: nn.Module, stage: Stage) -> None:
        self.stage = stage
        groups = parameter_groups(module, stage)
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self._all: list[tuple[torch.optim.Optimizer, float]] = []
        if stage.muon:
            names = {id(parameter): name for name, parameter in module.named_parameters()}
            matrices = [p for p in groups[0]["params"] if p.ndim == 2 and not any(n in names[id(p)] for n in NO_MATRIX)]
            chosen = {id(p) for p in matrices}
            groups[0]["params"] = [p for p in groups[0]["params"] if id(p) not in chosen]
            # With this scale an update is as large as AdamW's, so that one learning rate serves both.
            muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=stage.weight_decay, adjust_lr_fn="match_rms_adamw")
            self._all.append((muon, stage.muon))
        self._all.append((torch.optim.AdamW(groups, lr=0.0, betas=(stage.betas[0], stage.betas[1])), 1.0))

    def step(self, loss: Tensor, rate: float) -> Tensor:
        """Backward and one step at learning rate ``rate``; returns the norm of the gradient, which is clipped.

        A gradient that is not finite changes nothing; the caller sees it by the norm.
        """
        for optimizer, factor in self._all:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.stage.clip_norm)
        if bool(norm.isfinite()):
            for optimizer, _ in self._all:
                optimizer.step()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Everything to go on from, as tensors by name."""
        tensors: dict[str, Tensor] = {}
        for number, (optimizer, _) in enumerate(self._all):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{number}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        saved: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._all]
        for name, value in tensors.items():
            number, index, key = name.split(".")
            saved[int(number)].setdefault(int(index), {})[key] = value
        for (optimizer, _), state in zip(self._all, saved, strict=True):
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def parameter_groups(module: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """What the stage trains. Matrices decay; vectors, class tokens and queries do not."""
    frozen = tuple(stage.frozen)
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad and not name.startswith(frozen)]
    if frozen and len(trained) == sum(p.requires_grad for p in module.parameters()):
        raise BadInput(f"stage {stage.name!r} freezes nothing: no parameter name begins with one of {stage.frozen}")
    decays = [p for name, p in trained if p.ndim > 1 and "tokens" not in name and "queries" not in name]
    chosen = {id(p) for p in decays}
    return [
        {"params": decays, "weight_decay": stage.weight_decay},
        {"params": [p for _, p in trained if id(p) not in chosen], "weight_decay": 0.0},
    ]


def learning_rate(stage: Stage, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warm = max(1, round(stage.warmup * stage.steps))
    if step < warm:
        return stage.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, stage.steps - warm)
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
