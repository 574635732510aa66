"""A torchaudio that does not load costs AudioMAE and resampling on a training device, and nothing else.

Simulated as it was met in torchaudio 2.11.1 beside torch 2.11.0: a package that is there and raises on import. Each
attempt to import it is written down, so that "nobody tried" can be told from "somebody tried and went on".
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from bat_agent.errors import PluginError
from bat_agent.sound.torchaudio_parts import let_transformers_load, torchaudio_for, torchaudio_part

BROKEN = """
from pathlib import Path
with (Path(__file__).parent / "tried").open("a") as file:
    file.write("x")
raise {error}
"""
OS_ERROR = "OSError('Could not load this library: /somewhere/libtorchaudio.so')"
CUDA_ERROR = "RuntimeError('Detected that PyTorch and TorchAudio were compiled with different CUDA versions.')"
TINY = {
    "name": "mouse",
    "workers": 0,
    "encoder": {
        "name": "spatial-ast",
        "options": {
            "clip_seconds": 1.0, "target_frames": None, "stem_channels": 4, "patch_frames": 8, "patch_mels": 128,
            "width": 32, "depth": 1, "heads": 2, "summary_frames": 25, "summary_hidden": 32,
        },
    },
    "sounds": [{"source": "procedural:5", "train_folds": [1, 2, 3], "valid_folds": [4]}],
    "rooms": [{"simulator": "echo", "scenes": 4, "valid_scenes": 2, "seconds": 0.05}],
    "mixing": {"window_seconds": [1.0], "window_weights": [1.0]},
    "stages": [{"name": "listen", "trains": "encoder", "steps": 2, "seconds_per_step": 4}],
}  # fmt: skip
COMMANDS = """
import sys
from bat_agent.cli import main
from bat_agent.cli.listen import main as listen

def call(command, *words):
    sys.argv = ["program", *words]
    try:
        command()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)

call(main, "demo")
call(main, "ask", "demo/one_sound.wav", "Is the sound coming from your left or your right?")
call(main, "perceive", "demo/one_sound.wav")
call(listen, "--file", "demo/one_sound.wav", "--fast", "--jsonl", "-")
"""
AUDIOMAE = """
import bat_agent
from bat_agent.errors import PluginError
for _ in range(2):
    try:
        bat_agent.load_encoder("audiomae")
    except PluginError as error:
        print(error)
print(bat_agent.registry.missing("encoder", "audiomae"))
"""
LANGUAGE_MODEL = """
import sys
{first}
import bat_agent
bat_agent.load_reasoner("llama", llm="tiny", tiny_layers=1, tiny_width=64)
import peft
assert "torchaudio" not in sys.modules
try:
    import torchaudio
except OSError as error:
    print(error)
"""


class Broken:
    """A folder with a torchaudio that does not load, and programs that see it."""

    def __init__(self, folder: Path, error: str) -> None:
        self.folder = folder
        (folder / "torchaudio").mkdir()
        (folder / "torchaudio" / "__init__.py").write_text(BROKEN.format(error=error), encoding="utf-8")

    def run(self, *arguments: str) -> str:
        path = os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def tried(self) -> bool:
        return (self.folder / "torchaudio" / "tried").exists()


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    return Broken(tmp_path, OS_ERROR)


@pytest.mark.slow
def test_demo_ask_perceive_and_listen_never_import_it(broken: Broken) -> None:
    said = broken.run("-c", COMMANDS)
    assert "right: 10 of 10" in said
    assert "left  (confidence" in said  # the demo's sound is where its picture has it
    assert '"class_probs": {' in said
    assert not broken.tried


@pytest.mark.slow
def test_training_a_spatial_ast_never_imports_it(broken: Broken) -> None:
    recipe = broken.folder / "mouse.yaml"
    recipe.write_text(yaml.safe_dump(TINY | {"run_dir": str(broken.folder / "run")}), encoding="utf-8")
    broken.run("-m", "bat_agent.train", str(recipe))
    assert (broken.folder / "run" / "agent" / "encoder" / "model.safetensors").is_file()
    assert not broken.tried


@pytest.mark.parametrize("error", [OS_ERROR, CUDA_ERROR, "ModuleNotFoundError('No module named torchaudio')"])
@pytest.mark.slow
def test_audiomae_says_in_a_sentence_what_is_wrong_and_what_to_do(tmp_path: Path, error: str) -> None:
    first, second, checked = Broken(tmp_path, error).run("-c", AUDIOMAE).splitlines()
    assert first == second
    assert first.startswith("the encoder 'audiomae' (Kaldi filter banks) needs torchaudio, which does not load beside ")
    assert error.split("'")[1] in first
    assert first.endswith(f": pip install --no-deps torchaudio=={torchaudio_for(torch.__version__)}")
    what, todo = eval(checked)
    assert f"{what}: {todo}" == first


@pytest.mark.parametrize("first", ["", "import transformers"])
def test_language_models_go_on_and_torchaudio_is_as_broken_as_before(broken: Broken, first: str) -> None:
    """transformers 5.24 imports it with every model where it is installed: without help a tiny Llama would not load."""
    assert "Could not load this library" in broken.run("-c", LANGUAGE_MODEL.format(first=first))


def test_one_that_loads_is_handed_out_and_seen_by_transformers() -> None:
    torchaudio = pytest.importorskip("torchaudio")
    assert torchaudio_part("functional", "a test").resample is torchaudio.functional.resample
    let_transformers_load()
    assert importlib.import_module("transformers.utils").is_torchaudio_available()


def test_a_part_that_there_is_not_is_told_too() -> None:
    with pytest.raises(PluginError, match=r"^a test needs torchaudio, .*no_such_part"):
        torchaudio_part("no_such_part", "a test")


# What was tried on 2026-11-29 and computes: docs/torch_versions.md.
LOADS = [
    ("2.11.0", "2.11.0"), ("2.12.1", "2.11.0"), ("2.13.0", "2.11.0"), ("2.13.0", "2.11.1"), ("2.14.1", "2.11.0"),
    ("2.14.1", "2.11.1"), ("2.15.0", "2.11.1"),
]  # fmt: skip


@pytest.mark.parametrize("version", sorted({pair[0] for pair in LOADS}))
def test_the_release_that_is_advised_is_one_that_was_seen_to_load(version: str) -> None:
    assert (version, torchaudio_for(f"{version}+cu130")) in LOADS
