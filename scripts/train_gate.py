"""Join two models whose encoders are Spatial-ASTs: train the gate that hears which world a clip is from.

    python scripts/train_gate.py bat-small runs/bat-small-real-places/agent -o runs/joined/bat-small-real

The first model is that of simulators (the heads and rooms of the recipe ``bat-small``), the second that of microphones
(``bat-small-real``: other people's heads, and recordings that end below 16 kHz with any head). Clips of both worlds
are drawn, of each its interaural means are kept, and the gate learns which world they are from. Rooms and clips are
others than those that the models were trained on; sounds are those of training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bat_agent.agent import Bat
from bat_agent.clips import corpus
from bat_agent.clips.mixtures import Mixtures
from bat_agent.recipes.loading import load_recipe
from bat_agent.registry import load_encoder
from bat_agent.sound.waveform import fit
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.experts import LARGEST_INPUT, Gate, SpatialASTExperts

SEED, SECONDS_PER_STEP, BATCH = 4242, 64.0, 128
FAVOUR, SHARPENED = 1.0, 1.7
"""Added to the trained logit of the first expert, and by what both are then multiplied: in the rooms of simulators as
much is heard as by that expert alone, and four clips of five go to one expert, which costs half. (Chosen on validation
clips other than those of the model card, and in the two measured rooms.)"""
SIMULATED, REAL = 0, 1
"""Places of the experts."""
HEAD = (
    '{head: $BAT_SHARED/data/hrtf/cipic_30_heads_32k.npz, without_subjects: ["010", "018", "051", "119", "137", "158"]'
)
OWN_ROOMS = (
    "{simulator: shoebox, options: {head: kemar}, scenes: 1500, valid_scenes: 10, sources: 4, seconds: 0.5}, "
    "{simulator: soundspaces, options: {houses: 60, houses_seed: 77, workers: 1}, scenes: 500, repeats: 2, "
    "valid_scenes: 10, sources: 4, seconds: 0.5}"
)
PEOPLE_ROOMS = (
    f"{{simulator: shoebox, options: {HEAD}, median_rt60_s: 0.33, rt60_sigma: 0.45, max_rt60_s: 1.0}}, scenes: 1500, "
    f"valid_scenes: 10, sources: 4, seconds: 0.6}}, {{simulator: shoebox, options: {HEAD}, materials: random, "
    "median_rt60_s: 0.4, rt60_sigma: 0.45, max_rt60_s: 1.0}, scenes: 1000, valid_scenes: 10, sources: 4, seconds: 0.6}"
)


LIMITED = ("mixing.capture.recorder_limit=1.0", "mixing.capture.limit_hz=[4000, 12000]")


class World(NamedTuple):
    """Clips of one kind."""

    recipe: str
    rooms: str
    changes: tuple[str, ...]
    share: float
    """Of all clips."""
    belongs_to: int
    """Which expert's it is."""


WORLDS = (
    World("bat-small", OWN_ROOMS, (), 0.5, SIMULATED),
    World("bat-small-real", PEOPLE_ROOMS, (), 0.2, REAL),
    World("bat-small-real", PEOPLE_ROOMS, LIMITED, 0.1, REAL),
    World("bat-small-real", OWN_ROOMS, LIMITED, 0.2, REAL),
)


def drawn(number: int, steps: int, rooms_dir: str) -> Iterator[Tensor]:
    """Batches of clips (B, 2, N) of a world, a quarter of them with two sources; silent ones are left out."""
    world = WORLDS[number]
    changes = [
        f"rooms=[{world.rooms}]", f"seed={SEED}", f"rooms_dir={rooms_dir}", "mixing.going_on=0.5",
        "mixing.window_seconds=[0.5, 1.0, 2.0, 4.0]", "mixing.window_weights=[0.1, 0.2, 0.35, 0.35]",
    ]  # fmt: skip
    recipe = load_recipe(world.recipe, [*changes, *world.changes])
    clips = Mixtures(
        corpus.open_pool(recipe, "train"), corpus.open_banks(recipe, "train"), recipe.mixing,
        seed=SEED + 1 + number, steps=steps, seconds_per_step=SECONDS_PER_STEP, two_sources=0.25,
    )  # fmt: skip
    for step in range(steps):
        batch = clips[step]
        yield batch.waveform[batch.truth.active.any(dim=1)]


