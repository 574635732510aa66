"""``bat-agent serve``: ears in a process of their own, for programs that cannot load torch."""

from __future__ import annotations

import json as json_module
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bat_agent.cli import inputs
from bat_agent.errors import BadInput
from bat_agent.extras import needed

if TYPE_CHECKING:
    from bat_agent.serving.streams import Streams

RENDERED_BY = "soundspaces"
QUEUED_BATCHES = 4


def serve(
    model: inputs.Model = inputs.DEFAULT_MODEL,
    encoder: inputs.EncoderName = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    reasoner: inputs.ReasonerName = None,
    reasoner_option: inputs.ReasonerOptions = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback give a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(help="Secret of the clients, which everybody here then sees; better $BAT_AGENT_TOKEN, or none."),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Clips of equal length that are encoded together.")] = 16,
    max_wait_ms: Annotated[float, typer.Option(min=0.0, help="How long a clip waits for others, ms.")] = 5.0,
    queue: Annotated[int | None, typer.Option(min=1, help="Clips that may wait; default: 4 batches.")] = None,
    max_mb: Annotated[float, typer.Option(min=0.01, help="Largest request, MB; 10 s of sound are 2.6 MB.")] = 64.0,
    body_timeout_s: Annotated[float, typer.Option(min=0.1, help="A request must have arrived within this, s.")] = 30.0,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name clients may call; may be given again.")
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Render sounds in its meshes for agents elsewhere (extra soundspaces)."),
    ] = None,
    simulator_option: inputs.SimulatorOptions = None,
    threads: inputs.Threads = None,
    device: inputs.Device = None,
    unknown_level: inputs.UnknownLevel = False,
    json: Annotated[bool, typer.Option("--json", help="Print address and token as one line of JSON.")] = False,
) -> None:
    """Serve perceptions and answers over HTTP to HearingClient, until interrupted.

    Prints one line to copy into the shell of the client: its address and its token.
    """
    with needed("listen", "bat-agent serve"):
        from bat_agent.serving import server

    options = server.ServerOptions(
        max_batch,
        max_wait_ms / 1000,
        queue or QUEUED_BATCHES * max_batch,
        (host, *(allow_host or ())),
        server.Limits(round(max_mb * server.MEGABYTE), body_timeout_s),
        _streams(scenes, simulator_option),
    )
    token = server.choose_token(token, host)
    # A port in use is told at once, before a model is loaded.
    with server.until_signalled(), server.listen(host, port) as listening:
        instead = inputs.Instead(encoder, encoder_option, weights, reasoner, reasoner_option)
        bat = inputs.open_bat(model, device, instead, level_known=not unknown_level)
        heard_by = model if encoder is None else bat.config.name
        said = {"url": server.url_of(listening, host), "token": token, "model": heard_by, "pid": os.getpid()}

        def ready() -> None:
            line = f"BAT_AGENT_URL={said['url']} BAT_AGENT_TOKEN={token}"
            print(json_module.dumps(said) if json else line, flush=True)

        server.HearingServer(bat, listening, token, options, ready).run()


def _streams(scenes: Path | None, simulator_option: list[str] | None) -> Streams | None:
    """What renders, told before a model is loaded if it cannot."""
    if scenes is None:
        if simulator_option:
            raise BadInput("--simulator-option was given without --scenes: name the folder of meshes to render in")
        return None
    from bat_agent.registry import load_simulator
    from bat_agent.serving.streams import Streams

    options = inputs.key_values(simulator_option or [], "--simulator-option")
    return Streams(scenes, load_simulator(RENDERED_BY, **options))
