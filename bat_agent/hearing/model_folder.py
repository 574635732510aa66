"""The folder of a model: where it is found, and ``config.json``, which says how its parts are built and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from bat_agent.errors import WeightsError
from bat_agent.files.reading import parse_json
from bat_agent.files.writing import write_json
from bat_agent.hearing.confidence import Calibration
from bat_agent.hearing.perception import Thresholds
from bat_agent.registry import fitted

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class ModelConfig:
    """What ``config.json`` of a model directory holds: how to build the parts, and how to read their output."""

    name: str
    encoder: dict[str, Any]
    """``{"name": …, "options": {…}}``; with ``"agent": NAME`` it is that model's, which has its weights."""
    reasoner: dict[str, Any]
    """``{"name": …, "options": {…}}``"""
    thresholds: Thresholds = field(default_factory=Thresholds)
    calibration: Calibration = field(default_factory=Calibration)
    labels: tuple[str, ...] = ()
    """Display names of the classes it has learnt; empty where nobody wrote them down: then it counts as knowing all."""

    def read_as(self, values: Mapping[str, Any]) -> ModelConfig:
        """The same parts, their output read as another ``config.json`` says: its ``thresholds``, ``calibration`` and
        ``labels``.
        """
        thresholds = self.thresholds
        if "thresholds" in values:
            thresholds = fitted(Thresholds, values["thresholds"], "thresholds")
        return replace(
            self,
            thresholds=thresholds,
            calibration=Calibration.from_dict(values["calibration"]) if "calibration" in values else self.calibration,
            labels=tuple(values["labels"]) if "labels" in values else self.labels,
        )


def write_config(config: ModelConfig, directory: Path) -> None:
    """Write the ``config.json`` of a model directory, atomically."""
    write_json(directory / CONFIG_FILE, asdict(config), durable=True)


def read_config(directory: Path) -> ModelConfig:
    """The ``config.json`` of a model directory."""
    file = directory / CONFIG_FILE
    if not file.is_file():
        raise WeightsError(f"{directory} is no model directory: {CONFIG_FILE} is missing; save_pretrained writes one")
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
        if "agent" in data["encoder"]:
            return _with_ears_of(str(data["encoder"]["agent"]), data)
        thresholds = fitted(Thresholds, data["thresholds"], "thresholds")
        calibration = Calibration.from_dict(data.get("calibration", {}))
        encoder, reasoner = _part(data["encoder"]), _part(data["reasoner"])
        return ModelConfig(_name(data), encoder, reasoner, thresholds, calibration, _known(data.get("labels", ())))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file} is broken ({error}); it must hold name, encoder, reasoner, thresholds") from error


def _with_ears_of(agent: str, data: Mapping[str, Any]) -> ModelConfig:
    """A model that has another one's encoder, and all that was chosen for it, thresholds and calibration."""
    theirs = read_config(find_model(agent))
    config = replace(
        theirs, name=_name(data), encoder={**theirs.encoder, "agent": agent}, reasoner=_part(data["reasoner"])
    )
    return config.read_as(data)


def encoder_folder(config: ModelConfig, directory: Path) -> Path:
    """Where the encoder's weights lie: in the model directory, or in that of the model whose encoder it has."""
    agent = config.encoder.get("agent")
    return (directory if agent is None else find_model(agent)) / "encoder"


def _name(data: Mapping[str, Any]) -> str:
    if not isinstance(data["name"], str):
        raise TypeError("its name must be text")
    return data["name"]


def _part(data: Any) -> dict[str, Any]:
    return {"name": str(data["name"]), "options": dict(data["options"])}


def _known(names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError("labels must be a list of display names")
    return tuple(names)


def shipped_models() -> dict[str, Path]:
    """The models inside the package, by name."""
    folder = Path(str(resources.files("bat_agent") / "models"))
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CONFIG_FILE}"))}


def find_model(name_or_dir: str | Path) -> Path:
    """The directory of a shipped model, of a directory, or of a hub repository ``owner/name``, which is fetched.

    Raises :class:`~bat_agent.errors.WeightsError` where there is none.
    """
    name, path = str(name_or_dir), Path(name_or_dir).expanduser()
    if name in shipped_models():
        return shipped_models()[name]
    if path.is_dir():
        return path
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return _from_hub(name)
    shipped = ", ".join(shipped_models()) or "none"
    raise WeightsError(
        f"no model {name!r}: give a directory, a hub repository owner/name, or a shipped one ({shipped})"
    )


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repository))
    except HFValidationError as error:
        raise WeightsError(
            f"no model {repository!r}: there is no such directory, and it is no hub repository owner/name either"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise WeightsError(
            f"cannot fetch the model {repository!r} from the hub ({type(error).__name__}): check the name and the "
            f"connection, or download it elsewhere with 'hf download {repository}' and pass the directory"
        ) from error
