"""Teach a Spatial-AST which parts of the spectrogram are whose, where heads turn and walk (:mod:`.masks`).

    python scripts/train_masks.py bat-small -o runs/masks/bat-small

Walks through rooms of ``SemanticAudioGoal-v0`` are rendered source by source, so that what is true is known. Nothing of
the model changes but the network of its masks. Rooms and sounds are others than those that anything is tested in: seeds
from 800,000 on, sounds that are synthesised with another seed, and recordings of the folds that train (1 to 3; those
held back are of fold 4).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bat_agent.agent import Bat
from bat_agent.datasets.sound_libraries import open_sounds, procedural
from bat_agent.datasets.sounds import SoundSet
from bat_agent.hearing import arrivals
from bat_agent.hearing.arrays import MASK_ROWS
from bat_agent.hearing.sphere import Floats
from bat_agent.interfaces import NUM_MELS
from bat_agent.labels import class_number
from bat_agent.registry import load_encoder
from bat_agent.scenes.moving import StreamState, render_step
from bat_agent_envs.audio_goal import SemanticAudioGoalEnv
from bat_agent_envs.navigation import FORWARD, LEFT, RIGHT
from bat_agent_envs.world import Soundscape
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.masks import SlotMasks

RECORDINGS = "manifest:$BAT_SHARED/data/sounds/manifest.csv"
SOUNDS_SEED, CHANNELS, BATCH = 77, 16, 32
WINDOW_STEPS, EVERY = 8, 3
"""Steps of 0.25 s in a window, and from one window of a walk to the next."""
FAINTEST_DB = (-65.0, -70.0)
"""Mean square of the newest 0.25 s of goal and other (dB re 1), in windows that are learnt from."""


class Stems(Soundscape):
    """Each source is rendered by itself and kept."""

    def __init__(self, of: Soundscape) -> None:
        vars(self).update(vars(of))
        self._states: list[StreamState | None] = [None] * len(self._tracks)
        self.kept: list[NDArray[np.float32]] = []

    def step(self, scene: Any, seconds: float) -> NDArray[np.float32]:
        """As the sources together."""
        parts = []
        for number, track in enumerate(self._tracks):
            one = replace(scene, sources=(scene.sources[number],))
            samples = round(seconds * self._simulator.sample_rate_hz)
            heard, self._states[number] = render_step(self._simulator, one, [track], samples, self._states[number])
            parts.append(heard.numpy())
        self.kept.append(np.stack(parts))
        self._state = self._states[0]
        heard = self.kept[-1].sum(axis=0)
        return np.asarray(heard + self._noise * self._rng.standard_normal(heard.shape, np.float32), np.float32)


class Walks(SemanticAudioGoalEnv):
    """The environment, whose sources are kept apart."""

    def _begin(self) -> Any:
        super()._begin()
        self._soundscape = Stems(self._soundscape)
        return self._observe(collided=False), self._info()


class Window(NamedTuple):
    """Two seconds of a walk, goal first."""

    sound: NDArray[np.float32]
    """(2, N)"""
    share: NDArray[np.floating]
    """(25, 128) of the goal in what is new in each mel band of each stretch."""
    weight: NDArray[np.floating]
    """(25, 128) how much is new there."""
    classes: tuple[int, int]


def actions(env: Walks, rng: np.random.Generator) -> Iterator[int]:
    """Look around, then walk to the goal, straight on or around in circles, in turn."""
    look, steps, towards = rng.integers(0, 9), rng.integers(20, 44), 0.6 * rng.random() + 0.3
    what, left = 0, 0
    for step in range(steps):
        if step < look:
            yield LEFT
            continue
        if not left:
            left, what = int(rng.integers(2, 7)), 0 if rng.random() < towards else int(rng.integers(1, 4))
        left -= 1
        apart = (env.oracle_heading_deg() - env.world.heading_deg + 180) % 360 - 180
        to_goal = FORWARD if abs(apart) <= env.turn_deg / 2 else LEFT if apart > 0 else RIGHT
        yield (to_goal, FORWARD, LEFT, RIGHT)[what]


def windows(env: Walks, seed: int) -> Iterator[Window]:
    """Of one walk."""
    observation, _ = env.reset(seed=seed)
    stems = env._soundscape
    assert isinstance(stems, Stems)
    sounds = [observation["audio"]]
    goal, other = (class_number(source.labels[0]) for source in env.world.scene.sources)
    for action in actions(env, np.random.default_rng(seed)):
        sounds.append(env.step(action)[0]["audio"])
        if len(sounds) < WINDOW_STEPS or (len(sounds) - WINDOW_STEPS) % EVERY:
            continue
        newest = np.square(stems.kept[-1]).mean(axis=(1, 2))
        if (10 * np.log10(newest + 1e-12) > FAINTEST_DB).all():
            sound = np.concatenate(sounds[-WINDOW_STEPS:], axis=-1)
            apart = np.concatenate(stems.kept[-WINDOW_STEPS:], axis=-1)
            yield Window(sound, *true_share(sound, apart), (goal, other))


def true_share(sound: NDArray[np.floating], apart: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """(25, 128) share of the first of the sources (S, 2, N), and how much is new, of what :mod:`.arrivals` counts."""
    powers = _powers(apart)
    new = np.where(powers.sum(axis=0) < 1e-14, 0, arrivals._new_shares(_powers(sound)))
    low, part = arrivals._bands_of_bins()
    bands = np.zeros((len(low), NUM_MELS))
    bands[np.arange(len(low)), low] += 1 - part
    bands[np.arange(len(low)), low + 1] += part
    middle = (np.arange(len(new)) * arrivals.HOP + arrivals.FRAME / 2) / sound.shape[-1]
    row = np.minimum((middle * MASK_ROWS).astype(int), MASK_ROWS - 1)
    own, weight = np.zeros((2, MASK_ROWS, NUM_MELS))
    np.add.at(weight, row, new @ bands)
    np.add.at(own, row, (new * powers[0] / np.maximum(powers.sum(axis=0), 1e-20)) @ bands)
    return own / np.maximum(weight, 1e-9), weight


def _powers(sound: NDArray[np.floating]) -> Floats:
    """(…, T, F) of both ears (…, 2, N)."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, arrivals.FRAME, axis=-1)[..., :: arrivals.HOP, :]
    spectra = np.fft.rfft(frames * np.hanning(arrivals.FRAME), axis=-1)[..., arrivals._BINS]
    return np.asarray(np.square(np.abs(spectra)).sum(axis=-3), np.float64)