def summaries(encoder: SpatialAST, number: int, clips: int, rooms_dir: str) -> Tensor:
    """(N, 2, V) float16: interaural means of clips of a world as they are, and with the ears swapped."""
    wanted, found, total = round(clips * WORLDS[number].share), [], 0
    for sound in drawn(number, clips, rooms_dir):
        rows = encoder.place_summary(fit(sound, encoder))[:, :, :-1]
        found.append(rows.half())
        total += len(rows)
        if len(found) % 50 == 0 or total >= wanted:
            print(f"world {number}: {total:,} of {wanted:,} clips", flush=True)
        if total >= wanted:
            break
    return torch.cat(found)[:wanted]


def train(gate: Gate, means: Tensor, world: Tensor, *, epochs: int, rate: float = 5e-4, decay: float = 0.3) -> None:
    """Cross-entropy; every clip is taken with or without its ears swapped, and some of its numbers are hidden."""
    held = torch.arange(len(means)) % 10 == 0
    learnt, labels = means[~held], world[~held]
    flat = learnt[:, 0].float()
    assert gate.norm.running_mean is not None
    assert gate.norm.running_var is not None
    gate.norm.running_mean.copy_(flat.mean(dim=0))
    gate.norm.running_var.copy_(flat.var(dim=0))
    gate.norm.eval()
    network = torch.nn.Sequential(
        gate.norm, torch.nn.Hardtanh(-LARGEST_INPUT, LARGEST_INPUT), torch.nn.Dropout(0.3), gate.first,
        torch.nn.GELU(), torch.nn.Dropout(0.4), gate.last,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=decay)
    steps = len(learnt) // BATCH
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * rate, total_steps=epochs * steps)
    for epoch in range(epochs):
        losses = []
        for some in torch.randperm(len(learnt))[: steps * BATCH].split(BATCH):
            loss = F.cross_entropy(network(learnt[some, torch.randint(2, (BATCH,))].float()), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            losses.append(loss.detach())
        with torch.no_grad():
            said = gate(means[held].flatten(0, 1).float()).unflatten(0, (-1, 2)).mean(dim=1)
        hits = (said.argmax(dim=1) == world[held]).float()
        right = " and ".join(f"{hits[world[held] == one].mean():.1%}" for one in (SIMULATED, REAL))
        print(
            f"epoch {epoch + 1} of {epochs}: loss {torch.stack(losses).mean():.3f}, of clips held back "
            f"{F.cross_entropy(said, world[held]):.3f}; worlds told right: {right}",
            flush=True,
        )


@torch.no_grad()
def sharpen(gate: Gate) -> None:
    """What is done to a trained gate."""
    gate.last.bias[SIMULATED] += FAVOUR
    for parameter in gate.last.parameters():
        parameter.mul_(SHARPENED)


def joined(bats: list[Bat]) -> Bat:
    """Both encoders with a gate that knows nothing; thresholds, reasoner and calibration are the first model's."""
    experts = [{**bat.config.encoder["options"]} for bat in bats]
    part: dict[str, Any] = {"name": "spatial-ast-experts", "options": {"experts": experts}}
    encoder: Any = load_encoder(part["name"], **part["options"])
    for expert, bat in zip(encoder.experts, bats, strict=True):
        expert.load_state_dict(bat.encoder.state_dict())
    return Bat(replace(bats[SIMULATED].config, encoder=part), encoder, lambda: bats[SIMULATED].reasoner)


def main() -> None:
    """Draw, train, write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulated", help="model of the heads and rooms of bat-small")
    parser.add_argument("real", help="model of other people's heads and microphones")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the joined model")
    parser.add_argument("--clips", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rooms-dir", default="runs/gate/rooms")
    asked = parser.parse_args()
    torch.manual_seed(SEED)
    bat = joined([Bat.from_pretrained(name, device="cpu") for name in (asked.simulated, asked.real)])
    encoder = bat.encoder
    assert isinstance(encoder, SpatialASTExperts)
    encoder.eval()
    kept = [summaries(encoder.last, number, asked.clips, asked.rooms_dir) for number in range(len(WORLDS))]
    world = torch.cat([torch.full((len(part),), each.belongs_to) for part, each in zip(kept, WORLDS, strict=True)])
    train(encoder.gate, torch.cat(kept), world, epochs=asked.epochs)
    sharpen(encoder.gate)
    bat.config = replace(bat.config, name=asked.out.name)
    bat.save_pretrained(asked.out, half=True)
    print(f"wrote {asked.out}; now: bat-agent evaluate calibrate {asked.out} --recipe bat-small-real --seconds 4")


if __name__ == "__main__":
    main()
