"""A server that speaks OpenAI's ``/chat/completions``, such as vLLM, llama.cpp, Ollama or LM Studio, on this machine.

Only text is sent. A redirection is never followed and a loopback address never asked through a proxy, so that nothing
goes where nobody sent it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import logging
import math
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bat_agent.errors import Unavailable
from bat_agent.files.reading import parse_json
from bat_agent.questions.answers import LETTERS
from bat_agent_scene_prompt.certainty import SETS, Token, log_sum
from bat_agent_scene_prompt.config import ScenePromptConfig
from bat_agent_scene_prompt.prompt import Prompt
from bat_agent_scene_prompt.replies import Said, without_thoughts

LONGEST_WAIT_S = 30.0
"""No single wait between two attempts is longer, whatever the server asks for."""
LIKELIEST = 10
"""Tokens that a server is asked to weigh at each place, with ``logprobs``."""
_LIST_TIMEOUT_S = 10.0
logger = logging.getLogger(__name__)


class ChatServer:
    """Asks the server; every error is a :class:`~bat_agent.errors.BadInput` of one sentence."""

    def __init__(self, config: ScenePromptConfig) -> None:
        """Nothing is sent yet, so the server may start later."""
        self._config = config
        self._base = config.base_url.rstrip("/").removesuffix("/chat/completions")
        self._model = config.model.strip()
        proxies = () if config.leaves_the_machine else (urllib.request.ProxyHandler({}),)
        self._opener = urllib.request.build_opener(_NoRedirect, *proxies)
        if config.leaves_the_machine:
            logger.warning(
                "note: the description of what is heard and the questions, never sound, leave this machine for %s",
                self._base,
            )

    def ask(self, prompts: Sequence[Prompt]) -> list[Said]:
        """What is said to each prompt, in their order; several are with the server at the same time."""
        headers = self._headers()
        self._model = self._model or self._only_model(headers)
        stop = threading.Event()
        with ThreadPoolExecutor(min(self._config.concurrency, max(1, len(prompts)))) as pool:
            futures = [pool.submit(self._ask_one, prompt, headers, stop) for prompt in prompts]
            try:
                return [future.result() for future in futures]
            except BaseException:
                stop.set()  # those that wait for another attempt give up, those not begun are dropped
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _ask_one(self, prompt: Prompt, headers: dict[str, str], stop: threading.Event) -> Said:
        request = {
            "model": self._model,
            "messages": prompt.messages(),
            "temperature": 0,
            "max_tokens": self._config.max_answer_tokens,
            "stream": False,
        }
        if self._config.logprobs:
            request |= {"logprobs": True, "top_logprobs": LIKELIEST}
        content = self._send("/chat/completions", headers, self._config.timeout_s, stop, json.dumps(request).encode())
        try:
            choice = parse_json(content)["choices"][0]
            text, cut = choice["message"].get("content"), choice.get("finish_reason") == "length"
            if not isinstance(text, str | None):
                raise TypeError
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise Unavailable(
                f"the server at {self._base} answered with something else than a chat completion as OpenAI's "
                f"/chat/completions gives ({_excerpt(content)}); check base_url"
            ) from error
        return Said(text or "", _tokens(choice) if self._config.logprobs else (), cut)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if name := self._config.api_key_env:
            key = os.environ.get(name, "").strip()
            if not key:
                raise Unavailable(f"api_key_env={name}, but that environment variable is not set; set it to the key")
            if not (key.isascii() and key.isprintable()):
                raise Unavailable(f"the key in {name} has characters that no key has (line breaks, say); set it anew")
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _only_model(self, headers: dict[str, str]) -> str:
        """The model of a server that has one."""
        content = self._send("/models", headers, self._config.timeout_s, threading.Event())
        names = _model_names(content)
        if len(names) == 1:
            return names[0]
        found = f"has {len(names)} models ({', '.join(names[:10])})" if names else "does not say which models it has"
        raise Unavailable(f"the server at {self._base} {found}; choose one by model=")

    def _send(
        self, path: str, headers: dict[str, str], timeout_s: float, stop: threading.Event, body: bytes | None = None
    ) -> bytes:
        """The body of the reply; tries again where that may help."""
        wait_s = self._config.retry_wait_s
        for attempt in range(self._config.retries + 1):
            last = attempt == self._config.retries or stop.is_set()
            asked_s = 0.0
            try:
                request = urllib.request.Request(self._base + path, data=body, headers=headers)
                with self._opener.open(request, timeout=timeout_s) as reply:
                    return bytes(reply.read())
            except urllib.error.HTTPError as error:
                said = _error_text(error)
                if last or not _may_pass(error.code):
                    raise self._refused(error, said, headers) from error
                asked_s = _seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                if isinstance(reason, TimeoutError):
                    raise self._silent() from error
                if last:
                    raise self._unreachable(reason) from error
            stop.wait(min(max(wait_s, asked_s), LONGEST_WAIT_S))
            wait_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _refused(self, error: urllib.error.HTTPError, said: str, headers: dict[str, str]) -> Unavailable:
        code = f"HTTP {error.code} {error.reason}".strip() + (f": {said}" if said else "")
        if error.code in (401, 403):
            name = self._config.api_key_env
            what = f"check the key in {name}" if name else "name the environment variable that holds a key: api_key_env"
            return Unavailable(f"the server at {self._base} refused access ({code}); {what}")
        if error.code in (400, 404) and (names := self._other_models(headers)):
            return Unavailable(
                f"the server at {self._base} knows no model {self._model!r} ({code}), it has {', '.join(names[:10])}; "
                "choose one by model="
            )
        if error.code == 404:
            return Unavailable(
                f"the server at {self._base} has no {error.url.removeprefix(self._base)}, or no model {self._model!r} "
                f"({code}); check base_url, which usually ends in /v1, and model"
            )
        if _may_pass(error.code):
            tries = self._config.retries + 1
            return Unavailable(
                f"the server at {self._base} failed {tries} times, the last time with {code}; try again later, ask "
                "less at once (concurrency=1), or look into its log"
            )
        return Unavailable(f"the server at {self._base} refused the request ({code}); check base_url and model")

    def _other_models(self, headers: dict[str, str]) -> list[str]:
        """The models of the server, if it tells and the wanted one is not among them."""
        try:
            request = urllib.request.Request(f"{self._base}/models", headers=headers)
            with self._opener.open(request, timeout=_LIST_TIMEOUT_S) as reply:
                names = _model_names(reply.read())
        except (OSError, http.client.HTTPException):
            return []
        return [] if self._model in names else names

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"the server at {self._base} did not answer within {self._config.timeout_s:g} s; check that it runs, or "
            "raise timeout_s"
        )

    def _unreachable(self, reason: Any) -> Unavailable:
        return Unavailable(
            f"cannot reach a server at {self._base} ({_one_line(str(reason) or type(reason).__name__)}); start it "
            "there, or check base_url"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is heard, and a key, must not travel to an address that nobody named."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """Follow none; the redirection is then told as an error."""


def _may_pass(code: int) -> bool:
    """Whether the same request may succeed later: too many at once, or trouble at the server."""
    return code == 429 or code >= 500


def _model_names(content: bytes) -> list[str]:
    try:
        return [str(entry["id"]) for entry in parse_json(content)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _tokens(choice: dict[str, Any]) -> tuple[Token, ...]:
    """The tokens of the answer, those of thinking left out; none where they are not told."""
    try:
        entries = choice["logprobs"]["content"]
        tokens = [Token(str(e["token"]), float(e["logprob"]), _others(e)) for e in entries]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()
    first = 0
    for number in range(len(tokens)):
        if "".join(token.text for token in tokens[: number + 1]).rstrip().lower().endswith("</think>"):
            first = number + 1
    kept = tokens[first:]
    return tuple(kept) if without_thoughts("".join(token.text for token in kept)) else ()


def _others(entry: dict[str, Any]) -> dict[str, float]:
    """Log probability of each answer of a closed set at this token; what is not among the likeliest shares the rest."""
    likeliest = [(str(other["token"]), float(other["logprob"])) for other in entry.get("top_logprobs") or []]
    rest = math.log(max(1e-9, 1 - sum(math.exp(log_p) for _, log_p in likeliest)))
    found = {}
    for answer in itertools.chain(*SETS) if likeliest else ():
        exact = answer in LETTERS
        wanted = answer if exact else answer.lower()
        same = [log_p for text, log_p in likeliest if (text if exact else text.lower()).strip() == wanted]
        found[answer] = log_sum(same) if same else rest
    return found


def _error_text(error: urllib.error.HTTPError) -> str:
    """What the server says went wrong, in short."""
    try:
        with error:
            content = error.read()
    except (OSError, http.client.HTTPException):
        return ""
    try:
        told = parse_json(content)
        told = told.get("error", told)
        told = told if isinstance(told, str) else told.get("message") or told.get("detail") or ""
        return _one_line(str(told))
    except (ValueError, AttributeError, RecursionError):
        return ""


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:  # a date, which the doubling wait stands in for
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _excerpt(content: bytes) -> str:
    return repr(_one_line(content[:200].decode("utf-8", "replace"))[:60])


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