@torch.inference_mode()
def heard(encoder: SpatialAST, some: list[Window]) -> dict[str, Tensor]:
    """What the network of masks learns from, of windows as they are and, on the second axis, with swapped ears."""
    sound = torch.from_numpy(np.stack([one.sound for one in some]))
    found = encoder._listen(sound, heads_only=False, mirrored=True)
    assert found.sums is not None
    said = encoder._read_slots(found)[0].slots
    assert said is not None
    assert said.class_logits is not None
    own = found.tokens[:, : 3 * encoder.config.num_slots].unflatten(1, (-1, 3))[:, :, 2]
    patches = found.tokens[:, -MASK_ROWS:]
    classes = torch.tensor([one.classes for one in some]).repeat(2, 1)
    named = said.class_logits.sigmoid()[torch.arange(len(classes))[:, None, None], [[[0], [1]]], classes[:, None]]
    # The goal's slot first, so that both names together are likest.
    other_first = named[:, 0, 1] + named[:, 1, 0] > named[:, 0, 0] + named[:, 1, 1]
    order = torch.stack((other_first.long(), 1 - other_first.long()), dim=1)
    own = own[torch.arange(len(own))[:, None], order]
    both = {"inputs": SlotMasks.inputs(found.sums, MASK_ROWS), "slots": own, "patches": patches}
    kept = {name: torch.stack(value.half().chunk(2), dim=1) for name, value in both.items()}
    for name in ("share", "weight"):
        kept[name] = torch.from_numpy(np.stack([getattr(one, name) for one in some])).half()
    return kept


def collected(encoder: SpatialAST, sounds: SoundSet, walks: range) -> dict[str, Tensor]:
    """All windows of the walks of these seeds among such sounds."""
    env = Walks()
    env.sounds = sounds
    parts: list[dict[str, Tensor]] = []
    for number, seed in enumerate(walks, start=1):
        some = list(windows(env, seed))
        if some:
            parts.append(heard(encoder, some))
        if number % 100 == 0:
            print(f"{number:,} of {len(walks):,} walks", flush=True)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def loss_of(masks: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """(B,) mean cross-entropy of shares (B, 2, R, 128), by how much is new."""
    logs = masks.clamp(min=1e-4).log()
    lost = -(share * logs[:, 0] + (1 - share) * logs[:, 1])
    return (weight * lost).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1e-6)


