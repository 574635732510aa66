"""Whatever stands in a file from outside, reading it ends well: a value, or one sentence that says what is wrong.

A short run belongs to the tests; the long one is ``python tests/fuzz/long.py --minutes 10``. What once ended otherwise
is kept as an ``@example`` or in :data:`KEPT`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from bat_agent.datasets.archives import Archive
from bat_agent.datasets.clip_lists import read_list
from bat_agent.datasets.layout import ReverberationFile
from bat_agent.datasets.sound_libraries import from_manifest
from bat_agent.datasets.stats import measure_rir
from bat_agent.datasets.store import Store
from bat_agent.errors import BatAgentError
from bat_agent.evaluation.manifest import read_manifest
from bat_agent.files.reading import MOST_DEPTH, parse_json, parse_rows, parse_yaml
from bat_agent.hearing.model_folder import read_config
from bat_agent.listening.feeds import read_headings
from bat_agent.listening.websocket import heading_of
from bat_agent.questions.files import read_records
from bat_agent.recipes.loading import load_recipe
from bat_agent.scene import Scene
from bat_agent.scenes.scene_file import read_scene_file
from bat_agent.scoring.answers import parse_line
from bat_agent.serving.protocol import read_samples, read_shape
from bat_agent.sound.audio import read_audio
from bat_agent.sound.sofa import content_hash
from bat_agent_measured.manifest import read_responses
from bat_agent_shoebox.heads import subjects

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
short = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=EXAMPLES < 100,
    phases=[phase for phase in Phase if phase is not Phase.shrink or EXAMPLES >= 100],
)


def npy(header: str) -> bytes:
    """The head of a ``.npy`` file, version 1.0."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


KEPT = [
    b"",
    b"\xff\xfe\x00",
    b"[" * 1000,
    b'{"a":' * 1000,
    b"[" * 100 + b"]" * 100,
    b'{"data": ' + b"[" * 5000,
    b"9" * 5000,
    b'{"data": [{"fname": "a/0.npy", "sensor_position": "0,0,0", "source_position": "1,0,' + b"9" * 5000 + b'"}]}',
    b"[1e999, NaN, -Infinity]",
    b'"\\ud800"',
    b"a: &a [*a]",
    b"a: 2026-06-31",
    b"a: !!int ''",
    b"a: !!timestamp x",
    b"? [1]\n: 2",
    b"file,labels,fold\na.wav,Dog,1000000000000000000000\n",
    b'file,labels,fold\n"' + b"a" * 200_000,
    b"file,labels,fold\na\x00b.wav,Dog,1\n",
    b"file,room,head,azimuth_deg,elevation_deg,distance_m\na\x00.wav,r,h,0,0,1\n",
    b"name: [",
    b'{"id": "Y\\u0000", "folder": "\\ud800", "label": []}',
    b't_s,heading_deg\n"' + b"a" * 200_000,
    b"t_s,heading_deg\n0,1e308\n1,-1e308\n",
    b'{"heading_deg": ' + b"9" * 400 + b"}",
    npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999999)}"),
    npy("{'descr': '<U4', 'fortran_order': False, 'shape': (2, 0)}"),
    npy("[" * 100),
    npy("'"),
    b"PK\x03\x04",
]
"""Contents that ended in a traceback in one of the readers."""

_LETTERS = st.sampled_from("ab01 .-_:/;,äß漢🦇\0\x85\u2028\ud800\n")
_plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(_LETTERS, max_size=8)
_names = st.sampled_from(
    [
        "name",
        "encoder",
        "reasoner",
        "options",
        "thresholds",
        "calibration",
        "stages",
        "steps",
        "sounds",
        "rooms",
        "room",
        "listener",
        "sources",
        "size_m",
        "position_m",
        "heading_deg",
        "data",
        "fname",
        "sensor_position",
        "source_position",
        "id",
        "folder",
        "label",
        "record",
        "answer",
        "seed",
    ]
)
values = st.recursive(
    _plain,
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(_names | st.text(_LETTERS, max_size=4), inside, max_size=5)
    ),
)
"""Values as files hold them, with the words of ours as keys."""
contents = st.one_of(
    st.sampled_from(KEPT),
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    values.map(lambda value: json.dumps({"data": [value]}).encode()),
    st.text(st.sampled_from("[]{}:,-\"'&*!?#|>% \n\tab01.e+"), max_size=60).map(str.encode),
)


