"""How a command ends: exit code 0, or one line on standard error that says what was wrong and what to do."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO

import typer

from bat_agent.cli.renamed import with_new_names
from bat_agent.errors import BadInput, BatAgentError, OldNameWarning, PluginError, WeightsError
from bat_agent.extras import sentence_about
from bat_agent.files.writing import FULL

_OUTPUT = "standard output"


def run_app(
    app: typer.Typer,
    name: str,
    arguments: Sequence[str] | None = None,
    renamed: Mapping[tuple[str, ...], Mapping[str, str]] | None = None,
) -> NoReturn:
    """Run ``app`` as the command ``name`` (default arguments: ``sys.argv``); it ends with ``SystemExit``. ``renamed``
    are options that have another name now, as :mod:`bat_agent.cli.renamed` has them.

    Exit code 0 is success, 2 bad input (usage, files, plugins, weights), 1 anything else that failed on the way; each
    is told in one line on standard error. Where nobody reads the output any more, it is 1, without a word.
    """
    _stand_in_for_closed_streams()
    try:
        with _old_names_as_notes(), _named_output():
            given = with_new_names(sys.argv[1:] if arguments is None else arguments, renamed or {})
            code = app(args=given, prog_name=name, standalone_mode=False)
            sys.stdout.flush()  # Python's own end would print a traceback
    except (BadInput, PluginError, WeightsError) as error:
        _fail(str(error), 2)
    except BatAgentError as error:
        _fail(str(error), 1)
    except ImportError as error:
        if not (sentence := sentence_about(error)):
            raise
        _fail(sentence, 2)
    except OSError as error:
        if error.filename == _OUTPUT:
            _end_output(error)
        _fail(_about_file(error), 2)
    except typer.Abort:
        _fail("interrupted", 130)
    except Exception as error:
        # Usage errors are click's, of which typer may use the installed one or carry its own: no class to name here.
        if not hasattr(error, "format_message"):
            raise
        _end_usage(error)
    raise SystemExit(code if isinstance(code, int) else 0)


@contextmanager
def _old_names_as_notes() -> Iterator[None]:
    """Old names that were read are told in one line each; other warnings as ever."""
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, OldNameWarning):
            print(f"note: {message}", file=sys.stderr)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = note
    try:
        yield
    finally:
        warnings.showwarning = show


def _stand_in_for_closed_streams() -> None:
    """Python has no stream where its parent closed one, as ``>&-`` does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end


class _Output:
    """Standard output whose errors say that it is the one; the system's have no name."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As the stream's own."""
        with _named():
            return self._stream.write(text)

    def flush(self) -> None:
        """As the stream's own."""
        with _named():
            self._stream.flush()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = _OUTPUT
        raise


@contextmanager
def _named_output() -> Iterator[None]:
    stream = sys.stdout
    sys.stdout = _Output(stream)
    try:
        yield
    finally:
        sys.stdout = stream


def _end_output(error: OSError) -> NoReturn:
    """Nothing more can be written to standard output; what waits there must not fail again when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        raise SystemExit(1)
    _fail(f"cannot write {_OUTPUT} ({error.strerror}); free some space there, or send it elsewhere", 2)


def _end_usage(error: Any) -> NoReturn:
    message = str(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help itself, empty where rich has printed it
        print(message, end="\n" if message else "", file=sys.stderr)
        raise SystemExit(error.exit_code)
    # What typer found wrong with a choice begins with the name of an exception.
    message = " ".join(message.replace("Value error, ", "").split()).rstrip(".")
    context = getattr(error, "ctx", None)
    help_of = f"; see '{context.command_path} --help'" if context is not None else ""
    _fail(f"{message[:1].lower()}{message[1:]}{help_of}", error.exit_code)


def _about_file(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        said = " ".join(str(error).split())
        return f"{said}; free some space, or choose another place" if error.errno in FULL else said
    advice = "free some space there" if error.errno in FULL else "choose another place"
    return f"cannot use {error.filename} ({error.strerror}); {advice}"


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)
