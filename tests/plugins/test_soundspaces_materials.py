"""Materials: our table against the published one, the matching rule against the engine itself, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent_soundspaces.materials import (
    CURVES,
    FIELDS,
    default_materials_path,
    find_material,
    load_materials,
    match,
    unmatched,
)

MPCAT40 = (
    "void",
    "wall",
    "floor",
    "chair",
    "door",
    "table",
    "picture",
    "cabinet",
    "cushion",
    "window",
    "sofa",
    "bed",
    "curtain",
    "chest_of_drawers",
    "plant",
    "sink",
    "stairs",
    "ceiling",
    "toilet",
    "stool",
    "towel",
    "mirror",
    "tv_monitor",
    "shower",
    "column",
    "bathtub",
    "counter",
    "fireplace",
    "lighting",
    "beam",
    "railing",
    "shelving",
    "blinds",
    "gym_equipment",
    "seating",
    "board_panel",
    "furniture",
    "appliances",
    "clothes",
    "objects",
    "misc",
    "unlabeled",
)


def entry(name: str = "Felt", labels: tuple[str, ...] = ("felt",), **changes: Any) -> dict[str, Any]:
    curve = [125.0, 0.1, 8000.0, 0.2]
    base = {"name": name, "labels": list(labels), "density": 100.0, "speed": 300.0}
    return {**base, **{key: list(curve) for key in CURVES}, **changes}


def write(path: Path, *entries: Any) -> Path:
    path.write_text(json.dumps({"materials": list(entries)}))
    return path


def test_our_table_is_complete_and_physical() -> None:
    materials = load_materials()
    assert len(materials) >= 25
    for material in materials:
        # What passes is part of what is not reflected; the engine scales both down where they exceed one together.
        for frequency in material.transmission.frequency_hz:
            assert material.transmission.at(frequency) <= material.absorption.at(frequency), (material.name, frequency)
        assert material.labels
    sources = json.loads(default_materials_path().read_text(encoding="utf-8"))["materials"]
    assert all(one["source"] for one in sources)
    # Heavy walls stop more than light ones.
    names = ("Concrete", "Gypsum Board", "Window Glass", "Upholstery")
    passed = [find_material(name, materials).transmission.at(500) for name in names]
    assert passed == sorted(passed)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Brick", "brick_wall_rough"),
        ("Ceramic Tile", "ceramic_tiles"),
        ("Gypsum Board", "plasterboard"),
        ("Solid Door", "wooden_door"),
        ("Carpet, Thin", "carpet_thin"),
        ("Carpet, Thick", "carpet_tufted_9m"),
        ("Curtain", "curtains_0.2"),
        ("Acoustic Tile", "ceiling_fissured_tile"),
        ("Upholstery", "chairs_upholstered_cloth"),
        ("Window Glass", "double_glazing_10mm"),
        ("Plasterboard Ceiling", "ceiling_plasterboard"),
        ("Mineral Wool", "rockwool_50mm_80kgm3"),
    ],
)
def test_absorption_is_that_of_the_published_table(ours: str, theirs: str) -> None:
    """Vorländer's appendix, as transcribed in pyroomacoustics; it guards against slips of the pen on our side."""
    pra = pytest.importorskip("pyroomacoustics")
    reference = pra.Material(theirs).energy_absorption
    curve = find_material(ours, load_materials()).absorption
    measured = [curve.at(f) for f in reference["center_freqs"][: len(reference["coeffs"])]]
    np.testing.assert_allclose(measured, reference["coeffs"], atol=1e-6)


def test_every_category_of_matterport_has_a_material_of_its_own_kind() -> None:
    materials = load_materials()
    assert unmatched(MPCAT40, materials) == []
    picked = {category: match(category, materials).name for category in MPCAT40}  # type: ignore[union-attr]
    assert picked["wall"] == "Gypsum Board"
    assert picked["window"] == "Window Glass"
    assert picked["door"] == "Solid Door"
    assert picked["plant"] == match("indoor-plant", materials).name == "Foliage"  # type: ignore[union-attr]
    assert picked["sofa"] == "Upholstery"
    assert picked["bed"] == "Mattress"
    assert picked["misc"] == picked["void"] == "Default"


def test_the_file_of_soundspaces_is_read_and_matched(shared: Path) -> None:
    materials = load_materials(shared / "data" / "mp3d_material_config.json")
    assert len(materials) == 30
    picked = {c: match(c, materials).name for c in ("my_wall_01", "Ceiling", "floor", "curtain", "sofa", "window")}  # type: ignore[union-attr]
    assert picked == {
        "my_wall_01": "Gypsum Board",
        "Ceiling": "Acoustic Tile",
        "floor": "Carpet",
        "curtain": "Curtain",
        "sofa": "Curtain",
        "window": "Glass",
    }
    assert match("zeppelin", materials) is None
    assert unmatched(["wall", "zeppelin"], materials) == ["zeppelin"]


