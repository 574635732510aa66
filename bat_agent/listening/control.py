"""What a view may ask of the listener whose updates it shows."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from bat_agent.hearing.answers import Answer


class Control(Protocol):
    """The part of a listener that views use; all of it may be called from any thread and returns at once."""

    source_name: str
    model_name: str
    hop_s: float

    @property
    def paused(self) -> bool:
        """Whether the input is closed."""
        ...

    def ask(self, question: str) -> Future[Answer]:
        """Answer from what is heard now; raises :class:`~bat_agent.errors.BadInput` for an empty question."""
        ...

    def pause(self) -> None:
        """Close the input: nothing is heard or kept until :meth:`resume`."""
        ...

    def resume(self) -> None:
        """Open the input again."""
        ...

    def swap(self) -> None:
        """Take the left ear for the right one from now on."""
        ...

    def stop(self) -> None:
        """End listening."""
        ...
