"""What the server is asked that it cannot do: one sentence, in the words of the library where it has them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bat_agent.errors import BadInput
from bat_agent.serving.server import Limits
from bat_agent_envs.client import HearingServerError

RATE_HZ = 32_000
TOKEN = "open-sesame"
LONG_S = 20.0  # never waited for in full: a test that does has failed
QUESTION = "Where is the dog?"
Serve = Callable[..., Any]  # the fixture ``serve``: starts a server in this process


def clip(left: float = 0.1, right: float = 0.1, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE_HZ)))
    return (noise * [[left], [right]]).astype(np.float32)


def sides(perceptions: Sequence[dict[str, Any]]) -> list[float]:
    return [perception["sources"][0]["azimuth_deg"] for perception in perceptions]


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros((2, 600), np.float32), np.zeros(16_000, np.float32), np.zeros((1, 16_000), np.float32),
        np.zeros((16_000, 2), np.float32), np.full((2, 16_000), np.nan, np.float32),
        np.full((2, 16_000), np.inf, np.float32), np.zeros((2, 0), np.float32), np.zeros((1, 1, 2, 800), np.float32),
    ],
)  # fmt: skip
def test_sound_that_cannot_be_heard_is_refused_in_the_words_of_the_library(serve: Serve, wave: np.ndarray) -> None:
    served = serve()
    with pytest.raises(BadInput) as said:
        served.bat.perceive(wave)
    with served.client() as ears:
        for call in (ears.perceive, ears.arrays, lambda w: ears.perceive_batch([w]), lambda w: ears.ask(w, QUESTION)):
            with pytest.raises(BadInput) as again:
                call(wave)
            assert str(again.value) == str(said.value)
    status, _, reply = served.raw("POST", "/perceive", wave.tobytes(), X_Bat_Shape=",".join(map(str, wave.shape)))
    assert (status, reply["error"]) == (422, str(said.value))


@pytest.mark.parametrize(
    ("path", "headers", "status", "sentence"),
    [
        ("/perceive", {"X_Bat_Shape": "2,15999"}, 400, "the body holds 128000 bytes, expected 127992 for samples of"),
        ("/perceive", {"X_Bat_Shape": "4,2,16000"}, 400, "the body holds 128000 bytes, expected 512000"),
        ("/perceive", {}, 400, "the header X-Bat-Shape must give the shape of the samples, such as 2,32000, got None"),
        ("/perceive", {"X_Bat_Shape": "2,-16000"}, 400, "such as 2,32000, got '2,-16000'"),
        ("/perceive", {"X_Bat_Shape": "2,16e3"}, 400, "such as 2,32000, got '2,16e3'"),
        ("/perceive?want=secrets", {"X_Bat_Shape": "2,16000"}, 400, "want=secrets is unknown: want perceptions"),
        ("/perceive", {"X_Bat_Shape": "2,16000", "X_Bat_Sample_Rate": "44100"}, 422, "44100 Hz, expected 32000 Hz"),
        ("/ask", {"X_Bat_Shape": "2,16000"}, 400, "no question was asked: write /ask?question="),
        ("/ask?question=+", {"X_Bat_Shape": "2,16000"}, 422, "a question is empty"),
        ("/ask?question=x", {"X_Bat_Shape": "1,2,16000"}, 422, "questions are about one clip (2, samples)"),
        ("/listen", {"X_Bat_Shape": "2,16000"}, 404, "POST /listen is not served here: there are GET /health"),
        ("/labels", {"X_Bat_Shape": "2,16000"}, 405, "POST /labels is not served here: there are GET /health"),
    ],
)  # fmt: skip
def test_requests_that_are_wrong_are_told_how(
    serve: Serve, path: str, headers: dict[str, str], status: int, sentence: str
) -> None:
    found, _, reply = serve().raw("POST", path, clip().tobytes(), **headers)
    assert (found, set(reply)) == (status, {"error"})
    assert sentence in reply["error"]


def test_a_body_too_large_is_refused_before_it_is_read(serve: Serve) -> None:
    served = serve(limits=Limits(body_bytes=200_000))
    with served.socket(10**12) as connection:  # of which nothing is sent
        reply = connection.makefile("rb").read()
        assert reply.startswith(b"HTTP/1.1 413")
        assert b"larger than the 0.2 MB the server takes" in reply
    with socket.create_connection(("127.0.0.1", served.port), timeout=LONG_S) as chunked:
        head = f"POST /perceive HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nX-Bat-Shape: 2,16000"
        chunked.sendall(f"{head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunked.sendall(b"30000\r\n" + bytes(0x30000) + b"\r\n" + b"30000\r\n" + bytes(0x8000))  # has no end
        assert chunked.makefile("rb").read().startswith(b"HTTP/1.1 413")
    with served.client(retries=0) as ears:
        with pytest.raises(BadInput, match=r"larger than the 0\.2 MB"):
            ears.perceive(clip(seconds=1.0))
        assert len(ears.perceive_batch([clip()] * 5)) == 5  # each fits, and the client sends them one by one


def test_what_fails_in_the_model_is_said_and_hurts_nobody_else(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(max_wait_s=0.0)
    served.bat.encoder.close_gate()
    with ThreadPoolExecutor(4) as pool, served.client() as ears:
        first = pool.submit(ears.perceive, clip())
        assert served.bat.encoder.began.wait(LONG_S)
        loud = pool.submit(ears.perceive, 200 * clip())  # louder still, and it would be scaled down
        beside = [pool.submit(ears.perceive, clip(0.5, 0.1, seed=n)) for n in (1, 2)]
        served.wait_for(3)
        served.bat.encoder.gate.set()
        assert sides([future.result(LONG_S) for future in beside]) == [180.0] * 2
        with pytest.raises(HearingServerError, match=r"the server failed \(RuntimeError\)") as failed:
            loud.result(LONG_S)
        assert failed.value.status == 500
        first.result(LONG_S)


@pytest.mark.parametrize(
    ("wave", "sentence"),
    [
        (clip().astype(int), "must hold floats in ±1, got int64: divide integers by their full scale"),
        ([[0.0, 1.0], [0.0]], "a waveform must be numbers of shape"),
        (0.5, "got one number"),
        (np.stack([clip()] * 2), r"one clip has the shape \(2, samples\)"),
    ],
)
def test_the_client_refuses_what_it_cannot_send(serve: Serve, wave: Any, sentence: str) -> None:
    ears = serve().client()
    with pytest.raises(BadInput, match=sentence):
        ears.perceive(wave)
    with pytest.raises(BadInput, match="the batch of waveforms is empty"):
        ears.perceive_batch([])
    with pytest.raises(BadInput, match="44100 Hz, expected 32000 Hz"):
        ears.perceive(clip(), sample_rate_hz=44_100)