def test_none_of_our_values_are_those_of_that_file(shared: Path) -> None:
    """It may not be copied; equal textbook absorption is fact, equal whole entries would be a copy."""
    theirs = {(m.transmission, m.scattering) for m in load_materials(shared / "data" / "mp3d_material_config.json")}
    assert not theirs & {(m.transmission, m.scattering) for m in load_materials()}


def test_matching_is_the_engines_rule(tmp_path: Path) -> None:
    """Each material transmits another share; the level behind a panel tells which one the engine has picked."""
    rlr = pytest.importorskip("rlr_audio_propagation")
    rng = np.random.default_rng(4)
    words = ("wall", "wal", "brick", "BRI", "wall brick", "oak")
    shares = (0.1, 0.01, 0.001)
    seen = set()
    for case in range(25):
        entries = []
        for number, share in enumerate(shares):
            labels = tuple(str(word) for word in rng.choice(words, size=rng.integers(0, 4)))
            name = str(rng.choice(["wall", "Wall", "oak wall"])) + (str(number) if case % 2 else " " * number)
            entries.append(entry(name, labels, transmission=[125.0, share, 8000.0, share]))
        category = str(rng.choice(["wall", "Wall brick", "oak wall", "brick", "stone"]))
        path = write(tmp_path / f"{case}.json", *entries)
        picked = match(category, load_materials(path))
        level = _level_behind_panel(rlr, path, category)
        engine = next((i for i, share in enumerate(shares) if abs(level - 10 * np.log10(share)) < 0.1), None)
        assert engine == (None if picked is None else [e["name"] for e in entries].index(picked.name)), (entries, level)
        seen.add(engine)
    assert len(seen) == 4


def _level_behind_panel(rlr: Any, path: Path, category: str) -> float:
    """Level of the direct sound through a panel against free field, dB."""
    energy = []
    for z in (0.0, 50.0):
        config = rlr.Config()
        config.sample_rate, config.thread_count, config.transmission, config.indirect = 32_000, 1, True, False
        context = rlr.Context(config)
        context.set_material_database_json(str(path))
        context.add_object()
        context.add_mesh_vertices([-5.0, -5.0, z, 5.0, -5.0, z, 5.0, 5.0, z, -5.0, 5.0, z])
        context.add_mesh_indices([0, 1, 2, 0, 2, 3], 3, category)
        context.finalize_object_mesh(0)
        context.add_listener(rlr.ChannelLayout(rlr.ChannelLayoutType.Mono, 1))
        context.set_listener_position(0, [0.1, 0.2, -1.0])
        context.add_source()
        context.set_source_position(0, [0.1, 0.2, 1.0])
        context.simulate()
        energy.append(float(np.sum(np.square(context.get_listener_source_audio(0, 0)[0]))))
    return 10 * float(np.log10(energy[0] / energy[1] + 1e-30))


def test_find_material_by_name() -> None:
    materials = load_materials()
    assert find_material(" curtain ", materials).name == "Curtain"
    with pytest.raises(BadInput, match="unknown material 'kryptonite'; known are Acoustic Tile, "):
        find_material("kryptonite", materials)


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_required(tmp_path: Path, field: str) -> None:
    broken = entry()
    del broken[field]
    with pytest.raises(BadInput, match=f"lacks {field}"):
        load_materials(write(tmp_path / "m.json", broken))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"absorption": [125.0, 1.2]}, "absorption must lie in 0…1"),
        ({"transmission": [125.0, -0.1]}, "transmission must lie in 0…1"),
        ({"absorption": [125.0, 0.1, 250.0]}, "even count"),
        ({"absorption": []}, "even count"),
        ({"absorption": 0.1}, "even count"),
        ({"absorption": [125.0, float("nan")]}, "finite"),
        ({"damping": [500.0, 0.1, 250.0, 0.1]}, "that rise"),
        ({"scattering": [0.0, 0.1]}, "above 0"),
        ({"density": 0}, "density must be"),
        ({"speed": "fast"}, "speed must be"),
        ({"labels": "wall"}, "labels must be"),
        ({"labels": [""]}, "labels must be"),
        ({"name": ""}, "must have a name"),
    ],
)
def test_broken_entries_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    good = entry("Good")
    with pytest.raises(BadInput, match=words) as caught:
        load_materials(write(tmp_path / "m.json", good, {**entry(), **change}))
    assert "material 1" in str(caught.value)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(BadInput, match="does not exist"):
        load_materials(path)
    for text, words in (("{", "no JSON"), ("[]", "must be"), ('{"materials": []}', "at least one")):
        path.write_text(text)
        with pytest.raises(BadInput, match=words):
            load_materials(path)
    with pytest.raises(BadInput, match="twice"):
        load_materials(write(path, entry(), entry()))
    with pytest.raises(BadInput, match="must be a mapping"):
        load_materials(write(path, "wall"))
