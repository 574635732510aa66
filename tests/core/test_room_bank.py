"""The bank of rendered rooms: made once, the same for ever, never mistaken for another, never half written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bat_agent.clips import room_bank
from bat_agent.clips.room_bank import RoomBank, open_bank
from bat_agent.errors import BadInput
from bat_agent.scene import Scene
from bat_agent_echo.config import EchoSimulatorConfig
from bat_agent_echo.echo import EchoSimulator

SECONDS = 0.02
TAPS = 640


class Counting(EchoSimulator):
    """The null simulator, counting and able to fail."""

    def __init__(self, fail_after: int = 10**9, **options: Any) -> None:
        super().__init__(EchoSimulatorConfig(**options))
        self.rendered, self.fail_after = 0, fail_after

    def render(self, scene: Scene) -> list[torch.Tensor]:
        self.rendered += 1
        if self.rendered > self.fail_after:
            raise OSError("no space left on device")
        return super().render(scene)


class Batched(Counting):
    """One that renders many scenes at once."""

    def render_batch(self, scenes: Sequence[Scene], taps: int) -> torch.Tensor:
        return torch.stack([room_bank.fit_length(rir, taps) for scene in scenes for rir in self.render(scene)])


def bank(folder: Path, simulator: Any = None, **changes: Any) -> RoomBank:
    simulator = simulator or Counting()
    options = {"scenes": 5, "sources": 2, "seconds": SECONDS, "seed": 3} | changes
    description = options.pop("description", {"simulator": "echo", "options": {}})
    return open_bank(folder, simulator, description, **options)


def test_the_bank_holds_what_the_simulator_renders(tmp_path: Path) -> None:
    """Each RIR is its scene's own, to the half-precision rounding of 2⁻¹¹."""
    made = bank(tmp_path)
    assert made.rirs.shape == (5, 2, 2, TAPS)
    for number, scene in enumerate(made.scenes):
        for source, rir in enumerate(EchoSimulator(EchoSimulatorConfig()).render(scene)):
            wanted = room_bank.fit_length(rir, TAPS)
            torch.testing.assert_close(made.rir(number, source), wanted, rtol=2**-11, atol=1e-7)
            assert made.rir(number, source).dtype == torch.float32


def test_rooms_that_are_repeated_count_so_often_and_stay_the_same(tmp_path: Path) -> None:
    once = bank(tmp_path)
    thrice = replace(once, repeats=3)
    assert len(thrice) == 3 * len(once)
    rng = np.random.default_rng(0)
    rows = [list(thrice.place(number, rng).rows) for number in range(len(thrice))]
    assert rows == 3 * [list(once.place(number, rng).rows) for number in range(len(once))]


def test_rirs_stay_on_disk(tmp_path: Path) -> None:
    assert isinstance(bank(tmp_path).rirs, np.memmap)


def test_the_second_time_nothing_is_rendered(tmp_path: Path) -> None:
    simulator = Counting()
    first, second = bank(tmp_path, simulator), bank(tmp_path, simulator)
    assert simulator.rendered == 5
    assert first.scenes == second.scenes
    np.testing.assert_array_equal(first.rirs, second.rirs)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        bank(tmp_path / folder)
    files = [sorted((tmp_path / folder).iterdir()) for folder in ("a", "b")]
    assert [f.name for f in files[0]] == [f.name for f in files[1]]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