def packed(names: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, value in names.items():
            archive.writestr(name, value)
    return content.getvalue()


def taped(names: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name, value in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(value)
            archive.addfile(info, io.BytesIO(value))
    return content.getvalue()


def _sound(form: str) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.random.default_rng(0).normal(0, 0.1, (400, 2)), 32_000, "PCM_16", format=form)
    return content.getvalue()


_MEMBERS = {"a/b.npy": b"x" * 100, "a/c.json": b"[]" * 50, "a/d.wav": bytes(range(256))}


def _numbers(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def _heads() -> bytes:
    content = io.BytesIO()
    arrays = {"hrir_int16": np.ones((1, 12, 2, 8), np.int16), "scale": np.ones(1), "subject": np.array(["003"])}
    np.savez_compressed(content, direction=np.eye(3)[np.arange(12) % 3], **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def changed(whole: bytes) -> st.SearchStrategy[bytes]:
    """``whole`` with some bytes changed, sometimes cut: in an archive, version 11.7, empty names, names of no encoding
    and sizes that lie are all one byte away.
    """

    def change(given: tuple[list[tuple[int, int]], int]) -> bytes:
        changes, end = given
        content = bytearray(whole)
        for at, value in changes:
            content[at] = value
        return bytes(content if end % 3 else content[:end])

    places = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))
    return st.tuples(st.lists(places, max_size=4), st.integers(0, len(whole))).map(change)


_SCENE = b"""room: {size_m: [5, 3, 4], rt60_s: 0.2}
listener: {position_m: [2.5, 1.5, 2], heading_deg: 10}
sources: [{position_m: [1, 1.5, 1.9], labels: [Siren]}]
"""
_RECIPE = b"""name: mouse
encoder: {name: spatial-ast, options: {width: 32, depth: 1, heads: 2}}
sounds: [{source: "procedural:5", train_folds: [1, 2, 3], valid_folds: [4]}]
rooms: [{simulator: echo, scenes: 8, sources: 3, seconds: 0.05}]
stages: [{name: listen, trains: encoder, steps: 3, seconds_per_step: 1.0}]
"""
_WHOLE = {
    "scene.yaml": _SCENE,
    "recipe.yaml": _RECIPE,
    "reverberation.json": b'{"data": [{"fname": "a/0.npy", "sensor_position": "0,0,0", "source_position": "1,0,2"}]}',
    "config.json": b'{"name": "x", "encoder": {"name": "echo", "options": {"seed": 1}}, "reasoner": {"name": "echo", '
    b'"options": {}}, "thresholds": {}}',
    "headings.csv": b"t_s,heading_deg\n0,10\n0.5,20.5\n",
    "heading": b'{"heading_deg": 12.5}',
    "answer": b'{"id": "1", "answer": "left; behind"}',
}
"""Some that are read, to be changed."""
CONTENTS = {
    "shape": st.text(st.sampled_from("0123456789,, -e.\u00b2"), max_size=150).map(lambda text: text.encode("latin-1"))
    | st.lists(st.integers(0, 3), max_size=70).map(lambda sizes: ",".join(map(str, sizes)).encode()),
    "set.zip": changed(packed(_MEMBERS)),
    "set.tar": changed(taped(_MEMBERS)),
    "sound.wav": changed(_sound("WAV")),
    "sound.flac": changed(_sound("FLAC")),
    **{name: contents | changed(whole) for name, whole in _WHOLE.items()},
    "rir.npy": changed(_numbers(np.random.default_rng(0).normal(size=(2, 4000)))) | contents,
    "heads.npz": changed(_heads()) | contents,
}
"""What a reader is given, where that is not ``contents``."""
Read = Callable[[Path], Any]


def _config(path: Path) -> Any:
    folder = path.parent / "model"
    folder.mkdir(exist_ok=True)
    path.replace(folder / "config.json")
    return read_config(folder)


def _responses(path: Path) -> Any:
    folder = path.parent / "rooms"
    folder.mkdir(exist_ok=True)
    path.replace(folder / "rirs.csv")
    return read_responses(folder)


def _archive(path: Path) -> None:
    archive = Archive(path)
    for number in range(len(archive)):
        archive.read(number, 10)
        archive.read(number)


READERS: dict[str, Read] = {
    "scene.yaml": read_scene_file,
    "scene.json": read_scene_file,
    "recipe.yaml": lambda path: load_recipe(str(path)),
    "reverberation.json": lambda path: list(ReverberationFile(path)),
    "clips.json": lambda path: read_list(path, "eval"),
    "clips.csv": lambda path: read_list(path, "eval"),
    "questions.json": read_records,
    "manifest.jsonl": read_manifest,
    "sounds.csv": from_manifest,
    "config.json": _config,
    "responses": _responses,
    "scene": lambda path: Scene.from_json(path.read_text(encoding="utf-8", errors="replace")),
    "answer": lambda path: parse_line(path.read_text(encoding="utf-8", errors="replace"), "line 1"),
    "shape": lambda path: read_samples(b"\0" * 24, read_shape(path.read_text(encoding="latin-1"))),
    "set.zip": _archive,
    "set.tar": _archive,
    "sound.wav": read_audio,
    "sound.flac": read_audio,
    "rir.npy": measure_rir,
    "heads.npz": lambda path: subjects(str(path), content_hash(str(path))),
    "headings.csv": read_headings,
    "heading": lambda path: heading_of(path.read_text(encoding="utf-8", errors="replace")),
}


def ends_well(read: Read, path: Path) -> None:
    """A value, or one sentence in one line."""
    try:
        read(path)
    except BatAgentError as error:
        said = str(error)
    else:
        return
    assert said
    assert "\n" not in said


@pytest.mark.parametrize("name", READERS)
def test_what_once_failed(name: str, tmp_path: Path) -> None:
    for content in KEPT:
        (tmp_path / name).write_bytes(content)
        ends_well(READERS[name], tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_any_content_of_a_file(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("fuzz")

    @short
    @given(CONTENTS.get(name, contents))
    def check(content: bytes) -> None:
        path = folder / name
        path.write_bytes(content)
        ends_well(READERS[name], path)

    check()


@short
@given(st.text(_LETTERS, max_size=50) | st.text(st.sampled_from("[]{}:,-\"'&*!?#|>% \n\tab01.e+~"), max_size=60))
@example("a: 1e-3")
def test_text_is_read_or_refused_as_no_value(text: str) -> None:
    for parse in (parse_json, parse_yaml, lambda text: list(parse_rows(text.splitlines(keepends=True)))):
        with contextlib.suppress(ValueError):
            parse(text)


@short
@given(values)
def test_json_comes_back_as_written(value: Any) -> None:
    """What json.dumps writes and is neither deep nor beyond 64 bits is read as json.loads reads it."""
    text = json.dumps(value)
    if not re.search(r"\d{19}", text):
        assert json.dumps(parse_json(text)) == text


def test_limits_are_where_they_are_said() -> None:
    parse_json("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    parse_json(str(2**63))
    parse_json(b"\xef\xbb\xbf[]")
    for text in ("[" * (MOST_DEPTH + 2) + "]" * (MOST_DEPTH + 2), str(2**63 + 1), str(10**25)):
        with pytest.raises(json.JSONDecodeError):
            parse_json(text)
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    with pytest.raises(ValueError, match="aliases written out"):
        parse_yaml(bomb)
    assert parse_yaml("a: 1e-3\nb: 2026-06-31\nc: .5e3") == {"a": 1e-3, "b": "2026-06-31", "c": 500.0}


# --- archives ---


def test_names_of_old_archives_are_found(tmp_path: Path) -> None:
    """Latin-1 in a tar archive, as GNU tar wrote it where that was the locale."""
    (tmp_path / "old.tar").write_bytes(taped({"set/Bär.wav": b"growl", "set/dog.wav": b"bark"}))
    store = Store(tmp_path / "old.tar")
    assert store.read("dog.wav") == b"bark"
    assert sorted(store.glob("*.wav"))[1] == "dog.wav"
    assert store.read("B\udce4r.wav") == b"growl"


def test_no_more_is_unpacked_than_asked_for_and_no_bomb_at_all(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "much.zip").write_bytes(packed({"zeros.bin": bytes(40_000_000), "text": b"abc" * 10}))
    archive = Archive(tmp_path / "much.zip")
    with pytest.raises(BatAgentError, match="40,000,000, as no recording or list does"):
        archive.read(0)
    (tmp_path / "some.zip").write_bytes(packed({"zeros.bin": bytes(16_000_000)}))
    archive = Archive(tmp_path / "some.zip")
    tracemalloc.start()
    try:
        assert archive.read(0, 10) == bytes(10)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert archive.size(0) == len(archive.read(0)) == 16_000_000
