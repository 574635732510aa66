"""``bat-listen``: what sounds around two microphones, live; and questions about it."""

from __future__ import annotations

import errno
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bat_agent.cli import inputs
from bat_agent.cli import listen_options as options
from bat_agent.cli.entry import run_app
from bat_agent.cli.listen_options import Input, View
from bat_agent.cli.output import print_at_once
from bat_agent.cli.recordings import Ambisonics
from bat_agent.cli.renamed import BAT_LISTEN
from bat_agent.errors import BadInput
from bat_agent.extras import needed
from bat_agent.files.writing import whole_lines

if TYPE_CHECKING:
    from bat_agent.listening.blocks import SoundSource
    from bat_agent.listening.engine import LiveEars

_NOBODY_READS = (errno.EPIPE, errno.EIO)
"""What writing raises when the other end of a pipe, or the terminal, is gone."""
app = typer.Typer(pretty_exceptions_enable=False, invoke_without_command=True)


@app.callback()
def listen(
    context: typer.Context,
    microphone: options.Microphone = None,
    file: options.File = None,
    walk: options.Walk = None,
    raw: options.Raw = False,
    tcp: options.Tcp = None,
    ws: options.Ws = None,
    rate: options.Rate = 32_000,
    form: options.Form = "s16le",
    num_channels: options.NumChannels = 2,
    allow_remote: options.AllowRemote = False,
    channels: options.Channels = None,
    ambisonics: options.Ambisonic = Ambisonics.auto,
    swap: options.Swap = False,
    headings: options.Headings = None,
    heading_channel: options.HeadingChannel = None,
    fast: options.Fast = False,
    loop: options.Loop = False,
    start: options.Start = 0.0,
    ask: options.Ask = None,
    ask_every: options.AskEvery = None,
    view: options.Shown = None,
    jsonl: options.Jsonl = None,
    web: options.Web = False,
    port: options.Port = 8765,
    host: options.Host = "127.0.0.1",
    allow_host: options.AllowHost = None,
    model: inputs.Model = inputs.DEFAULT_MODEL,
    encoder: inputs.EncoderName = None,
    encoder_option: inputs.EncoderOptions = None,
    weights: inputs.Weights = None,
    reasoner: inputs.ReasonerName = None,
    reasoner_option: inputs.ReasonerOptions = None,
    device: inputs.Device = None,
    threads: inputs.Threads = None,
    lite: options.Lite = False,
    window: options.Window = 2.0,
    hop: options.Hop = 0.25,
    level: options.Level = None,
    only: options.Only = None,
    without: options.Without = None,
    min_confidence: options.MinConfidence = 0.0,
    save: options.Save = None,
    save_most_mb: options.SaveMost = 1000.0,
    seconds: options.Seconds = None,
) -> None:
    """Listen: what sounds around two microphones and where, live; type a question and press Enter.

    Sound stays in the memory of this process and is gone when it ends, unless --save says otherwise.
    """
    if context.invoked_subcommand is not None:
        return
    from bat_agent.listening.opening import FIRST_TWO, default_level_known
    from bat_agent.listening.opening import listen as open_ears
    from bat_agent.listening.saving import Recorder

    pair = inputs.two_channels(channels)
    given = Input(
        microphone, file, walk, raw, tcp, ws, rate, form, num_channels, allow_remote, fast, loop, start, seconds,
        ambisonics if pair is None and heading_channel is None else Ambisonics.no, headings,
    )  # fmt: skip
    source = _source(given, pair or FIRST_TWO)
    instead = inputs.Instead(encoder, encoder_option, weights, reasoner, reasoner_option)
    if lite and model != inputs.DEFAULT_MODEL:
        raise BadInput(f"--lite is the model lite, but --model names {model!r}: leave one of them out")
    model = "lite" if lite else model
    bat = inputs.open_bat(model, device, instead, level_known=default_level_known(source) if level is None else level)
    ears = open_ears(
        source,
        model=bat, channels=pair, swap=swap, heading_channel=heading_channel,
        save=None if save is None else Recorder(save, save_most_mb),
        window_s=window, hop_s=hop, questions=tuple(ask or ()), ask_every_s=ask_every,
        only=_labels(only), without=_labels(without), least_confidence=min_confidence,
    )  # fmt: skip
    view = view or (View.radar if jsonl != "-" else View.none)
    remarks = ears.remarks
    with ExitStack() as open_things:
        open_things.enter_context(_signals(ears))  # first, so that nothing ends between them and a changed terminal
        shows = [open_things.enter_context(_json_lines(jsonl))] if jsonl else []
        if web:
            page = open_things.enter_context(_page(ears, host, port, allow_host or []))
            shows.append(page.show)
            remarks.append(f"the page is at {page.url}")
        for remark in (f"listening to {ears.source_name} with {ears.model_name}; {_kept(save)}", *remarks):
            _say(remark)
        if view is not View.none:
            shows.append(open_things.enter_context(_terminal(ears, view, remarks)))
        _run(ears, shows, seconds)


