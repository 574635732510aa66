"""What one or several agents hear, step by step: rings, schedule and age, one encoder batch for all that listen now."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent.labels import class_number
from bat_agent_envs.client import SAMPLE_RATE_HZ
from bat_agent_envs.ears import LEAST_S, Ears, RemoteEars, hear_all, in_words, name_of, nothing, top_labels
from bat_agent_envs.heading import Head, heading_error, heading_errors
from bat_agent_envs.intake import Intake, Waveform
from bat_agent_envs.metrics import direction_error_deg
from bat_agent_envs.options import PREFIX, HearingOptions

ARRIVALS = ("arrivals", "slot_arrivals", "arrival_probs")
_LEAST = round(LEAST_S * SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class Latency:
    """How long listening took. It is compared with nothing, so that infos of equal episodes are equal."""

    ms: float = field(compare=False)

    def __float__(self) -> float:
        return self.ms


class Hearing:
    """The hearing of ``count`` agents that share one model; agents are numbered from 0."""

    def __init__(
        self,
        ears: Ears | RemoteEars,
        options: HearingOptions,
        sample_rate_hz: int,
        count: int = 1,
        step_s: float | None = None,
    ) -> None:
        options.check_window(ears)
        self.ears, self.options, self.count = ears, options, count
        self._step_s = step_s
        self._intakes = [Intake(options.window_s, sample_rate_hz, options.feed, options.chunk_s) for _ in range(count)]
        self._heads = [Head(options.joined_s) for _ in range(count)]
        self._heard = nothing(ears.shapes, count)
        slots, classes = ears.shapes.slots, ears.shapes.classes
        for name, shape in zip(ARRIVALS, ((360,), (slots, 360), (slots, classes)), strict=True):
            self._heard[name] = np.zeros((count, *shape))
        self._named = [class_number(name) for name in options.named]
        self._goals: list[int | None] = [None] * count
        self._now_s, self._newest_s, self._heard_s = np.zeros((3, count))
        """Time of the episode, of its newest sample, and of the newest that was listened to."""
        self._heard_samples = np.zeros(count, int)
        self._steps = np.zeros(count, int)
        self._latency_ms = np.zeros(count)
        self._fresh = np.zeros(count, bool)

    def begin(self, agent: int) -> None:
        """Begin an episode: nothing of the last one is left."""
        self._intakes[agent].clear()
        self._heads[agent].begin()
        for name, empty in nothing(self.ears.shapes, 1).items():
            self._heard[name][agent] = empty[0]
        for name in ARRIVALS:
            self._heard[name][agent] = 0
        for clock in (self._now_s, self._newest_s, self._heard_s, self._heard_samples, self._steps, self._latency_ms):
            clock[agent] = 0

    def take(
        self,
        agent: int,
        sound: Any,
        *,
        heading_deg: float | None = None,
        place_m: tuple[float, float] | None = None,
        goal: int | None = None,
    ) -> None:
        """The sound of a step, (2, n), with the heading and the place of the head in it, and the class that is looked
        for.
        """
        intake = self._intakes[agent]
        before = intake.came
        seconds = intake.take(sound)
        chunks = self.options.feed == "chunk"
        # A step without sound takes its time, too; sound that takes longer than its step is believed.
        self._now_s[agent] += max(seconds, self._step_s or 0.0) if chunks else self._step_s or seconds
        if intake.came > before:
            self._newest_s[agent] = self._now_s[agent]
        self._steps[agent] += 1
        self._goals[agent] = goal
        if heading_deg is not None:
            self._heads[agent].face(self._clock_s(agent), heading_deg)
            self._heads[agent].turn(self._of(agent))
        if place_m is not None:
            self._heads[agent].stand(place_m)

    def listen(self, agents: Sequence[int], last: Sequence[int] = ()) -> None:
        """Let those perceive whose turn it is: in the first step of an episode, every k-th after and its ``last``.

        Who has heard nothing new since it listened keeps what it heard.
        """
        due = [agent for agent in agents if (self._steps[agent] - 1) % self.options.every_k_steps == 0 or agent in last]
        self._fresh[list(agents)] = False
        due = [agent for agent in due if self._intakes[agent].came > self._heard_samples[agent]]
        windows = {agent: self._look_at(agent) for agent in due}
        due = [agent for agent in due if windows[agent].shape[1] >= _LEAST]
        if not due:
            return
        heard, milliseconds = hear_all(self.ears, [windows[agent] for agent in due])
        for name, values in heard.items():
            self._heard[name][due] = values
        if any(name in self.options.keys for name in ARRIVALS):
            milliseconds += self._let_arrive(due, windows)
        for agent in due:
            new_s = (self._intakes[agent].came - self._heard_samples[agent]) / SAMPLE_RATE_HZ
            self._heard_samples[agent] = self._intakes[agent].came
            if self._turns(agent):
                self._heads[agent].look(self._of(agent), self._clock_s(agent), windows[agent], new_s)
        self._heard_s[due] = self._newest_s[due]
        self._fresh[due], self._latency_ms[due] = True, milliseconds

    def _let_arrive(self, due: Sequence[int], windows: dict[int, Waveform]) -> float:
        """What arrived at these agents, of each slot; returns the milliseconds of looks that this took.

        Which sound is where in the spectrogram is told by the whole window, whose slots are others: the look of a head
        that turns is of too little for that.
        """
        whole = {agent: self._intakes[agent].window() for agent in due}
        apart = set(self.options.keys) & {"slot_arrivals", "arrival_probs"}
        again = [agent for agent in due if apart and whole[agent].shape[1] > windows[agent].shape[1]]
        heard, milliseconds = hear_all(self.ears, [whole[agent] for agent in again])
        for agent in due:
            rows = self._heard if agent not in again else heard
            row = agent if agent not in again else again.index(agent)
            self._heard["arrival_probs"][agent] = rows["slot_probs"][row]
            new_s = (self._intakes[agent].came - self._heard_samples[agent]) / SAMPLE_RATE_HZ
            self._heads[agent].arrive(self._of(agent), self._clock_s(agent), whole[agent], new_s, rows["masks"][row])
        return milliseconds

    def _turns(self, agent: int) -> bool:
        """Whether its heading is known."""
        return self._heads[agent].faces

    def _clock_s(self, agent: int) -> float:
        """Time by the sound that came: a step of the feed ``window`` is all of one heading."""
        if self.options.feed == "chunk":
            return self._intakes[agent].came / SAMPLE_RATE_HZ
        return float(self._steps[agent]) * self.options.window_s

    def _look_at(self, agent: int) -> Waveform:
        """What is listened to: of a head that turns, what came near the heading of now."""
        newest = self._intakes[agent].window()
        if not self._turns(agent) or newest.shape[1] < _LEAST:
            return newest
        return self._intakes[agent].window(self._heads[agent].steady_s(self._clock_s(agent), newest))

    def _of(self, agent: int) -> dict[str, np.ndarray]:
        """What one agent hears: views, without the batch axis."""
        return {name: values[agent] for name, values in self._heard.items()}

    def observation(self, agents: Sequence[int]) -> dict[str, np.ndarray]:
        """The observations that were asked for, each with the agents as its first axis."""
        rows = list(agents)
        found: dict[str, np.ndarray] = {}
        for key in self.options.keys:
            if key == "age":
                found[PREFIX + key] = (self._now_s - self._heard_s)[rows, None].astype(np.float32)
            elif key == "heading_error":
                found[PREFIX + key] = np.stack([self._errors(agent) for agent in rows]).astype(np.float32)
            elif key in ("waveform", "logmel"):
                sound = np.stack([self._padded(agent) for agent in rows])
                found[PREFIX + key] = sound if key == "waveform" else _log_mel(sound)
            else:
                found[PREFIX + key] = self._heard[key][rows].astype(np.float32)
        return found

    def _errors(self, agent: int) -> np.ndarray:
        goal = self._goals[agent]
        return heading_errors(self._of(agent), (*self._named, *(() if goal is None else (goal,))))

    def info(self, agent: int, env_info: dict[str, Any]) -> dict[str, Any]:
        """What goes to ``info["bat"]``; where the environment tells the truth, also how far off the direction is."""
        heard = self._of(agent)
        found: dict[str, Any] = {
            "labels": top_labels(heard["class_probs"], self.ears.labels, self.options.top_k),
            "text": in_words(heard, self.ears.labels),
            "sources": self.sources(agent),
            "fresh": bool(self._fresh[agent]),
            "latency": Latency(float(self._latency_ms[agent])),
        }
        truth = env_info.get("truth")
        if isinstance(truth, dict) and "azimuth_deg" in truth and "elevation_deg" in truth:
            said = heard["direction"][heard["valid"]]
            found["direction_error_deg"] = direction_error_deg(said, truth["azimuth_deg"], truth["elevation_deg"])
        every = self.options.ask_every
        if every and self._steps[agent] % every == 0 and len(self.window(agent)[0]) >= _LEAST:
            answers = self.ears.ask(self.window(agent), list(self.options.questions))
            found["answers"] = [(q, str(a)) for q, a in zip(self.options.questions, answers, strict=True)]
        return found

    def ask(self, agent: int, questions: str | Sequence[str], *, later: bool) -> Any | Future[Any]:
        """Answers about what an agent heard last, now or as a future."""
        window = self.window(agent)
        if window.shape[1] < _LEAST:
            raise BadInput("nothing has been heard in this episode yet: call reset, then step, and ask after that")
        return self.ears.ask_later(window, questions) if later else self.ears.ask(window, questions)

    def sources(self, agent: int) -> list[dict[str, Any]]:
        """Of each source heard, strongest first, ``label`` with its ``probability``, ``direction`` (3,),
        ``heading_error`` (radians, left positive) and ``distance_m``, which is 0 where it is not known.
        """
        heard = self._of(agent)
        return [
            {
                "label": name_of(heard["slot_probs"][slot], self.ears.labels),
                "probability": round(float(heard["slot_probs"][slot].max()), 4),
                "direction": heard["direction"][slot].copy(),
                "heading_error": heading_error(heard["direction"][slot]),
                "distance_m": float(heard["distance"][slot]),
            }
            for slot in np.flatnonzero(heard["valid"])
        ]

    def window(self, agent: int) -> Waveform:
        """What an agent heard last, (2, up to window_s) at 32 kHz."""
        return self._intakes[agent].window()

    def _padded(self, agent: int) -> Waveform:
        """The window at full length, silence before the episode."""
        padded = np.zeros((2, round(self.options.window_s * SAMPLE_RATE_HZ)), np.float32)
        window = self.window(agent)
        if window.shape[1]:
            padded[:, -window.shape[1] :] = window
        return padded


def _log_mel(sound: np.ndarray) -> np.ndarray:
    """(B, 2, N) → (B, 2, T, 128) in dB, as the encoders hear it."""
    import torch

    from bat_agent.sound.features import log_mel, mel_filterbank, stft

    mel = log_mel(stft(torch.from_numpy(sound)).abs(), mel_filterbank())
    return mel.numpy()