def let_through(masks: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    """(B,) how much of what counts for the goal is the other's, with the masks squared, as :mod:`.arrivals` does."""
    counts = weight * masks[:, 0].square()
    return (counts * (1 - share)).sum(dim=(1, 2)) / counts.sum(dim=(1, 2)).clamp(min=1e-6)


def told(network: SlotMasks, data: dict[str, Tensor], some: Tensor, mirrored: int) -> Tensor:
    """Masks (B, 2, R, 128) of some windows, the goal's first."""
    return network(*(data[name][some, mirrored].float() for name in ("inputs", "slots", "patches")))


@torch.no_grad()
def report(network: SlotMasks, data: dict[str, Tensor]) -> str:
    """How good masks are, in words."""
    network.eval()
    found = []
    for some in torch.arange(len(data["share"])).split(2 * BATCH):
        masks, share, weight = told(network, data, some, 0), data["share"][some].float(), data["weight"][some].float()
        found.append(
            torch.stack((
                loss_of(masks, share, weight), let_through(masks, share, weight),
                let_through(masks.flip(1), 1 - share, weight),
            ), dim=1)
        )  # fmt: skip
    network.train()
    loss, of_other, of_goal = torch.cat(found).mean(dim=0).tolist()
    return f"cross-entropy {loss:.3f}, of the other let through {of_other:.3f}, of the goal {of_goal:.3f}"


def train(
    network: SlotMasks, data: dict[str, Tensor], held: dict[str, dict[str, Tensor]], epochs: int, rate: float
) -> None:
    """Cross-entropy; every batch is taken with or without its ears swapped. After each epoch what is ``held`` back."""
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    batches = len(data["share"]) // BATCH
    total = epochs * batches
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: min(1, done / 100) * (1 - done / total) + 1e-4)
    for epoch in range(epochs):
        losses = []
        for some in torch.randperm(len(data["share"]))[: batches * BATCH].split(BATCH):
            masks = told(network, data, some, int(torch.randint(2, ())))
            loss = loss_of(masks, data["share"][some].float(), data["weight"][some].float()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            losses.append(loss.detach())
        mean = torch.stack(losses).mean()
        print(f"epoch {epoch + 1} of {epochs}: loss {mean:.3f}", flush=True)
        for name, some in held.items():
            print(f"  held back, {name}: {report(network, some)}", flush=True)


def with_masks(bat: Bat) -> Bat:
    """The model with a network of masks that knows nothing, whether or not it had one."""
    options = {**bat.config.encoder["options"], "mask_channels": CHANNELS}
    encoder: Any = load_encoder("spatial-ast", **options)
    kept = {name: value for name, value in bat.encoder.state_dict().items() if not name.startswith("slot_masks.")}
    encoder.load_state_dict(kept, strict=False)
    config = replace(bat.config, encoder={"name": "spatial-ast", "options": options})
    return Bat(config, encoder, lambda: bat.reasoner)


def main() -> None:
    """Walk, train, write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="with an encoder spatial-ast whose patches span all bands, with direct_sound")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the model that is written")
    parser.add_argument(
        "--walks", type=int, default=1500, help="among synthesised sounds; a third as many more among recordings"
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-3)
    asked = parser.parse_args()
    torch.manual_seed(0)
    bat = with_masks(Bat.from_pretrained(asked.model, device="cpu"))
    encoder = bat.encoder
    assert isinstance(encoder, SpatialAST)
    encoder.eval()
    made, recorded = procedural(seed=SOUNDS_SEED), open_sounds(RECORDINGS)
    parts = [
        collected(encoder, made, range(900_000, 900_000 + asked.walks)),
        collected(encoder, recorded.filter(folds=(1, 2, 3)), range(950_000, 950_000 + asked.walks // 3)),
    ]
    data = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    held = {
        "synthesised": collected(encoder, made, range(800_000, 800_100)),
        "recorded": collected(encoder, recorded.filter(folds=(4,)), range(810_000, 810_060)),
    }
    print(f"{len(data['share']):,} windows", flush=True)
    network = encoder.slot_masks.requires_grad_(requires_grad=True).train()
    train(network, data, held, asked.epochs, asked.rate)
    network.eval()
    bat.save_pretrained(asked.out, half=True)
    print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