def _run(ears: LiveEars, shows: list[Any], seconds: float | None) -> None:
    end = None if seconds is None else time.monotonic() + seconds
    with ears:
        for update in ears:
            try:
                for show in shows:
                    show(update)
            except OSError as error:
                if error.errno not in _NOBODY_READS:
                    raise
                break
            if seconds is not None and (update.t_s >= seconds or (end and time.monotonic() > end and ears.live)):
                break


@app.command()
def devices(json: inputs.AsJson = False) -> None:
    """List the microphones of this machine."""
    from bat_agent.cli.output import print_json, print_table
    from bat_agent.listening.devices import NO_MICROPHONE, list_devices

    found = list_devices()
    if json:
        print_json([device.to_dict() for device in found])
        return
    if not found:
        _say(NO_MICROPHONE)
        return
    rows = []
    for found_one in found:
        rates = ", ".join(f"{hz / 1000:g}" for hz in found_one.rates_hz) or "none"
        mark = "default" if found_one.is_default else ""
        ears = str(found_one.input_channels)
        rows.append((str(found_one.index), found_one.name, found_one.host_api, ears, rates, mark))
    print_table("microphones", ("number", "name", "through", "channels", "kHz in stereo", ""), rows)


@app.command()
def calibrate(
    microphone: options.Microphone = None,
    channels: options.Channels = None,
    seconds: Annotated[float, typer.Option(help="How long to wait for each clap.")] = 4.0,
) -> None:
    """Find out whether the ears are swapped: clap on your left, then on your right. What is found is kept."""
    from bat_agent.listening.calibrating import record_claps
    from bat_agent.listening.microphone import Microphone
    from bat_agent.listening.opening import FIRST_TWO
    from bat_agent.listening.sides import judge_claps, store_sides

    source = Microphone(microphone, channels=inputs.two_channels(channels) or FIRST_TWO)
    left, right, rate_hz = record_claps(source, seconds, _say)
    found = judge_claps(left, right, rate_hz)
    place = store_sides(source.name, found)
    swapped = "the ears are swapped, which bat-listen will mend" if found.swap else "left is left"
    _say(f"{source.name}: {swapped}; the ears differ by {found.gain_db:+.1f} dB; kept in {place}")


# --- what it is about ---


def _source(given: Input, pair: tuple[int, int]) -> SoundSource:
    from bat_agent.listening import feeds, simulated
    from bat_agent.listening.microphone import Microphone
    from bat_agent.listening.opening import open_file

    _check_one(given)
    samples: dict[str, Any] = {"sample_rate_hz": given.rate_hz, "channels": given.num_channels, "form": given.form}
    if given.file is not None:
        return open_file(
            given.file, fast=given.fast, start_s=given.start_s, loop=given.loop, seconds=given.seconds,
            ambisonics=given.ambisonics.value, headings=given.headings,
        )  # fmt: skip
    if given.walk is not None:
        return simulated.walk(given.walk, pace="fast" if given.fast else "real", seconds=given.seconds)
    if given.raw:
        return feeds.Raw(**samples)
    if given.tcp is not None:
        where, number = _address(given.tcp, "--tcp")
        return feeds.Tcp(number, where, remote=given.remote, **samples)
    if given.ws is not None:
        from bat_agent.listening.websocket import WebSocketFeed

        where, number = _address(given.ws, "--ws")
        return WebSocketFeed(number, where, remote=given.remote, **samples)
    return Microphone(given.microphone, channels=pair)


