"""The label table against facts about AudioSet and against the released table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_CLASSES
from bat_agent.labels import class_number, label_index, label_table, labels


def test_every_class_has_a_name_and_a_mid_of_its_own() -> None:
    mids, names = zip(*label_table(), strict=True)
    assert len(names) == NUM_CLASSES == 355
    assert len(set(names)) == len(set(mids)) == 355
    assert all(mid.startswith(("/m/", "/t/", "/g/")) for mid in mids)
    assert all(name == name.strip() and name and '"' not in name for name in names)


@pytest.mark.parametrize(
    ("number", "mid", "name"),
    [(0, "/m/09x0r", "Speech"), (1, "/m/05zppz", "Male speech, man speaking"), (354, "/m/07hvw1", "Field recording")],
)
def test_class_number_is_the_row_not_the_audioset_index(number: int, mid: str, name: str) -> None:
    """The released table keeps AudioSet's own index (525, 526 …) in its first column; logits count rows."""
    assert labels()[number] == name
    assert class_number(mid) == class_number(name) == label_index()[name] == number


def test_table_is_the_released_one(shared: Path) -> None:
    released = shared / "data" / "spatialsoundqa" / "AudioSet" / "metadata" / "class_labels_indices_subset.csv"
    lines = released.read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[1] for line in lines if line] == [mid for mid, _ in label_table()]
    for line, name in zip(lines, labels(), strict=True):
        assert line.rstrip().rstrip('"').endswith(name)


@given(st.integers(0, 354), st.sampled_from([str.lower, str.upper, str.title, lambda name: f"  {name} "]))
def test_names_are_found_however_they_are_written(number: int, spell: object) -> None:
    assert callable(spell)
    assert class_number(spell(labels()[number])) == number


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"unknown sound class 'Speach'.*'speech'"):
        class_number("Speach")
    with pytest.raises(BadInput, match="unknown sound class ''"):
        class_number("")
