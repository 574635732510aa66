"""The folder of a model exported to ONNX: ``graph.json`` beside ``config.json`` says what its graphs take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bat_agent.errors import BadInput, WeightsError
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import write_json

GRAPH_FILE = "graph.json"
FORMAT = 3
"""Of ``graph.json``, of what goes in and of what comes out."""
READ = (1, 2, FORMAT)
"""Formats that are read; other ones are refused. 1 knew no frames, 2 no masks of their own."""
PRECISIONS = ("int8", "float32", "float16")
"""Of the weights, the one that is loaded unless another is asked for first."""


@dataclass(frozen=True)
class FrameGraph:
    """A graph of its own for what a front end makes of each frame by itself, so that none is computed twice."""

    file: str
    outputs: tuple[str, ...]
    """Inputs of the encoder's graph, each (B, C, T, M) with T = N // hop + 1 of a waveform (B, 2, N)."""
    hop: int
    """Samples from one frame to the next."""
    reach: int
    """How many samples before and after its middle a frame sees; at the edges they are mirrored."""


@dataclass(frozen=True)
class GraphConfig:
    """What the graphs of a folder take and give."""

    files: dict[str, str]
    """Precision of the weights → name of the ONNX file; the graphs differ in nothing else."""
    opset: int
    inputs: tuple[str, ...]
    """``waveform`` (B, 2, N) float32; what ``frames`` gives; perhaps ``level_known`` (1,) float32, 1.0 or 0.0."""
    outputs: tuple[str, ...]
    """Fields of :class:`~bat_agent.interfaces.Encoding`, those of its slots as ``slots.…``."""
    classes: tuple[str, ...]
    """Display name of each class logit."""
    sample_rate_hz: int
    clip_seconds: float
    """Longest window."""
    shortest_seconds: float
    fixed_length: bool
    """Whether every window must be ``clip_seconds`` long."""
    token_dim: int
    num_tokens: int
    exported_by: str
    """Version of bat-agent that wrote it."""
    frames: FrameGraph | None = None
    masks: str | None = None
    """Name of the ONNX file that tells masks, (B, S, R, 128), from the waveform, what ``frames`` gives, and the
    tokens: where a clip holds several sources, in place of those of the slots. (As an output of the encoder's graph it
    would cost its time in every look: ONNX Runtime 1.32 computes all outputs, whichever it is asked for.)"""
    format: int = FORMAT

    def file_of(self, precision: str | None) -> tuple[str, str]:
        """Precision and file, of the first there is where none is asked for.

        Raises :class:`~bat_agent.errors.BadInput` for one that was not exported.
        """
        chosen = precision or next(name for name in PRECISIONS if name in self.files)
        if chosen not in self.files:
            raise BadInput(
                f"this model was not exported as {chosen!r}, only as {', '.join(self.files)}; take one of these, or "
                f"export it again with --precision {chosen}"
            )
        return chosen, self.files[chosen]


def is_graph_folder(directory: Path) -> bool:
    """Whether a model directory holds a model exported to ONNX."""
    return (directory / GRAPH_FILE).is_file()


def write_graph_config(config: GraphConfig, directory: Path) -> None:
    """Write ``graph.json``, atomically."""
    write_json(directory / GRAPH_FILE, asdict(config), durable=True)


def read_graph_config(directory: Path) -> GraphConfig:
    """The ``graph.json`` of a folder.

    Raises :class:`~bat_agent.errors.WeightsError` where it is missing, broken, or of another format.
    """
    file = directory / GRAPH_FILE
    if not file.is_file():
        raise WeightsError(f"{directory} holds no exported model: {GRAPH_FILE} is missing; bat-agent export writes one")
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
        if not isinstance(data, Mapping):
            raise ValueError("it is no object")
        if data.get("format") not in READ:
            raise WeightsError(
                f"{directory} was exported in format {data.get('format')} by bat-agent {data.get('exported_by')}, but "
                f"this one reads formats {', '.join(map(str, READ))}: export the model again with bat-agent export"
            )
        lists: dict[str, Any] = {name: tuple(data[name]) for name in ("inputs", "outputs", "classes")}
        if (frames := data.get("frames")) is not None:
            lists["frames"] = FrameGraph(**{**frames, "outputs": tuple(frames["outputs"])})
        config = GraphConfig(**{**data, **lists})
        if not set(config.files) & set(PRECISIONS):
            raise ValueError(f"files must name one of {', '.join(PRECISIONS)}")
        if not isinstance(config.masks, str | None):
            raise ValueError(f"masks must name a file, got {config.masks!r}")
        return config
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{file} is broken ({error}): export the model again with bat-agent export") from error
