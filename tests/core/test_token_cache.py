"""Encodings kept in files: what comes out is what went in, whatever was interrupted, and training cannot tell."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml

from bat_agent.clips import token_cache
from bat_agent.clips.token_cache import TokenCache, digest, flatten, unflatten
from bat_agent.errors import BadInput
from bat_agent.interfaces import Encoding, SlotEncoding

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "CLIPS_PER_SHARD", 4)


def encode(entries: Sequence[int]) -> Encoding:
    """Every entry has its own numbers, all of which half precision can hold."""
    own = torch.tensor(list(entries), dtype=torch.float32)
    tokens = own[:, None, None] + torch.arange(6).view(1, 3, 2) / 8
    slots = SlotEncoding(own[:, None] / 2, own[:, None, None].expand(-1, 1, 5) / 4)
    return Encoding(tokens, class_logits=own[:, None].expand(-1, 5), slots=slots)


def same(one: Encoding, other: Encoding) -> bool:
    first, second = flatten(one), flatten(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_what_comes_out_is_what_went_in(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "tokens", 11)
    told: list[tuple[int, int]] = []
    cache.fill(encode, batch=3, progress=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert cache.missing() == []
    for entries in ([0], [10, 3, 3, 7], list(range(11))):
        assert same(TokenCache(tmp_path / "tokens", 11).read(entries), encode(entries))
    assert same(unflatten(flatten(encode([5]))), encode([5]))


def test_processes_share_the_work_and_a_killed_one_loses_a_shard_at_most(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, 11)
    asked: list[int] = []

    def dies(entries: Sequence[int]) -> Encoding:
        asked.extend(entries)
        if 5 in entries:
            raise KeyboardInterrupt
        return encode(entries)

    with pytest.raises(KeyboardInterrupt):
        cache.fill(dies, batch=2)
    assert cache.missing() == [1, 2]
    cache.fill(encode, share=(1, 2))
    assert cache.missing() == [2]  # the odd numbers are its share, whatever others have done meanwhile
    asked.clear()
    cache.fill(lambda entries: (asked.extend(entries), encode(entries))[1], share=(0, 1))
    assert sorted(asked) == [8, 9, 10]
    assert same(cache.read(range(11)), encode(range(11)))


def test_the_size_is_announced_and_a_full_disk_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TokenCache(tmp_path, 1_000_000)
    bytes_each = sum(tensor.numel() * 2 for tensor in flatten(encode([0])).values())
    said = cache.announce(encode)
    assert f"{bytes_each * 1e6 / 1e9:,.2f} GB in {tmp_path}" in said
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 1000))
    with pytest.raises(BadInput, match=r"0\.00 GB are free there; .* leave cache_tokens out"):
        cache.announce(encode)
    assert list(tmp_path.iterdir()) == []


def test_the_name_follows_weights_and_facts() -> None:
    one, same_one, other = (torch.nn.Linear(3, 2) for _ in range(3))
    same_one.load_state_dict(one.state_dict())
    assert digest(one, "a") == digest(same_one, "a")
    assert len({digest(one, "a"), digest(one, "b"), digest(other, "a")}) == 3


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path, 4)
    with pytest.raises(BadInput, match="holds no tokens"):
        cache.read([0])
    cache.fill(encode)
    file = tmp_path / "000000.tokens.npy"
    file.write_bytes(file.read_bytes()[:40])
    token_cache._mapped.cache_clear()
    with pytest.raises(BadInput, match=r"000000\.tokens\.npy"):
        TokenCache(tmp_path, 4).read([0])


@pytest.mark.slow
def test_stages_trained_from_the_cache_are_those_trained_from_sound(
    qa_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stages and two epochs of the same records, ears swapped at times: one filling, losses as without."""
    from bat_agent.recipes.loading import load_recipe
    from bat_agent.training.folder import read_losses
    from bat_agent.training.trainer import Trainer

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ear = {"clip_seconds": 0.5, "target_frames": None, "patch_frames": 10, "patch_mels": 32, "width": 32, "depth": 1}
    mind = {"tiny_layers": 1, "projector_dim": 32, "num_queries": 2, "max_answer_tokens": 4}
    stage = {"trains": "reasoner", "steps": 4, "seconds_per_step": 2.0, "records": str(qa_set), "records_stage": 1}
    content = {
        "name": "mouse",
        "encoder": {"name": "spatial-ast", "options": ear | {"heads": 2, "store_front_end": False}},
        "reasoner": {"name": "llama", "options": mind},
        "mixing": {"window_seconds": [0.5]},
        "stages": [stage | {"name": "a"}, stage | {"name": "b"}],
        "workers": 0,
        "validation_clips": 6,
    }
    file = tmp_path / "mouse.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    curves = {}
    for name, cached in (("sound", "false"), ("cache", "true")):
        run = tmp_path / name
        changes = [f"run_dir={run}", f"stages.0.cache_tokens={cached}", f"stages.1.cache_tokens={cached}"]
        Trainer(load_recipe(str(file), changes)).run()
        curves[name] = [loss for stage in ("a", "b") for _, loss in read_losses(run / stage / "losses.csv")]
    assert len(curves["sound"]) == 8
    assert curves["cache"] == pytest.approx(curves["sound"], abs=2e-3)
    assert curves["cache"] != curves["sound"]  # half precision
    assert not (tmp_path / "sound" / "tokens").exists()
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 1  # both stages have the same clips
