"""A model as ONNX files for :mod:`bat_agent.lite`: exported by torch, checked, compared, and in smaller numbers.

Of the encoder only what :meth:`graph` gives is exported (:class:`bat_agent.interfaces.Encoder`); the reasoner is named
in ``config.json`` and must have a class without torch.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import bat_agent
from bat_agent import registry
from bat_agent.agent import Bat
from bat_agent.ears import reasoner_options
from bat_agent.errors import BadInput, BatAgentError
from bat_agent.extras import needed
from bat_agent.files.leftovers import temporary_folder
from bat_agent.files.writing import write_bytes, writing
from bat_agent.hearing.graph_folder import PRECISIONS, FrameGraph, GraphConfig, write_graph_config
from bat_agent.hearing.model_folder import write_config
from bat_agent.interfaces import SAMPLE_RATE_HZ, Encoding

OPSET = 20
"""The first with Gelu."""
SHORTEST_S = 0.5
"""What is shorter is padded to this before an encoder hears it (:mod:`bat_agent.sound.waveform`)."""
MOST_CLIPS = 64
"""A promise to torch.export about the batch axis, which has no limit."""
APART = {"float32": 5e-3, "float16": 1e-2}
"""How far a probability may lie from torch's on the sounds of the comparison; of int8 no more is asked than numbers.
Where a sound holds nothing, as above 8 kHz in many recordings, bins are what rounding leaves, which is not the same."""
SMALLEST_WEIGHT = 1 << 14
"""Matrices of fewer numbers stay as they are: nothing is gained by them."""
PRODUCTS = ("MatMul", "Gemm")
FRAMES_FILE, MASKS_FILE = "frames.onnx", "masks.onnx"
FRONT_END = "encoder.hear."
"""How constants of a front end are called, which stay in float32 whatever the precision."""


@dataclass(frozen=True)
class Compared:
    """How one precision compares with torch."""

    precision: str
    num_bytes: int
    apart: float
    """Largest difference of a probability."""


def export(
    bat: Bat, directory: Path | str, precisions: Sequence[str] = PRECISIONS, tell: Callable[[str], None] = print
) -> list[Compared]:
    """Write a model's encoder as ONNX, one file for each of ``precisions``, with ``config.json`` and ``graph.json``.

    The graph takes any number of windows from 0.5 s to the encoder's ``clip_seconds``, or of that length alone where
    the encoder does. Raises :class:`~bat_agent.errors.BadInput` for an encoder or a reasoner that cannot be exported,
    and :class:`~bat_agent.errors.BatAgentError` where the graph does not say what torch says.
    """
    with needed("export", "exporting to ONNX"):
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise BadInput(f"there is no precision {unknown[0]!r}, only {', '.join(PRECISIONS)}")
    graph = _graph_of(bat)
    registry.load_plain_reasoner(bat.config.reasoner["name"], **reasoner_options(bat.config, bat.config.reasoner))
    directory = Path(directory)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    config = _config(bat, graph, {name: f"{name}.onnx" for name in PRECISIONS if name in precisions})
    tell("torch.export, which takes a minute or so")
    exported = _exported(graph, config)
    onnx.checker.check_model(exported, full_check=True)
    if config.frames is not None:
        frames = _exported_frames(graph.frames, config)
        onnx.checker.check_model(frames, full_check=True)
        write_bytes(directory / config.frames.file, frames.SerializeToString(), durable=True)
    if config.masks is not None:
        masks = _exported_masks(graph, config)
        onnx.checker.check_model(masks, full_check=True)
        write_bytes(directory / config.masks, _weights_as_float16(masks).SerializeToString(), durable=True)
    _check_beside_torch(directory, exported, config, graph)
    for name, file in config.files.items():
        write_bytes(directory / file, _as(exported, name).SerializeToString(), durable=True)
        onnx.checker.check_model(str(directory / file))
    own = {key: value for key, value in bat.config.encoder.items() if key != "agent"}
    write_config(replace(bat.config, encoder=own), directory)
    write_graph_config(config, directory)
    return [_compared(directory, name, config, graph) for name in config.files]


def _graph_of(bat: Bat) -> Any:
    if not hasattr(bat.encoder, "graph"):
        raise BadInput(
            f"the encoder {bat.config.encoder['name']!r} cannot be exported: it has no method graph; take spatial-ast"
        )
    if bat.encoder.sample_rate_hz != SAMPLE_RATE_HZ:
        raise BadInput(f"only encoders at 32 kHz are exported, this one wants {bat.encoder.sample_rate_hz} Hz")
    return bat.encoder.graph()


def _config(bat: Bat, graph: Any, files: dict[str, str]) -> GraphConfig:
    encoder = bat.encoder
    fixed = bool(getattr(encoder, "fixed_length", True))
    frames = getattr(graph, "frames", None)
    masks = graph.mask_graph() if hasattr(graph, "mask_graph") else None
    return GraphConfig(
        files=files,
        opset=OPSET,
        inputs=graph.inputs,
        outputs=graph.outputs,
        classes=tuple(encoder.labels),
        sample_rate_hz=encoder.sample_rate_hz,
        clip_seconds=encoder.clip_seconds,
        shortest_seconds=encoder.clip_seconds if fixed else SHORTEST_S,
        fixed_length=fixed,
        token_dim=encoder.token_dim,
        num_tokens=encoder.num_tokens,
        exported_by=bat_agent.__version__,
        frames=frames and FrameGraph(FRAMES_FILE, tuple(frames.outputs), frames.hop, frames.reach),
        masks=masks and MASKS_FILE,
    )


# --- from torch to ONNX ---


def _exported(graph: nn.Module, config: GraphConfig) -> Any:
    shortest, longest = (round(s * config.sample_rate_hz) for s in (config.shortest_seconds, config.clip_seconds))
    # A length that is no multiple of anything: torch takes what holds for the example for what always holds.
    samples = longest if config.fixed_length else min(2 * config.sample_rate_hz + 77, longest)
    sizes: dict[int, Any] = {0: torch.export.Dim("clips", min=1, max=MOST_CLIPS)}
    if not config.fixed_length:
        sizes[2] = torch.export.Dim("samples", min=shortest, max=longest)
    given = _given(graph, config, _sounds(3, samples, seed=0))
    shapes: list[Any] = [sizes]
    if config.frames is not None:
        lasting = (
            {} if config.fixed_length else {2: torch.export.Dim("frames", min=2, max=longest // config.frames.hop + 1)}
        )
        shapes += [{0: sizes[0], **lasting}] * len(config.frames.outputs)
    shapes += [None] * (len(given) - len(shapes))
    return _as_onnx(graph, given, shapes, config.inputs, config.outputs)


def _exported_frames(frames: nn.Module, config: GraphConfig) -> Any:
    """Of clips of any length: only the frames that are new are computed."""
    assert config.frames is not None
    longest = round(config.clip_seconds * config.sample_rate_hz)
    sizes = {
        0: torch.export.Dim("clips", min=1, max=MOST_CLIPS),
        2: torch.export.Dim("samples", min=2 * config.frames.reach, max=longest),
    }
    given = (_sounds(3, min(2 * config.sample_rate_hz + 77, longest), seed=0),)
    return _as_onnx(frames, given, [sizes], ("waveform",), config.frames.outputs)


def _exported_masks(graph: Any, config: GraphConfig) -> Any:
    """What is told of masks, from all that the encoder's graph takes but the level, and its tokens."""
    longest = round(config.clip_seconds * config.sample_rate_hz)
    sounds = _sounds(3, min(2 * config.sample_rate_hz + 77, longest), seed=0)
    given = _given(graph, config, sounds)
    with torch.no_grad():
        tokens = graph(*given)[config.outputs.index("tokens")]
    clips = torch.export.Dim("clips", min=1, max=MOST_CLIPS)
    assert config.frames is not None
    lasting = {0: clips, 2: torch.export.Dim("frames", min=2, max=longest // config.frames.hop + 1)}
    masks = graph.mask_graph()
    shapes: list[Any] = [
        {0: clips, 2: torch.export.Dim("samples", min=round(SHORTEST_S * config.sample_rate_hz), max=longest)},
        *[lasting] * len(config.frames.outputs),
        {0: clips, 1: torch.export.Dim("tokens", min=masks.fewest_tokens, max=config.num_tokens)},
    ]
    sound_and_frames = given[: 1 + len(config.frames.outputs)]
    return _as_onnx(masks, (*sound_and_frames, tokens), shapes, masks.inputs, masks.outputs)


def _given(graph: Any, config: GraphConfig, sounds: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All that a graph takes of sounds."""
    given = [sounds]
    if config.frames is not None:
        with torch.inference_mode(False), torch.no_grad():
            given += graph.frames(sounds)
    if "level_known" in config.inputs:
        given.append(torch.ones(1))
    return tuple(given)


def _as_onnx(
    graph: nn.Module, given: tuple[torch.Tensor, ...], shapes: list[Any], inputs: Sequence[str], outputs: Sequence[str]
) -> Any:
    """Exported, without traces, and with all that depends on constants alone computed."""
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            graph,
            given,
            dynamic_shapes=tuple(shapes),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
        written = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    assert written is not None
    model = written.model_proto
    for node in model.graph.node:  # traces of our source, with paths of this machine
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    del model.metadata_props[:]
    return _folded(model)


def _folded(model: Any) -> Any:
    """With all that depends on constants alone computed."""
    import onnx
    import onnxruntime

    with temporary_folder() as folder:
        given, found = (str(Path(folder) / name) for name in ("given.onnx", "found.onnx"))
        onnx.save(model, given)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = found
        options.log_severity_level = 3
        onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        return onnx.load(found)


def _sounds(clips: int, samples: int, seed: int) -> torch.Tensor:
    """Noise of other colours, levels and delays in each clip and ear: something of every direction."""
    random = torch.Generator().manual_seed(seed)
    dry = 0.1 * torch.randn(clips, 1, samples, generator=random)
    late = torch.roll(dry, 13, dims=-1) * 0.5 + 0.02 * torch.randn(clips, 1, samples, generator=random)
    fade = torch.linspace(1, 0.1, samples) ** torch.arange(clips)[:, None, None]
    sounds = torch.cat((dry, late), dim=1) * fade
    # Recordings begin late, in one ear or in both, and many hold nothing above 8 kHz, where bins are exactly zero.
    sounds[0, seed % 2, : samples // 4] = 0
    spectrum = torch.fft.rfft(sounds[-1])
    spectrum[:, spectrum.shape[1] // 2 :] = 0
    sounds[-1] = torch.fft.irfft(spectrum, samples)
    sounds[-1, :, samples // 2 :][:, : samples // 8] = 0
    return sounds


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the exporter remarks of its own insides is not for users; errors still come as errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# --- in smaller numbers ---


def _as(model: Any, precision: str) -> Any:
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    if precision == "float16":
        return _weights_as_float16(copied)
    if precision == "int8":
        return _with_int8_products(copied)
    return copied


def _weights_as_float16(model: Any) -> Any:
    """Matrices stored as float16 and cast when the file is loaded: half the size, computed in float32 as before."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2 or tensor.name.startswith(FRONT_END):
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST_WEIGHT:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    return model


def _with_int8_products(model: Any) -> Any:
    """Products with weights in int8: one scale for each output, found once, and one for all that comes in, as it comes.

    What the front end multiplies with stays in float32: of samples int8 leaves nothing.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    left = [
        node.name
        for node in model.graph.node
        if node.op_type in PRODUCTS
        and (sizes.get(node.input[1], 0) < SMALLEST_WEIGHT or node.input[1].startswith(FRONT_END))
    ]
    with temporary_folder() as folder, _quiet():
        file = str(Path(folder) / "int8.onnx")
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=list(PRODUCTS),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=left,
            extra_options={"MatMulConstBOnly": True},
        )
        small = _weights_as_float16(onnx.load(file))  # what is left of them
    del small.graph.value_info[:]
    return small


# --- beside torch ---


def _check_beside_torch(directory: Path, model: Any, config: GraphConfig, graph: nn.Module) -> None:
    """Raise where the graph in float32 does not say what torch says, whether or not it is wanted in float32."""
    import onnx

    with temporary_folder() as folder:
        alone = replace(config, files={"float32": "float32.onnx"})
        onnx.save(model, str(Path(folder) / alone.files["float32"]))
        for file in (config.frames and config.frames.file, config.masks):
            if file:
                shutil.copy(directory / file, folder)
        write_graph_config(alone, Path(folder))
        _compared(Path(folder), "float32", alone, graph)


def _compared(directory: Path, precision: str, config: GraphConfig, graph: nn.Module) -> Compared:
    from bat_agent.lite.session import LiteEncoder

    encoder = LiteEncoder(directory, precision=precision)
    longest = round(config.clip_seconds * config.sample_rate_hz)
    shapes = [(2, longest)] if config.fixed_length else [(1, 50_123), (3, 16_000), (1, longest)]
    apart = 0.0
    for seed, (clips, samples) in enumerate(shapes):
        sounds = _sounds(clips, samples, seed + 1)
        with torch.inference_mode():
            said = dict(zip(config.outputs, graph(*_given(graph, config, sounds)), strict=True))
        apart = max(apart, _apart(said, encoder(sounds.numpy())))
    if apart > APART.get(precision, np.inf) or not np.isfinite(apart):
        raise BatAgentError(
            f"the {precision} graph says something else than torch: a probability differs by {apart:.3g}; do not use it"
        )
    return Compared(precision, (directory / config.files[precision]).stat().st_size, apart)


def _apart(torch_said: dict[str, torch.Tensor], said: Encoding) -> float:
    from bat_agent.hearing.heads import as_array, sigmoid, softmax

    worst = 0.0
    for name, logits in torch_said.items():
        if name == "tokens":
            continue
        other = getattr(said.slots if name.startswith("slots.") else said, name.removeprefix("slots."))
        if not np.isfinite(other).all():
            return float("inf")
        squash = sigmoid if name.endswith(("class_logits", "activity_logits")) else softmax
        worst = max(worst, float(np.abs(squash(as_array(logits)) - squash(other)).max()))
    return worst
