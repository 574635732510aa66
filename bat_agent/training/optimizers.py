"""What a stage trains, how fast, and with which optimiser: AdamW, or Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bat_agent.distributed import whole
from bat_agent.distributed.sharding import is_sharded, placed_like
from bat_agent.errors import BadInput
from bat_agent.recipes.schema import Stage
from bat_agent.training.muon import Float32Muon, lacks_bfloat16

NO_MATRIX = ("embed", "tokens", "queries", "place")
"""Parts of the names of two-dimensional parameters that are lists of vectors and not linear maps."""
_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
_FUSED_ON = ("cpu", "cuda")


class Optimizers:
    """All optimisers of one stage, driven as one."""

    def __init__(self, module: nn.Module, stage: Stage) -> None:
        self.stage = stage
        groups = parameter_groups(module, stage)
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        if not self.parameters:
            raise BadInput(
                f"stage {stage.name!r} has nothing to train: {type(module).__name__} has no parameters that it does "
                f"not freeze; name another {stage.trains}, or change frozen"
            )
        self._all: list[tuple[torch.optim.Optimizer, float]] = []
        if stage.muon and is_sharded(module):
            raise BadInput(f"stage {stage.name!r}: muon needs whole matrices; set muon to 0, or sharding to none")
        if stage.muon:
            matrices, groups = _split_matrices(module, groups)
            # With this scale an update is as large as AdamW's, so that one learning rate serves both.
            kind = Float32Muon if lacks_bfloat16(self.parameters[0].device) else torch.optim.Muon
            muon = kind(matrices, lr=0.0, weight_decay=stage.weight_decay, adjust_lr_fn="match_rms_adamw")
            self._all.append((muon, stage.muon))
        # One pass over memory instead of ten; without it the step of an 86-million-parameter encoder takes three times
        # as long on a CPU.
        fused = all(p.device.type in _FUSED_ON and p.is_floating_point() for p in self.parameters)
        adamw = torch.optim.AdamW(groups, lr=0.0, betas=(stage.betas[0], stage.betas[1]), fused=fused)
        self._all.append((adamw, 1.0))

    def zero(self) -> None:
        """Forget the gradients; what follows are backward passes, which add up."""
        for optimizer, _ in self._all:
            optimizer.zero_grad(set_to_none=True)

    def update(self, rate: float) -> Tensor:
        """One step at learning rate ``rate`` along the gradient; returns the norm of the gradient, which is clipped.

        A gradient that is not finite changes nothing; the caller sees it by the norm.
        """
        norm = whole(nn.utils.clip_grad_norm_(self.parameters, self.stage.clip_norm))
        if bool(norm.isfinite()):
            for optimizer, factor in self._all:
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor * group.get("scale", 1.0)
                optimizer.step()
        return norm

    def step(self, loss: Tensor, rate: float) -> Tensor:
        """:meth:`zero`, backward from ``loss`` and :meth:`update` in one."""
        self.zero()
        loss.backward()
        return self.update(rate)

    def state(self) -> dict[str, Tensor]:
        """Everything to go on from, as tensors by name."""
        tensors: dict[str, Tensor] = {}
        for number, (optimizer, _) in enumerate(self._all):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{number}.{index}.{key}": whole(torch.as_tensor(value)) for key, value in state.items()}
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        saved: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._all]
        for name, value in tensors.items():
            number, index, key = name.split(".")
            saved[int(number)].setdefault(int(index), {})[key] = value
        for (optimizer, _), state in zip(self._all, saved, strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for place, values in state.items():
                state[place] = {key: placed_like(value, parameters[place]) for key, value in values.items()}
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def trained_parameters(module: nn.Module, stage: Stage) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that the stage trains: what can be trained at all, less what it freezes."""
    frozen = tuple(stage.frozen)
    every = list(module.named_parameters())
    trained = [(name, p) for name, p in every if p.requires_grad and not (frozen and name.startswith(frozen))]
    if frozen and not any(name.startswith(frozen) for name, _ in every):
        raise BadInput(f"stage {stage.name!r} freezes nothing: no parameter name begins with one of {stage.frozen}")
    return trained


@contextmanager
def only_trained(module: nn.Module, stage: Stage) -> Iterator[None]:
    """Within: no gradient is computed for what the stage freezes, in vain here and between processes."""
    kept = {id(p) for _, p in trained_parameters(module, stage)}
    frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in kept]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def parameter_groups(module: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """What the stage trains, in groups for an optimiser with their ``weight_decay`` and their ``scale``, the factor of
    the learning rate. Matrices decay; vectors, class tokens and queries do not.
    """
    trained = trained_parameters(module, stage)
    scales = layer_scales([name for name, _ in trained], stage)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    decays = {name: p.ndim > 1 and "tokens" not in name and "queries" not in name for name, p in trained}
    for name, parameter in sorted(trained, key=lambda pair: not decays[pair[0]]):
        groups.setdefault((stage.weight_decay if decays[name] else 0.0, scales[name]), []).append(parameter)
    return [{"params": params, "weight_decay": decay, "scale": scale} for (decay, scale), params in groups.items()]


def layer_scales(names: list[str], stage: Stage) -> dict[str, float]:
    """The factor of each parameter's learning rate: with ``layer_decay`` d and N blocks, d^(N + 1) for the patch
    embedding, d^(N − k) for block k, 1 for all else, as the released trainer of Spatial-AST has it.
    """
    if stage.layer_decay == 1:
        return dict.fromkeys(names, 1.0)
    blocks = {name: int(found[1]) for name in names if (found := _BLOCK.search(name))}
    if not blocks:
        raise BadInput(
            f"stage {stage.name!r}: layer_decay needs parameters named blocks.0.…, blocks.1.…, which the "
            f"{stage.trains} does not have; set layer_decay to 1"
        )
    depth = 1 + max(blocks.values())
    below = {name: depth - block for name, block in blocks.items()}
    below |= {name: depth + 1 for name in names if name.startswith("patch_embed")}
    return {name: stage.layer_decay ** below.get(name, 0) for name in names}


def _split_matrices(
    module: nn.Module, groups: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The linear maps, group by group, and the groups without them."""
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    matrices: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for group in groups:
        linear = [p.ndim == 2 and not any(word in name_of[id(p)] for word in NO_MATRIX) for p in group["params"]]
        for into, wanted in ((matrices, True), (rest, False)):
            chosen = [p for p, is_linear in zip(group["params"], linear, strict=True) if is_linear == wanted]
            if chosen:
                into.append({**group, "params": chosen})
    return matrices, rest


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step: linear warm-up, then half a cosine down to ``lowest``."""

    steps: int
    warmup_steps: int
    peak: float
    lowest: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0; the first is not at rate 0, which would learn nothing."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lowest + (self.peak - self.lowest) * 0.5 * (1 + math.cos(math.pi * done))


def schedule(stage: Stage, clips_per_step: float) -> Schedule:
    """The learning rates of a stage whose ``steps`` are known, with ``clips_per_step`` clips of all processes."""
    share = stage.warmup_epochs / stage.epochs if stage.warmup_epochs is not None and stage.epochs else stage.warmup
    peak = stage.learning_rate * (clips_per_step / 256 if stage.per_256 else 1.0)
    return Schedule(stage.steps, max(1, round(share * stage.steps)), peak, stage.min_learning_rate)
