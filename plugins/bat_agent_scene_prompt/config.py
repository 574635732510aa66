"""Options of the reasoner ``scene-prompt``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from bat_agent.errors import BadInput
from bat_agent.hearing.perception import Thresholds
from bat_agent.questions.answers import AXES

SERVER, TRANSFORMERS = "server", "transformers"
BACKENDS = (SERVER, TRANSFORMERS)
DTYPES = ("float32", "bfloat16", "float16")
_ONLY_OF = {
    SERVER: ("base_url", "remote", "api_key_env", "concurrency", "timeout_s", "retries", "retry_wait_s", "logprobs"),
    TRANSFORMERS: ("dtype",),
}


@dataclass(frozen=True)
class ScenePromptConfig:
    """Options of the reasoner ``scene-prompt``; a contradiction raises ``BadInput``."""

    token_dim: int | None = None
    """Width of the encoder's tokens; taken as every reasoner takes it, but the tokens are not read."""
    backend: str = SERVER
    """``server``: one that speaks OpenAI's chat interface; ``transformers``: a model that is loaded here."""
    model: str = ""
    """Name of the model at the server (empty: the only one it has); for ``transformers`` a folder, a hub id, a GGUF
    file or ``smollm2-135m``."""
    base_url: str = "http://127.0.0.1:8000/v1"
    """Address of the server, up to and without ``/chat/completions``."""
    remote: bool = False
    """Allow a server on another machine: the description and the questions, never sound, then leave this one."""
    api_key_env: str = ""
    """Name of the environment variable that holds the server's key; empty: no key is sent."""
    concurrency: int = 4
    """Questions that are with the server at the same time."""
    timeout_s: float = 120.0
    """Longest wait for the server, in seconds."""
    retries: int = 4
    """Further attempts where the server cannot be reached, is overloaded (429) or fails (5xx)."""
    retry_wait_s: float = 0.5
    """Wait before the second attempt, in seconds; it doubles each time."""
    logprobs: bool = False
    """Ask the server for token probabilities and make a confidence of them; not every server has them."""
    dtype: str = "bfloat16"
    """Number format of a model that is loaded here."""
    max_answer_tokens: int = 128
    """An answer ends here at the latest; a model that thinks aloud first needs more."""
    activity: float = 0.5
    """A source is told as heard from this probability on; if none is, the strongest is told as a guess."""
    label: float = 0.5
    """A label is told as heard from this probability on, and below it as a possibility."""
    left_right: float = 0.5
    """Below this probability of the likelier side it is told that left and right cannot be told; likewise below."""
    front_behind: float = 0.5
    above_below: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name, known in (("backend", BACKENDS), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise BadInput(f"{name}={getattr(self, name)!r} is unknown, expected one of {', '.join(known)}")
        self._refuse_options_of_the_other_backend()
        self._check_numbers()
        if self.backend == TRANSFORMERS and not self.model.strip():
            raise BadInput(
                "backend=transformers needs model=, a folder or a hub id of a chat model such as "
                "HuggingFaceTB/SmolLM2-1.7B-Instruct"
            )
        if self.backend == SERVER:
            self._check_address()
            # A key that was pasted here by mistake must not be repeated in an error.
            if self.api_key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
                raise BadInput(
                    "api_key_env is not the name of an environment variable (letters, digits, underscores); put the "
                    "key itself into a variable, and give the variable's name"
                )

    def check(self) -> None:
        """Raise ``WeightsError`` where a model that would be loaded is not here; no server is asked, nothing loaded."""
        if self.backend == TRANSFORMERS:
            from bat_agent_scene_prompt.chat_model import check_chat_model

            check_chat_model(self.model.strip())

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds, as perception wants them."""
        return Thresholds(self.activity, self.label, **{axis: getattr(self, axis) for axis in AXES})

    @property
    def leaves_the_machine(self) -> bool:
        """Whether text goes to another machine."""
        return self.backend == SERVER and not is_loopback(urlsplit(self.base_url).hostname or "")

    def _refuse_options_of_the_other_backend(self) -> None:
        """An option that would have no effect is more likely a mistake about the backend."""
        defaults = {field.name: field.default for field in fields(self)}
        other = SERVER if self.backend == TRANSFORMERS else TRANSFORMERS
        for name in _ONLY_OF[other]:
            if getattr(self, name) != defaults[name]:
                raise BadInput(
                    f"{name} belongs to backend={other}, but backend={self.backend} is set; drop it or change backend"
                )

    def _check_numbers(self) -> None:
        for name in ("activity", "label"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} must be a probability between 0 and 1, got {getattr(self, name)}")
        for name, least in (("concurrency", 1), ("max_answer_tokens", 1), ("retries", 0), ("retry_wait_s", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"{name}={getattr(self, name)} is too small, expected at least {least}")
        if not self.timeout_s > 0:
            raise BadInput(f"timeout_s must be a positive number of seconds, got {self.timeout_s}")

    def _check_address(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            parts.port  # noqa: B018 - reading it checks it
        except ValueError as error:
            raise BadInput(f"base_url is no address ({error}), expected the likes of {_EXAMPLE}") from error
        if parts.username is not None or parts.password is not None:
            raise BadInput("base_url holds a user name or password; leave it out and name a variable by api_key_env")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise BadInput(f"base_url={self.base_url!r} is no address of a server, expected the likes of {_EXAMPLE}")
        if self.leaves_the_machine and not self.remote:
            raise BadInput(
                f"base_url={self.base_url} is not on this machine: the description of what is heard and the questions "
                "would leave it (sound never does); set remote=true to allow that, or use a server on 127.0.0.1"
            )


_EXAMPLE = "http://127.0.0.1:8000/v1"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own loopback; names are not looked up."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
