"""What one or several agents hear, step by step: rings, schedule and age, one encoder batch for all that listen now."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bat_agent.errors import BadInput
from bat_agent_envs.client import SAMPLE_RATE_HZ
from bat_agent_envs.ears import LEAST_S, Ears, RemoteEars, hear_all, in_words, name_of, nothing, top_labels
from bat_agent_envs.intake import Intake, Waveform
from bat_agent_envs.metrics import direction_error_deg
from bat_agent_envs.options import PREFIX, HearingOptions

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
        self._step_s = step_s if options.feed == "window" else None
        self._intakes = [Intake(options.window_s, sample_rate_hz, options.feed, options.chunk_s) for _ in range(count)]
        self._heard = nothing(ears.shapes, count)
        self._age_s = np.zeros((count, 1), np.float32)
        self._steps = np.zeros(count, int)
        self._latency_ms = np.zeros(count)
        self._fresh = np.zeros(count, bool)

    def begin(self, agent: int) -> None:
        """Begin an episode: nothing of the last one is left."""
        self._intakes[agent].clear()
        for name, empty in nothing(self.ears.shapes, 1).items():
            self._heard[name][agent] = empty[0]
        self._age_s[agent], self._steps[agent], self._latency_ms[agent] = 0, 0, 0

    def take(self, agent: int, sound: Any, *, turned: bool = False) -> None:
        """The sound of a step, (2, n); what came before the head ``turned`` is forgotten."""
        if turned:
            self._intakes[agent].forget()
        seconds = self._intakes[agent].take(sound)
        self._age_s[agent] += seconds if self._step_s is None else self._step_s
        self._steps[agent] += 1

    def listen(self, agents: Sequence[int], last: Sequence[int] = ()) -> None:
        """Let those perceive whose turn it is: in the first step of an episode, every k-th after and its ``last``."""
        due = [agent for agent in agents if (self._steps[agent] - 1) % self.options.every_k_steps == 0 or agent in last]
        self._fresh[list(agents)] = False
        windows = {agent: self._intakes[agent].window() for agent in due}
        due = [agent for agent in due if windows[agent].shape[1] >= _LEAST]
        if not due:
            return
        heard, milliseconds = hear_all(self.ears, [windows[agent] for agent in due])
        for name, values in heard.items():
            self._heard[name][due] = values
        self._age_s[due], self._fresh[due], self._latency_ms[due] = 0, True, milliseconds

    def observation(self, agents: Sequence[int]) -> dict[str, np.ndarray]:
        """The observations that were asked for, each with the agents as its first axis."""
        rows = list(agents)
        found: dict[str, np.ndarray] = {}
        for key in self.options.keys:
            if key == "age":
                found[PREFIX + key] = self._age_s[rows]
            elif key in ("waveform", "logmel"):
                sound = np.stack([self._padded(agent) for agent in rows])
                found[PREFIX + key] = sound if key == "waveform" else _log_mel(sound)
            else:
                found[PREFIX + key] = self._heard[key][rows].astype(np.float32)
        return found

    def info(self, agent: int, env_info: dict[str, Any]) -> dict[str, Any]:
        """What goes to ``info["bat"]``; where the environment tells the truth, also how far off the direction is."""
        heard = {name: values[agent] for name, values in self._heard.items()}
        found: dict[str, Any] = {
            "labels": top_labels(heard["class_probs"], self.ears.labels, self.options.top_k),
            "text": in_words(heard, self.ears.labels),
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

    def directions(self, agent: int) -> list[dict[str, Any]]:
        """For drawing: of each source heard, ``direction`` (3,), ``distance_m``, ``label``."""
        heard = {name: values[agent] for name, values in self._heard.items()}
        return [
            {
                "direction": heard["direction"][slot].copy(),
                "distance_m": float(heard["distance"][slot]),
                "label": name_of(heard["slot_probs"][slot], self.ears.labels),
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
