"""``bat-agent serve``: everyone gets what the library says, whatever others do meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import bat_agent
from bat_agent.hearing.arrays import hearing_arrays
from bat_agent.serving import protocol
from bat_agent.serving.server import Limits
from bat_agent_envs.client import HearingClient, HearingServerError

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


# --- what is said ---


def test_everything_is_as_the_library_says_it(serve: Serve) -> None:
    served = serve()
    bat = served.bat
    batch = np.stack((clip(0.5, 0.1), clip(0.1, 0.5), 0 * clip()))
    with served.client() as ears:
        assert ears.labels == bat.encoder.labels
        assert ears.perceive(batch[0]) == bat.perceive(batch[0]).to_dict()
        assert ears.perceive_batch(batch) == [perception.to_dict() for perception in bat.perceive(batch)]
        wanted = hearing_arrays(bat, batch)
        found = ears.arrays(batch)
        assert set(found) == set(wanted)
        for key, array in wanted.items():
            np.testing.assert_array_equal(found[key], array)
            assert found[key].dtype == array.dtype
            assert ears.shapes()[key] == array.shape[1:]
        answer = bat.ask(batch[2], "Où est le chien ? & 100 %")
        assert ears.ask(batch[2], "Où est le chien ? & 100 %") == {**answer.to_dict(), "notes": list(answer.notes)}
        assert [said["question"] for said in ears.ask(batch[0], [QUESTION, "What?"])] == [QUESTION, "What?"]
        assert ears.ask(batch[0], []) == []


def test_clips_of_any_length_and_number_come_back_in_their_order(serve: Serve) -> None:
    """More than a batch, more than the queue takes, three lengths; loudness tells them apart."""
    served = serve(max_batch=4, queue=6)
    clips = [clip(0.5, 0.1, 0.5 + 0.1 * (n % 3)) if n % 2 else clip(0.1, 0.5, 0.5 + 0.1 * (n % 3)) for n in range(23)]
    with served.client() as ears:
        assert sides(ears.perceive_batch(clips)) == [180.0 if n % 2 else 0.0 for n in range(23)]
        alike = np.stack([clip(0.01 * (n + 1), 0.1) for n in range(11)])
        np.testing.assert_array_equal(ears.arrays(alike)["distance"], hearing_arrays(served.bat, alike)["distance"])
    assert max(len(batch) for batch in served.bat.encoder.batches[:-1]) <= 4  # the last one is the library's own


def test_health_needs_no_token_and_tells_none(serve: Serve) -> None:
    served = serve(max_batch=3, queue=5)
    status, _, reply = served.raw("GET", "/health", Authorization="")
    assert (status, reply["status"], reply["waiting"]) == (200, "ok", 0)
    assert reply["takes"] == {"queue": 5, "max_batch": 3, "body_bytes": 64_000_000}
    assert (reply["model"]["name"], reply["version"]) == ("echo", bat_agent.__version__)
    assert TOKEN not in json.dumps(reply)
    assert HearingClient(served.url, "").health() == reply


def test_samples_survive_the_wire_bit_for_bit(serve: Serve) -> None:
    served = serve()
    wave = clip(seed=3)
    for sent in (
        wave.astype(">f4"),
        wave.astype(float),
        np.asfortranarray(wave),
        wave[:, ::-1][:, ::-1],
        wave.tolist(),
    ):
        served.bat.encoder.batches.clear()
        served.bat._last = None  # what is heard again is not encoded again
        served.client().perceive(sent)
        np.testing.assert_array_equal(served.bat.encoder.batches[0][0], wave)
    for array in (np.zeros((2, 0, 3), np.float32), np.array([True, False]), np.arange(6, dtype=">f4").reshape(2, 3)):
        back = protocol.unpack(json.loads(json.dumps(protocol.pack(array))))
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype.newbyteorder("<")


# --- sixteen at once ---


def test_sixteen_clients_at_once_hear_what_the_shipped_model_says_in_process(serve: Serve) -> None:
    bat = bat_agent.load("bat-small", device="cpu")
    clips = [clip(0.02 * (n + 1), 0.2, 0.5 + 0.25 * (n % 2), seed=n) for n in range(16)]
    wanted = [(bat.perceive(wave), hearing_arrays(bat, wave), bat.ask(wave, QUESTION)) for wave in clips]
    served = serve(bat)
    together = threading.Barrier(16)

    def one(number: int) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
        with served.client(timeout_s=120.0) as ears:
            together.wait(LONG_S)
            wave = clips[number]
            return ears.perceive(wave), ears.arrays(wave), ears.ask(wave, QUESTION)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(one, range(16)))
    for (perceived, arrays, answer), (perception, expected, said) in zip(found, wanted, strict=True):
        places = [(s["labels"], s["azimuth_deg"], s["elevation_deg"], s["distance_m"]) for s in perceived["sources"]]
        assert places == [(list(s.labels), s.azimuth_deg, s.elevation_deg, s.distance_m) for s in perception.sources]
        np.testing.assert_allclose(
            list(perceived["class_probs"].values()), list(perception.class_probs.values()), atol=2e-4
        )
        for key in expected:
            np.testing.assert_allclose(arrays[key], expected[key], atol=1e-4)
        assert answer["answer"] == said.text
        assert answer["confidence"] == pytest.approx(said.confidence, abs=1e-3)


def test_clips_of_equal_length_share_a_batch_and_others_do_not(serve: Serve) -> None:
    served = serve(max_wait_s=0.0)
    served.bat.encoder.close_gate()
    with ThreadPoolExecutor(8) as pool, served.client() as ears:
        first = pool.submit(ears.perceive, clip())
        assert served.bat.encoder.began.wait(LONG_S)
        rest = [pool.submit(ears.perceive, clip(0.5, 0.1, 0.5 if n < 4 else 0.6, seed=n)) for n in range(7)]
        served.wait_for(7)
        served.bat.encoder.gate.set()
        assert sides([future.result(LONG_S) for future in rest]) == [180.0] * 7
        first.result(LONG_S)
    sizes = sorted(tuple(batch.shape) for batch in served.bat.encoder.batches)
    assert sizes == [(1, 2, 16_000), (3, 2, 19_200), (4, 2, 16_000)]


def test_long_clips_share_smaller_batches_on_a_cpu(serve: Serve) -> None:
    """All answers are there all the same; which sizes pay is measured in benchmarks/bench_serve.py."""
    served = serve()
    served.bat.encoder.batches.clear()
    with served.client() as ears:
        for seconds in (10.0, 1.0):
            clips = [clip(0.5, 0.1, seconds, seed=n) for n in range(5)]
            assert sides(ears.perceive_batch(clips)) == [180.0] * 5
    assert [batch.shape[0] for batch in served.bat.encoder.batches] == [2, 2, 1, 5]


def test_threads_may_share_a_client(serve: Serve) -> None:
    served = serve()
    waves = [clip(0.5, 0.1, seed=n) if n % 3 else clip(0.1, 0.5, seed=n) for n in range(60)]
    with served.client() as ears, ThreadPoolExecutor(8) as pool:
        assert sides(list(pool.map(ears.perceive, waves))) == [180.0 if n % 3 else 0.0 for n in range(60)]


# --- a full queue ---


def test_a_full_queue_says_when_to_come_again(serve: Serve) -> None:
    served = serve(queue=2, max_wait_s=0.0)
    body = clip().tobytes()
    served.bat.encoder.close_gate()
    with ThreadPoolExecutor(4) as pool:
        running = pool.submit(served.client().perceive, clip(0.5, 0.1))
        assert served.bat.encoder.began.wait(LONG_S)
        waiting = [pool.submit(served.client().perceive, clip(0.5, 0.1, seed=n)) for n in (1, 2)]
        served.wait_for(2)
        status, headers, reply = served.raw("POST", "/perceive", body, X_Bat_Shape="2,16000")
        assert status == 503
        assert int(headers["retry-after"]) >= 1
        assert reply["retry_after_s"] > 0
        with pytest.raises(
            HearingServerError, match=r"busy: 2 clips wait and its queue takes 2.*tried 2 times"
        ) as full:
            served.client(retries=1).perceive(clip())
        assert full.value.status == 503
        patient = pool.submit(served.client(retries=50, timeout_s=LONG_S).perceive, clip(0.1, 0.5))
        served.bat.encoder.gate.set()
        assert sides([patient.result(LONG_S)]) == [0.0]
        assert sides([future.result(LONG_S) for future in (running, *waiting)]) == [180.0] * 3


def test_more_clips_at_once_than_the_queue_takes_are_refused(serve: Serve) -> None:
    status, _, reply = serve(queue=2).raw(
        "POST", "/perceive", np.stack([clip()] * 3).tobytes(), X_Bat_Shape="3,2,16000"
    )
    assert (status, reply["error"]) == (422, "3 clips at once are more than the queue of 2: split them")


# --- clients that are slow, dead, or not welcome ---


def test_a_slow_client_blocks_nobody_and_is_told(serve: Serve) -> None:
    served = serve(limits=Limits(body_timeout_s=0.3))
    body = clip().tobytes()
    slow = [served.socket(len(body)) for _ in range(5)]
    for connection in slow:
        connection.sendall(body[:1000])
    with served.client() as ears:
        assert sides([ears.perceive(clip(0.5, 0.1)) for _ in range(3)]) == [180.0] * 3
    for connection in slow:
        reply = connection.makefile("rb").read()
        assert reply.startswith(b"HTTP/1.1 408")
        assert b"did not arrive within 0.3 s: send it faster" in reply
        connection.close()


def test_a_killed_client_loses_its_own_answer_only(serve: Serve) -> None:
    served = serve(max_wait_s=0.0)
    served.bat.encoder.close_gate()
    with ThreadPoolExecutor(4) as pool, served.client() as ears:
        others = [pool.submit(ears.perceive, clip(0.5, 0.1))]
        assert served.bat.encoder.began.wait(LONG_S)
        half, whole = served.socket(128_000), served.socket(128_000)
        half.sendall(clip().tobytes()[:5000])
        whole.sendall(clip(0.3, 0.3, seed=99).tobytes())
        served.wait_for(1)
        others += [pool.submit(ears.perceive, clip(0.5, 0.1, seed=n)) for n in (1, 2)]
        served.wait_for(3)
        half.close()
        whole.close()
        for _ in range(2000):  # its clip is cancelled, which the queue shows when the next one comes
            if sum(job.future.cancelled() for job in served.server.batcher._waiting):
                break
            threading.Event().wait(0.01)
        served.bat.encoder.gate.set()
        assert sides([future.result(LONG_S) for future in others]) == [180.0] * 3
        assert sides([ears.perceive(clip(0.1, 0.5))]) == [0.0]
    heard = torch.cat(served.bat.encoder.batches)
    assert len(heard) == 4
    assert not any(np.array_equal(one, clip(0.3, 0.3, seed=99)) for one in heard)


def test_without_the_token_nothing_is_done(serve: Serve) -> None:
    served = serve()
    before = len(served.bat.encoder.batches)
    for wrong in ("", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", f"Basic {TOKEN}", "Bearer caf\xe9"):
        for method, path in (("GET", "/labels"), ("POST", "/perceive"), ("POST", "/ask?question=x"), ("GET", "/")):
            status, headers, reply = served.raw(method, path, Authorization=wrong)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert TOKEN not in json.dumps(reply)
    with pytest.raises(HearingServerError, match="token is missing or wrong") as refused:
        served.client("wrong").perceive(clip())
    assert refused.value.status == 401
    assert len(served.bat.encoder.batches) == before


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8765", True), ("localhost", True), ("LOCALHOST:1", True), ("[::1]:8765", True), ("10.0.0.7", True),
        ("robot.lan:8765", True), ("evil.example", False), ("127.0.0.1.evil.example:8765", False), ("", False),
    ],
)  # fmt: skip
def test_only_known_names_are_served(serve: Serve, host: str, known: bool) -> None:
    """A page in a browser may reach a loopback server under its own name, never under an address."""
    status, _, reply = serve(allowed_hosts=("robot.lan",)).raw("GET", "/health", Host=host)
    assert status == (200 if known else 400)
    assert known or "host name is not served here" in reply["error"]