@pytest.mark.parametrize(
    "changed",
    [
        {"scenes": 6},
        {"sources": 1},
        {"seconds": 0.03},
        {"seed": 4},
        {"description": {"simulator": "echo", "options": {"head_shadow_db": 3.0}}},
        {"description": {"simulator": "other", "options": {}}},
    ],
)
def test_any_change_makes_another_file(tmp_path: Path, changed: dict[str, Any]) -> None:
    bank(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    bank(tmp_path, **changed)
    assert len(list(tmp_path.iterdir())) == 4
    assert all(file.stat().st_mtime_ns == at for file, at in before.items())


def test_the_order_of_options_is_no_change(tmp_path: Path) -> None:
    bank(tmp_path, description={"a": 1, "b": 2})
    bank(tmp_path, description={"b": 2, "a": 1})
    assert len(list(tmp_path.iterdir())) == 2


def test_a_longer_bank_begins_with_the_shorter_one(tmp_path: Path) -> None:
    short, long = bank(tmp_path), bank(tmp_path, scenes=9)
    assert long.scenes[:5] == short.scenes
    np.testing.assert_array_equal(long.rirs[:5], short.rirs)


@pytest.mark.parametrize("scenes", [1, 2, 4, 5])
def test_rendering_in_portions_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenes: int) -> None:
    monkeypatch.setattr(room_bank, "RENDER_AT_ONCE", 2)
    seen: list[tuple[int, int]] = []
    portions = bank(tmp_path / "a", scenes=scenes, progress=lambda done, total: seen.append((done, total)))
    at_once = bank(tmp_path / "b", Batched(), scenes=scenes)
    np.testing.assert_array_equal(portions.rirs, at_once.rirs)
    assert seen[-1] == (scenes, scenes)
    assert len(seen) == -(-scenes // 2)


def test_a_full_disk_leaves_nothing_and_the_next_try_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was half rendered is gigabytes; it once stayed behind under another name after every interruption."""
    monkeypatch.setattr(room_bank, "RENDER_AT_ONCE", 2)
    with pytest.raises(BadInput, match="no space"):
        bank(tmp_path, Counting(fail_after=3))
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(bank(tmp_path).rirs, bank(tmp_path / "other").rirs)


def test_rirs_without_their_scenes_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two files: the one that says what the RIRs are of comes last."""
    replace, names = os.replace, []

    def note(source: Any, target: Any) -> None:
        names.append(Path(target).suffix)
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    bank(tmp_path)
    assert names == [".npy", ".json"]
    next(tmp_path.glob("*.json")).unlink()
    simulator = Counting()
    assert len(bank(tmp_path, simulator).scenes) == 5
    assert simulator.rendered == 5


@pytest.mark.parametrize("nothing", [{"scenes": 0}, {"sources": 0}, {"seconds": 0.0}])
def test_an_empty_bank_is_refused(tmp_path: Path, nothing: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="above 0"):
        bank(tmp_path, **nothing)


def test_rows_lead_from_a_place_to_its_rirs(tmp_path: Path) -> None:
    """Whether read from the file by a worker, or taken out of the whole bank as it lies on a device."""
    made = bank(tmp_path)
    everything = made.all(torch.device("cpu"))
    assert everything.dtype == torch.float16
    for number in range(len(made)):
        place = made.place(number, np.random.default_rng(0))
        assert list(place.positions) == made.scenes[number].positions()
        read = made.read(list(place.rows))
        assert torch.equal(everything[list(place.rows)], read)
        for source, row in enumerate(place.rows):
            assert torch.equal(read[source].float(), made.rir(number, source))
            assert made.name(row, None) == f"scene {number} source {source}"
    assert made.bytes == everything.numel() * 2


def test_several_processes_make_the_same_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two scenes, so that the processes share them."""
    monkeypatch.setattr(room_bank, "RENDER_AT_ONCE", 2)
    alone, shared = (bank(tmp_path / str(workers), workers=workers) for workers in (0, 2))
    np.testing.assert_array_equal(alone.rirs, shared.rirs)
    assert [scene.to_dict() for scene in alone.scenes] == [scene.to_dict() for scene in shared.scenes]


def test_what_is_wrong_with_a_scene_is_said_in_one_sentence_by_another_process(tmp_path: Path) -> None:
    class Wrong(Counting):
        def render(self, scene: Scene) -> list[torch.Tensor]:
            raise BadInput("the room leaks")

    with pytest.raises(BadInput, match=r"^the room leaks$"):
        bank(tmp_path, Wrong(), workers=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_bank_is_told(tmp_path: Path, suffix: str) -> None:
    bank(tmp_path)
    (file,) = tmp_path.glob(f"*{suffix}")
    file.write_bytes(b"[" * 1000)
    with pytest.raises(BadInput, match=r"are damaged .* remove both, they are rendered again"):
        bank(tmp_path)
