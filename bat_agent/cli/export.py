"""``bat-agent export``: a model as ONNX files, to be heard without torch."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.cli.output import print_json, print_table
from bat_agent.errors import BadInput


class Precision(str, Enum):
    """Of weights."""

    int8 = "int8"
    float32 = "float32"
    float16 = "float16"


def export(
    model: Annotated[str, typer.Argument(help="A shipped model, a folder, or a hub repository owner/name.")],
    onnx: Annotated[Path, typer.Option("--onnx", metavar="DIR", help="Folder to write; it can be loaded by name.")],
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Of the weights; may be given again. Default: all three.")
    ] = None,
    encoder: inputs.EncoderName = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    json: inputs.AsJson = False,
) -> None:
    """Export a model to ONNX, for bat_agent.lite: encoder with its front end, thresholds, calibration and labels."""
    if inputs.is_exported(model):
        raise BadInput(f"the model {model!r} is exported already; name the one that it was made from")
    wanted = [each.value for each in precision or Precision]
    bat = inputs.open_bat(model, "cpu", inputs.Instead(encoder, encoder_option, weights))
    from bat_agent.exporting import export as write

    found = write(inputs.of_torch(bat), onnx, wanted, tell=lambda text: typer.echo(text, err=True))
    if json:
        print_json([{"precision": one.precision, "bytes": one.num_bytes, "apart": one.apart} for one in found])
        return
    rows = ((one.precision, f"{one.num_bytes / 1e6:.1f} MB", f"{one.apart:.2g}") for one in found)
    print_table(f"{model} in {onnx}", ("weights", "file", "probabilities differ by, at most"), rows)