def _check_one(given: Input) -> None:
    inputs_given = {
        "--microphone": given.microphone,
        "--file": given.file,
        "--walk": given.walk,
        "--raw": given.raw or None,
        "--tcp": given.tcp,
        "--ws": given.ws,
    }
    names = [name for name, value in inputs_given.items() if value is not None]
    if len(names) > 1:
        raise BadInput(f"{' and '.join(names)} were given, but only one thing can be listened to: leave the others out")
    if given.headings is not None and given.file is None:
        raise BadInput("--headings is for --file: --tcp, --ws and --raw send theirs in --heading-channel")
    if (given.fast or given.loop or given.start_s) and not (given.file or (given.walk and given.fast)):
        raise BadInput("--fast, --loop and --start are for --file: a microphone comes at its own pace")


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) < 65_536:
        raise BadInput(f"{option} must be a port, or HOST:PORT, as in 9000; got {text!r}")
    return host or "127.0.0.1", int(port)


def _labels(names: list[str] | None) -> tuple[str, ...]:
    from bat_agent.labels import class_number, labels

    return tuple(labels()[class_number(name)] for name in names or ())


def _kept(save: Path | None) -> str:
    return "nothing is saved" if save is None else f"SAVING what is heard into {save}"


# --- where it is shown ---


@contextmanager
def _json_lines(place: str) -> Iterator[Any]:
    with nullcontext(print_at_once) if place == "-" else whole_lines(Path(place)) as add:
        yield lambda update: add(update.to_json() + "\n")


@contextmanager
def _terminal(ears: LiveEars, view: View, remarks: list[str]) -> Iterator[Any]:
    from rich.console import Console

    from bat_agent.listening.terminal import TerminalView

    with TerminalView(ears, Console(), plain=view is View.plain) as terminal:
        # The radar covers what was printed before.
        terminal.line.said = "; ".join(remarks)
        yield terminal.show


@contextmanager
def _page(ears: LiveEars, host: str, port: int, hosts: list[str]) -> Iterator[Any]:
    with needed("listen", "--web"):
        from bat_agent.listening.web import WebView

    page = WebView(ears, host=host, port=port, hosts=tuple(hosts))
    page.start()
    try:
        yield page
    finally:
        page.close()


@contextmanager
def _signals(ears: LiveEars) -> Iterator[None]:
    """Interrupted or ended from outside, also by closing its terminal, listening stops and the command succeeds;
    SIGUSR1 pauses and resumes.

    Who was told to end by a signal ends: further ones change nothing, or they would come in the middle of what sets the
    terminal back.
    """
    from bat_agent.listening.leaving import signals_that_end

    told = []

    def stop(number: int, frame: Any) -> None:
        told.append(number)
        ears.stop()

    def pause(number: int, frame: Any) -> None:
        ears.resume() if ears.paused else ears.pause()

    handlers = dict.fromkeys(signals_that_end(), stop)
    if hasattr(signal, "SIGUSR1"):
        handlers[signal.SIGUSR1] = pause
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if told and handler == signal.SIG_DFL else handler)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> None:
    """The command ``bat-listen``."""
    from bat_agent.listening.leaving import leave

    try:
        run_app(app, "bat-listen", renamed=BAT_LISTEN)
    except SystemExit as ended:
        leave(int(ended.code or 0))


if __name__ == "__main__":
    main()
