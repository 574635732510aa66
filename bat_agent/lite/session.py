"""An encoder as ONNX Runtime computes it: numpy arrays in, an encoding of numpy arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bat_agent.errors import BadInput, WeightsError
from bat_agent.extras import needed
from bat_agent.hearing.graph_folder import read_graph_config
from bat_agent.interfaces import Encoding, SlotEncoding
from bat_agent.lite.frames import FrameMemory

CPU = "CPUExecutionProvider"
Provider = str | tuple[str, dict[str, Any]]
_SLOTS = "slots."
_ERRORS_ONLY = 3


class LiteEncoder:
    """What :class:`bat_agent.interfaces.Encoder` asks for, without being a module: nothing in it can be trained."""

    def __init__(
        self,
        directory: Path | str,
        *,
        precision: str | None = None,
        threads: int = 1,
        providers: Sequence[Provider] | None = None,
    ) -> None:
        """Open the graph of a folder that ``bat-agent export`` wrote.

        ``precision``: ``int8``, ``float32`` or ``float16``, the first of these there is unless given. ``threads`` that
        compute. ``providers`` are ONNX Runtime's, best first, such as ``["CUDAExecutionProvider"]``; what one of them
        cannot compute, the processor does.

        Raises :class:`~bat_agent.errors.WeightsError` where the folder holds no graph that this version reads, and
        :class:`~bat_agent.errors.BadInput` where ONNX Runtime or a provider is missing.
        """
        self.graph = graph = read_graph_config(Path(directory))
        self.precision, file = graph.file_of(precision)
        if threads < 1:
            raise BadInput(f"threads must be at least 1, got {threads}")
        self._session = _open(Path(directory) / file, threads, providers)
        self._frames: FrameMemory | None = None
        if graph.frames is not None:
            frames = _open(Path(directory) / graph.frames.file, threads, providers)
            names = list(graph.frames.outputs)
            self._frames = FrameMemory(graph.frames, lambda waveform: frames.run(names, {"waveform": waveform}))
        self._masks = None if graph.masks is None else _open(Path(directory) / graph.masks, threads, providers)
        self.sample_rate_hz, self.clip_seconds = graph.sample_rate_hz, graph.clip_seconds
        self.fixed_length, self.labels = graph.fixed_length, graph.classes
        self.token_dim, self.num_tokens = graph.token_dim, graph.num_tokens
        self._shortest, self._longest = (
            round(seconds * graph.sample_rate_hz) for seconds in (graph.shortest_seconds, graph.clip_seconds)
        )
        if "level_known" in graph.inputs:
            self.level_known = True

    @property
    def providers(self) -> list[str]:
        """Who computes, as ONNX Runtime names them."""
        return list(self._session.get_providers())

    def __call__(self, waveform: NDArray[np.float32]) -> Encoding:
        """Encode clips (B, 2, N), float32 at ``sample_rate_hz``.

        Raises :class:`~bat_agent.errors.BadInput` for windows that are longer or shorter than the graph was exported
        for.
        """
        samples = waveform.shape[-1]
        if not self._shortest <= samples <= self._longest:
            rate_hz, graph = self.sample_rate_hz, self.graph
            raise BadInput(
                f"this model was exported for windows of {graph.shortest_seconds:g} s to {graph.clip_seconds:g} s, got "
                f"{samples / rate_hz:.2f} s: cut or pad the sound"
            )
        sound = np.ascontiguousarray(waveform, np.float32)
        given: dict[str, NDArray[np.float32]] = {"waveform": sound}
        if self._frames is not None:
            given |= self._frames(sound)
        if "level_known" in self.graph.inputs:
            given["level_known"] = np.array([float(self.level_known)], np.float32)
        said = dict(zip(self.graph.outputs, self._session.run(list(self.graph.outputs), given), strict=True))
        slots = {name.removeprefix(_SLOTS): said.pop(name) for name in list(said) if name.startswith(_SLOTS)}
        return Encoding(**said, slots=SlotEncoding(**slots) if slots else None)

    def told_masks(self, waveform: NDArray[np.float32], tokens: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Which parts of the spectrogram of clips are whose (B, S, R, 128), from the ``tokens`` of their encoding;
        ``None`` where the model does not tell.
        """
        if self._masks is None:
            return None
        assert self._frames is not None
        sound = np.ascontiguousarray(waveform, np.float32)
        given = {"waveform": sound, **self._frames(sound), "tokens": np.ascontiguousarray(tokens, np.float32)}
        (found,) = self._masks.run(["masks"], given)
        return np.asarray(found)


def _open(file: Path, threads: int, providers: Sequence[Provider] | None) -> Any:
    with needed("lite", "a model exported to ONNX"):
        import onnxruntime
    if not file.is_file():
        raise WeightsError(f"the exported model is not whole: {file} is missing; copy all of the folder")
    wanted = [*(providers or ()), CPU]
    there = onnxruntime.get_available_providers()
    for provider in wanted:
        name = provider if isinstance(provider, str) else provider[0]
        if name not in there:
            raise BadInput(
                f"this ONNX Runtime has no provider {name!r}, only {', '.join(there)}; take one of these, or install "
                "another build of onnxruntime"
            )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _ERRORS_ONLY
    # One step further, convolutions would work on blocks of 16 channels, also where there are four.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=list(dict.fromkeys(wanted)))
    except Exception as error:  # it has no class of its own for what it cannot read
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open {file} ({reason}): copy it again, or export it with "
            "this version of bat-agent"
        ) from error
