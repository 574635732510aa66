"""Open ears: what is said of a stream, with ears and sources of our own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.hearing.answers import Answer
from bat_agent.hearing.perception import PerceivedSource, Perception
from bat_agent.listening.answering import MOST_WAITING, Answering
from bat_agent.listening.blocks import Block, Notice, Samples
from bat_agent.listening.engine import LiveEars
from bat_agent.listening.events import Answered, Update
from bat_agent.listening.intake import Sides
from bat_agent.listening.saving import Recorder
from bat_agent.listening.settings import Settings
from bat_agent.sound.ring import Waveform

RATE_HZ = 32_000
BLOCK = 1600


class Ears:
    """Hears a dog on the louder side, and keeps what it was given."""

    converses = False

    def __init__(self, seconds: float = 0.0) -> None:
        self.config = SimpleNamespace(name="stub")
        self.seconds = seconds
        self.windows: list[Waveform] = []

    def perceive(self, window: Waveform) -> Perception:
        if self.windows:  # the first is the warm-up
            time.sleep(self.seconds)
        self.windows.append(window)
        left, right = np.square(window).mean(axis=1)
        return Perception((PerceivedSource(("Dog",), 180.0 if left > right else 0.0, 0.0, 2.0, 0.9),), {"Dog": 0.9})

    def ask(self, window: Waveform, question: str) -> Answer:
        left, right = np.square(window).mean(axis=1)
        return Answer(question, "left" if left > right else "right", 0.9)


class Script:
    """A source that plays items; blocks are as long as they say, notices take no time."""

    def __init__(self, items: Sequence[Samples | Notice], *, live: bool = False, rate_hz: int = RATE_HZ) -> None:
        self.name, self.live, self.sample_rate_hz, self.channels = "script", live, rate_hz, 2
        self.items = list(items)
        self.opened = self.closed = 0
        self._played_s = 0.0
        self._begin_s = time.monotonic()

    def open(self) -> None:
        self.opened += 1
        self._begin_s = time.monotonic() - self._played_s

    def read(self, timeout_s: float) -> list[Block | Notice]:
        if not self.items:
            return [Notice("ended", "over", self.clock_s())]
        item = self.items.pop(0)
        if isinstance(item, Notice):
            return [item]
        self._played_s += len(item) / self.sample_rate_hz
        if self.live:
            time.sleep(max(0.0, self._begin_s + self._played_s - time.monotonic()))
        return [Block(item, self.clock_s())]

    def clock_s(self) -> float:
        return time.monotonic() if self.live else self._played_s

    def close(self) -> None:
        self.closed += 1


def blocks(seconds: float, left: float = 0.2, right: float = 0.1, rate_hz: int = RATE_HZ) -> list[Samples]:
    rng = np.random.default_rng(0)
    size = BLOCK * rate_hz // RATE_HZ
    return [
        (rng.standard_normal((size, 2)) * [left, right]).astype(np.float32)
        for _ in range(round(seconds * rate_hz / size))
    ]


def ears(source: Script, stub: Any = None, sides: Sides | None = None, **settings: Any) -> LiveEars:
    return LiveEars(source, stub or Ears(), Settings(**settings), sides=sides)


def listen(items: Sequence[Samples | Notice], **settings: Any) -> list[Update]:
    return list(ears(Script(items), **settings))


def test_a_file_gives_an_update_every_hop_and_the_same_each_time() -> None:
    updates = listen(blocks(3.0), hop_s=0.25)
    assert [u.t_s for u in updates] == pytest.approx(np.arange(0.25, 3.01, 0.25))
    assert all(u.lag_s == 0 and u.dropped == 0 and u.emitted_s == pytest.approx(u.t_s) for u in updates)
    assert [u.window_s for u in updates] == pytest.approx([min(u.t_s, 2.0) for u in updates])
    assert [u.to_json() for u in updates] == [u.to_json() for u in listen(blocks(3.0), hop_s=0.25)]


def test_the_window_holds_the_newest_samples_left_ear_first() -> None:
    sound, stub = blocks(3.0), Ears()
    list(ears(Script(sound), stub, window_s=1.0))
    whole = np.concatenate(sound).T
    np.testing.assert_array_equal(stub.windows[-1], whole[:, -RATE_HZ:])


def test_swapped_ears_and_other_channels() -> None:
    for sides, expected in ((Sides(), 180.0), (Sides(swap=True), 0.0), (Sides(1, 0), 0.0)):
        updates = list(ears(Script(blocks(1.0)), sides=sides))
        assert updates[-1].sources[0].source.azimuth_deg == expected
    with pytest.raises(BadInput, match="has 2 channels, but channel 4 was asked for"):
        list(ears(Script(blocks(1.0)), sides=Sides(2, 3)))


def test_nothing_is_joined_across_a_gap() -> None:
    stub = Ears()
    items = [*blocks(1.5), Notice("gap", "0.4 s are missing", 1.5, 0.4), *blocks(1.0)]
    updates = list(ears(Script(items), stub, window_s=2.0))
    after = [u for u in updates if u.t_s > 1.9 + 1e-6]
    assert max(u.window_s for u in after) == pytest.approx(1.0, abs=0.06)
    assert updates[-1].lost_s == pytest.approx(0.4)
    assert updates[-1].t_s == pytest.approx(2.9, abs=0.01)
    assert any(note.kind == "gap" for u in after for note in u.health)


def test_a_rate_of_48_khz_is_resampled_without_a_seam() -> None:
    t = np.arange(2 * 48_000) / 48_000
    tone = np.stack((np.sin(2 * np.pi * 1000 * t), 0.5 * np.sin(2 * np.pi * 1000 * t)), axis=1).astype(np.float32)
    stub = Ears()
    list(ears(Script(list(tone.reshape(-1, 1200, 2)), rate_hz=48_000), stub, window_s=1.0))
    heard = stub.windows[-1][0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    # A tone and nothing else: what leaks beside it is 80 dB down.
    peak = int(spectrum.argmax())
    assert peak == pytest.approx(1000 * len(heard) / RATE_HZ, abs=1)
    spectrum[peak - 5 : peak + 6] = 0
    assert spectrum.max() < 1e-4 * np.abs(np.fft.rfft(heard * np.hanning(len(heard)))).max()


def test_one_microphone_in_stereo_gets_a_name_but_no_direction() -> None:
    same = [np.repeat(block[:, :1], 2, axis=1) for block in blocks(3.0)]
    updates = listen(same, questions=("where is the dog?",))
    last = updates[-1]
    assert [note.kind for note in last.health] == ["identical"]
    assert last.sources[0].source.labels == ("Dog",)
    assert last.sources[0].source.azimuth_deg is None
    (answered,) = [answer for u in updates for answer in u.answers]
    assert not answered.answer.sure
    assert "does not carry one" in answered.answer.notes[-1]


def test_digital_silence_is_told_and_not_listened_to() -> None:
    stub = Ears()
    updates = list(ears(Script([np.zeros((BLOCK, 2), np.float32)] * 60), stub))
    assert len(stub.windows) == 1  # the warm-up
    assert updates[-1].sources == ()
    assert [note.kind for note in updates[-1].health] == ["silent"]


def test_questions_once_and_again() -> None:
    once = [a for u in listen(blocks(4.0), questions=("where?",), window_s=1.0) for a in u.answers]
    assert [(a.t_s, a.answer.text) for a in once] == [(1.0, "left")]
    again = [a for u in listen(blocks(4.0), questions=("where?",), window_s=1.0, ask_every_s=1.0) for a in u.answers]
    assert [a.t_s for a in again] == pytest.approx([1.0, 2.0, 3.0, 4.0])
    short = [a for u in listen(blocks(0.5), questions=("where?",)) for a in u.answers]
    assert len(short) == 1  # a file that is shorter than the window is asked about at its end
    with pytest.raises(BadInput, match="a question is empty"):
        listen(blocks(1.0), questions=("  ",))


def test_a_question_typed_meanwhile_is_answered_from_now() -> None:
    source = Script([*blocks(1.5), *blocks(1.5, 0.1, 0.2)], live=True)
    listener = ears(source, window_s=0.5)
    future = None
    answers = []
    for update in listener:
        answers += update.answers
        if future is None and update.t_s >= 2.4:
            future = listener.ask("where is it now?")
    assert future is not None
    assert future.result(1.0).text == "right"
    assert [a.answer.text for a in answers] == ["right"]


def test_typed_questions_are_one_conversation_and_those_asked_by_themselves_are_not() -> None:
    class Conversing(Ears):
        converses = True

        def ask(self, window: Waveform, question: str) -> Answer:
            return Answer(question, f"<{question}>", 0.9)

    listener = ears(Script(blocks(2.0), live=True), Conversing(), window_s=0.5, questions=("by itself?",))
    futures, answers = [], []
    for update in listener:
        answers += update.answers
        if len(futures) < 2 and update.t_s >= 0.6 * (len(futures) + 1):
            futures.append(listener.ask(("Where is it?", "And how far?")[len(futures)]))
    said = {answered.answer.question: answered.answer.text for answered in answers}
    assert said["by itself?"] == "<by itself?>"
    assert said["Where is it?"] == "<Where is it?>"
    assert said["And how far?"] == "<Q: Where is it? A: <Where is it?> Q: And how far?>"


def test_a_question_that_is_taken_back_stops_nothing() -> None:
    class Failing(Ears):
        def ask(self, window: Waveform, question: str) -> Answer:
            time.sleep(0.2)
            if question == "fail?":
                raise RuntimeError("the reasoner failed")
            return super().ask(window, question)

    listener = ears(Script(blocks(3.0), live=True), Failing(), window_s=0.5)
    futures = []
    for update in listener:
        if not futures and update.t_s >= 0.5:
            futures = [listener.ask("fail?"), listener.ask("where?")]
            futures[0].cancel()
    assert futures[1].result(1.0).text == "left"


def test_slow_hearing_leaves_looks_out_and_stays_with_the_present() -> None:
    updates = list(ears(Script(blocks(3.0), live=True), Ears(seconds=0.4), hop_s=0.1, window_s=0.5))
    assert updates[-1].dropped >= 15
    assert len(updates) + updates[-1].dropped <= 32
    assert max(u.lag_s for u in updates) < 2.0  # looks that waited would be nine seconds late in the end
    assert any(note.kind == "slow" for u in updates for note in u.health)
    steps = np.diff([u.t_s for u in updates])
    assert np.median(steps) > 0.3


def test_live_updates_come_at_the_hop() -> None:
    updates = list(ears(Script(blocks(2.0), live=True), hop_s=0.1, window_s=0.5))
    assert len(updates) + updates[-1].dropped == pytest.approx(20, abs=1)
    assert len(updates) >= 10


def test_pause_closes_the_input_and_resume_opens_it_again() -> None:
    source = Script(blocks(6.0), live=True)
    listener = ears(source, hop_s=0.1, window_s=0.5)
    paused_at: float | None = None
    states = []
    for update in listener:
        states.append(update.paused)
        if paused_at is None and update.t_s > 0.5:
            listener.pause()
            paused_at = time.monotonic()
        if update.paused and paused_at and time.monotonic() > paused_at + 0.5:
            assert source.closed == 1
            listener.resume()
        if update.t_s > 2.0 and not update.paused:
            break
    assert True in states
    assert source.opened == 2


def _stop_after(listener: LiveEars, seconds: float) -> None:
    threading.Timer(seconds, listener.stop).start()


def test_stop_waits_for_no_look() -> None:
    stub = Ears(seconds=8.0)
    listener = ears(Script(blocks(20.0), live=True), stub)
    _stop_after(listener, 1.0)
    list(listener)
    assert len(stub.windows) == 1  # the warm-up: the first look is not done yet


def test_time_begins_with_the_first_sound_however_late_it_comes() -> None:
    class Late(Script):
        def read(self, timeout_s: float) -> list[Block | Notice]:
            if time.monotonic() - self.opened_s < 1.0:
                time.sleep(0.05)
                self._begin_s = time.monotonic()
                return []
            return super().read(timeout_s)

        def open(self) -> None:
            super().open()
            self.opened_s = time.monotonic()

    updates = list(ears(Late(blocks(1.5), live=True), window_s=0.5))
    heard = [update for update in updates if update.window_s]
    assert heard[-1].t_s == pytest.approx(1.5)
    assert not any(note.kind == "drift" for update in heard for note in update.health)


def test_a_disk_that_is_full_ends_listening_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "kept")

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder, "_begin", full)
    with pytest.raises(BadInput, match=r"No space left on device.*make room there"):
        list(LiveEars(Script(blocks(2.0), live=True), Ears(), recorder=recorder))  # type: ignore[arg-type]


def test_an_error_of_the_ears_reaches_whoever_listens() -> None:
    class Broken(Ears):
        def perceive(self, window: Waveform) -> Perception:
            if self.windows:
                raise RuntimeError("the encoder failed")
            return super().perceive(window)

    with pytest.raises(RuntimeError, match="the encoder failed"):
        list(ears(Script(blocks(5.0), live=True), Broken()))


def test_it_can_be_awaited() -> None:
    async def count() -> int:
        return len([update async for update in ears(Script(blocks(1.0)))])

    assert asyncio.run(count()) == 4


def test_only_some_classes() -> None:
    assert all(not u.sources for u in listen(blocks(1.0), only=("Siren",)))
    assert all(not u.sources for u in listen(blocks(1.0), without=("Dog",)))
    assert listen(blocks(1.0), least_confidence=0.8)[-1].sources
    assert not listen(blocks(1.0), least_confidence=0.95)[-1].sources


BAD: list[tuple[dict[str, Any], str]] = [
    ({"hop_s": 0.0}, "a hop must be above 0"),
    ({"window_s": 11.0}, "10 s at most"),
    ({"hop_s": 3.0}, "no longer than the window"),
    ({"ask_every_s": 0.0}, "ask_every_s must be above 0"),
]


@pytest.mark.parametrize(("settings", "sentence"), BAD)
def test_settings_that_make_no_sense(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Settings(**settings)


def test_a_mono_input_is_refused() -> None:
    source = Script(blocks(1.0))
    source.channels = 1
    with pytest.raises(BadInput, match="one ear hears no direction"):
        list(ears(source))


@pytest.mark.parametrize("make", [lambda x: x * np.float32("nan"), lambda x: x * np.float32("inf")])
def test_numbers_that_are_none_never_reach_the_ears(make: Callable[[Samples], Samples]) -> None:
    stub = Ears()
    list(ears(Script([make(block) for block in blocks(1.0)]), stub))
    assert all(np.isfinite(window).all() for window in stub.windows)


def test_zeros_for_lost_frames_count_as_lost_and_take_their_time() -> None:
    updates = listen([*blocks(1.0), Notice("zeros", "20 ms of sound were lost so far", 1.0, 0.02), *blocks(1.0)])
    assert updates[-1].lost_s == pytest.approx(0.02)
    assert updates[-1].t_s == pytest.approx(2.0)
    assert updates[-1].window_s == pytest.approx(2.0)  # it was not begun anew
    assert "lost so far" in updates[-1].health[0].text


def test_what_nobody_takes_is_counted_and_its_answers_come_later() -> None:
    """Updates that a slow view did not take were gone without a trace, and the answers in them too."""
    live = ears(Script([]))
    look = Update(1.0, 1.0, 0.1, 2.0, 0, 0.0, (-20.0, -20.0), (-9.0, -9.0))
    answers = [Answered(Answer("where?", str(number)), 1.0) for number in range(3)]
    for answer in answers:
        live._offer(replace(look, answers=(answer,)))
    for _ in range(live._updates.maxsize):
        live._offer(look)
    assert live._dropped == len(answers)
    assert sorted(a.answer.text for a in live._answering.new()) == ["0", "1", "2"]


class SlowToAnswer(Ears):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asked: list[str] = []  # shared with copies

    def ask(self, window: Waveform, question: str) -> Answer:
        self.asked.append(question)
        assert self.gate.wait(20)
        return super().ask(window, question)


def test_questions_do_not_pile_up_behind_a_slow_answer() -> None:
    """Each holds half a megabyte of sound: an hour of them, asked twice as fast as answered, took a gigabyte."""
    slow = SlowToAnswer()
    answering = Answering(slow, ["where is it?"], every_s=0.1)  # type: ignore[arg-type]
    window = np.concatenate(blocks(2.0)).T
    for number in range(100):
        answering.look(window, number / 10, True, wait=False)
    typed = [answering.ask("and now?", window, 10.0) for _ in range(MOST_WAITING)]
    with pytest.raises(BadInput, match="questions wait for their answers"):
        answering.ask("and now?", window, 10.0)
    slow.gate.set()
    assert answering.finish()
    assert all(future.result(1).text == "left" for future in typed)
    assert len(slow.asked) == 1 + MOST_WAITING
