"""The reasoner `scene-prompt`: what a server on this machine is told, and what becomes of what it says."""

from __future__ import annotations

import itertools
import json
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from bat_agent import agent, loading
from bat_agent.clips.batch import Truth
from bat_agent.clips.oracle import oracle_encoding
from bat_agent.errors import BadInput, WeightsError
from bat_agent.hearing.perception import Perception, Thresholds
from bat_agent.interfaces import Encoding
from bat_agent.labels import label_index
from bat_agent.questions import HeardSource, QuestionType, compatible, generate
from bat_agent.questions.records import RELEASED_TYPES
from bat_agent.scene import Position
from bat_agent.testing import ReasonerContract
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner
from bat_agent_scene_prompt import description
from bat_agent_scene_prompt.config import ScenePromptConfig
from bat_agent_scene_prompt.prompt import SYSTEM
from bat_agent_scene_prompt.reasoner import ScenePromptReasoner
from bat_agent_scene_prompt.replies import NO_ANSWER

DOG = HeardSource(("Dog", "Bark"), Position(150.0, -20.0, 2.0))  # left, front, below
MUSIC = HeardSource(("Music",), Position(20.0, 10.0, 4.5))  # right, front, above
SOURCE = re.compile(
    r"Source \d+: (?P<labels>.+)\n- region: (?P<region>.+)\n"
    r"- direction: azimuth (?P<azimuth>\d+) degrees, elevation (?P<elevation>-?\d+) degrees.*\n"
    r"- distance: (?P<distance>[\d.]+)m.*\n- offset: (?P<offset>.+)"
)
Answer = tuple[int, bytes, dict[str, str]]
Script = Callable[[dict[str, Any]], Answer]


def encode(*clips: Sequence[HeardSource]) -> Encoding:
    """What an encoder that hears well says of clips with equally many sources."""
    shape = (len(clips), len(clips[0]))
    truth = Truth(torch.ones(shape, dtype=torch.bool), torch.zeros(*shape, 355), *torch.zeros(3, *shape).long())
    for clip, slot in itertools.product(*map(range, shape)):
        source = clips[clip][slot]
        truth.classes[clip, slot, [label_index()[label] for label in source.labels]] = 1
        truth.azimuth[clip, slot] = round(source.position.azimuth_deg) % 360
        truth.elevation[clip, slot] = round(source.position.elevation_deg) + 90
        truth.distance[clip, slot] = round(2 * source.position.distance_m)
    return oracle_encoding(truth, 8, 2, torch.Generator().manual_seed(0))


# --- a server on this machine ---


class Server:
    """Speaks /v1/chat/completions as ``script`` says; keeps what it was sent."""

    def __init__(self) -> None:
        self.script: Script = lambda request: completion("Yes")
        self.models = ["small-chat"]
        self.sent: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    def reply(self, path: str, body: bytes, key: str | None) -> Answer:
        self.keys.append(key)
        if path == "/v1/models":
            return 200, json.dumps({"data": [{"id": name} for name in self.models]}).encode(), {}
        assert path == "/v1/chat/completions"
        self.sent.append(json.loads(body))
        return self.script(self.sent[-1])


def completion(text: str | None, **choice: Any) -> Answer:
    message = {"role": "assistant", "content": text}
    return 200, json.dumps({"choices": [{"message": message, "finish_reason": "stop", **choice}]}).encode(), {}


def question_of(request: dict[str, Any]) -> str:
    return request["messages"][-1]["content"].split("Question: ")[-1]


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, content, headers = told.reply(self.path, body, self.headers.get("Authorization"))
            if code == 0:  # hang up without a word
                return
            self.send_response(code)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # who waited may be gone
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield told
    http.shutdown()
    http.server_close()
    thread.join()


def reasoner_at(server: Server, **options: Any) -> ScenePromptReasoner:
    settings = {"token_dim": 8, "base_url": server.url, "model": "small-chat", "retry_wait_s": 0.01, "retries": 2}
    return ScenePromptReasoner(ScenePromptConfig(**{**settings, **options}))


class TestContract(ReasonerContract):
    @pytest.fixture
    def reasoner(self, server: Server) -> ScenePromptReasoner:
        server.script = lambda request: completion(f"It was asked: {question_of(request)}")
        return reasoner_at(server)

    def test_loss_is_a_scalar_that_trains_what_is_trainable(self, reasoner: Any, encoding: Encoding) -> None:
        """Someone else's language model is not trained, and a run that tries to is told so."""
        with pytest.raises(BadInput, match=r"cannot be trained.*leave out the stages that train a reasoner"):
            reasoner.loss(encoding, self.questions, self.answers)


# --- what is told is true, and enough ---


def read_back(text: str) -> list[HeardSource]:
    """The sources that a reader finds in a description."""
    found = []
    for match in SOURCE.finditer(text):
        labels = re.findall(r"(?:^|; )(?!possibly)(.+?) \(\d\.\d\d\)(?=; |$)", match["labels"])
        known = {label.lower(): label for label in label_index()}
        place = Position(*(float(match[name]) for name in ("azimuth", "elevation", "distance")))
        assert place.region == match["region"]
        along = dict(re.findall(r"([\d.]+) m (\w+)", match["offset"]))
        assert [*along.values()] == match["region"].split(", ")
        assert math.hypot(*map(float, along)) == pytest.approx(place.distance_m, abs=0.02)
        found.append(HeardSource(tuple(known[label] for label in labels), place))
    return found


def draw_sources(rng: np.random.Generator) -> list[HeardSource]:
    names = list(label_index())
    while True:
        sources = [
            HeardSource(
                tuple(rng.choice(names, size=rng.integers(1, 3), replace=False).tolist()),
                Position(float(rng.integers(360)), float(rng.integers(-70, 70)), float(rng.integers(1, 21)) / 2),
            )
            for _ in range(2)
        ]
        # Slots that point the same way are told apart by perception, which moves them.
        apart = abs((sources[0].position.azimuth_deg - sources[1].position.azimuth_deg + 180) % 360 - 180)
        if compatible(*sources) and apart > 60:
            return sources


def test_the_words_hold_all_that_questions_ask_for(server: Server, rng: np.random.Generator) -> None:
    """A "language model" that knows nothing but the text answers every released type of question as the truth does."""

    def answer(request: dict[str, Any]) -> Answer:
        told = read_back(request["messages"][-1]["content"])
        return completion(str(RulesReasoner(RulesConfig()).answer(encode(told), [question_of(request)])[0]))

    server.script = answer
    reasoner, wrong, count = reasoner_at(server), [], 0
    for _ in range(12):
        sources = draw_sources(rng)
        questions = generate(sources, [*RELEASED_TYPES[2:], QuestionType.PLAIN], rng, 10)
        replies = reasoner.answer(encode(sources), [question.text for question in questions])
        count += len(questions)
        wrong += [f"{q.text} -> {r}, not {q.answer}" for q, r in zip(questions, replies, strict=True) if r != q.answer]
    assert len(wrong) <= 0.02 * count, "\n".join(wrong)


def test_text_is_sent_and_nothing_else(server: Server) -> None:
    server.models = ["other", "small-chat"]
    reasoner_at(server, max_answer_tokens=7).answer(encode([DOG, MUSIC]), ["Where is the dog?"])
    (request,) = server.sent
    system, user = request.pop("messages")
    assert request == {"model": "small-chat", "temperature": 0, "max_tokens": 7, "stream": False}
    assert system == {"role": "system", "content": SYSTEM}
    described = description.describe(encode([DOG, MUSIC]), Thresholds())[0]
    assert user == {"role": "user", "content": f"What is heard:\n\n{described}\n\nQuestion: Where is the dog?"}
    named = {frozenset(match["labels"].split("; ")) for match in SOURCE.finditer(described)}
    assert named == {frozenset(("dog (1.00)", "bark (1.00)")), frozenset(("music (1.00)",))}
    assert "azimuth 150 degrees, elevation -20" in described


def test_silence_doubt_and_missing_heads_are_told() -> None:
    assert description.in_words(Perception(), None, Thresholds()) == description.NOTHING
    faint = encode([DOG])
    faint.slots = None  # an encoder with slots would say nothing then
    faint.class_logits = torch.full((1, 355), -9.0)
    faint.class_logits[0, label_index()["Dog"]] = -2.0
    (text,) = description.describe(faint, Thresholds())
    assert text.startswith("Nothing is heard for certain")
    assert "probability that it is there: 0.12" in text
    unsure = encode([DOG])
    assert unsure.slots is not None
    unsure.slots.class_logits[0, 0, label_index()["Growling"]] = -1.0
    assert "possibly growling (0.27)" in description.describe(unsure, Thresholds())[0]
    (bare,) = description.describe(Encoding(torch.zeros(1, 2, 4), azimuth_logits=faint.azimuth_logits), Thresholds())
    for part in ("a sound of unknown kind", "region: left, front\n", "elevation unknown", "distance: unknown"):
        assert part in bare
    assert "offset" not in bare


# --- several at once ---


def test_answers_keep_their_order_and_few_are_asked_at_once(server: Server, rng: np.random.Generator) -> None:
    now, most, lock = 0, 0, threading.Lock()
    waits = {f"Question {n}?": float(rng.uniform(0.0, 0.05)) for n in range(6)}

    def answer(request: dict[str, Any]) -> Answer:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        time.sleep(waits[question_of(request)])
        with lock:
            now -= 1
        return completion(f"{question_of(request)} {SOURCE.findall(request['messages'][1]['content'])[0][1]}.")

    server.script = answer
    asked = list(waits)
    replies = reasoner_at(server, concurrency=3).answer(encode([DOG], [MUSIC]), asked)
    regions = ["left, front, below"] * 3 + ["right, front, above"] * 3
    assert replies == [f"{question} {region}." for question, region in zip(asked, regions, strict=True)]
    assert 2 <= most <= 3


# --- what is said ---


def test_saying_nothing_is_told_and_being_cut_is_explained(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.script = lambda request: completion("<think>The dog", finish_reason="length")
    reasoner = reasoner_at(server, max_answer_tokens=3)
    with caplog.at_level(logging.WARNING):
        replies = reasoner.answer(encode([DOG]), ["Where?", "What?"])
    assert [(str(reply), reply.confidence) for reply in replies] == [(NO_ANSWER, 0.0)] * 2
    assert len([record for record in caplog.records if "max_answer_tokens=3" in record.message]) == 1
    server.script = lambda request: completion(None)
    assert reasoner.answer(encode([DOG]), ["Where?"]) == [NO_ANSWER]


def test_confidence_comes_from_the_tokens_of_the_answer(server: Server) -> None:
    """Neither thinking nor what stands around the answer counts; told what else was likely, it is weighed with that."""
    tokens = [("<think>", -3.0), ("hm", -2.0), ("</think>", -1.0), ("\n", -0.1), ("Yes", -0.2), (".", -0.3)]
    logprobs = {"content": [{"token": token, "logprob": value} for token, value in tokens]}
    text = "".join(token for token, _ in tokens)
    server.script = lambda request: completion(text, **({"logprobs": logprobs} if request.get("logprobs") else {}))
    (sure,) = reasoner_at(server, logprobs=True).answer(encode([DOG]), ["Is it?"])
    assert (str(sure), sure.confidence) == ("Yes", pytest.approx(math.exp(-0.2)))
    likely = [{"token": token, "logprob": math.log(p)} for token, p in (("Yes", 0.6), (" no", 0.15), ("No", 0.05))]
    logprobs["content"][4]["top_logprobs"] = likely
    (weighed,) = reasoner_at(server, logprobs=True).answer(encode([DOG]), ["Is it?"])
    assert weighed.confidence == pytest.approx(0.75)
    assert [name for name, _ in weighed.alternatives] == ["Yes", "No"]
    del logprobs["content"][4]["top_logprobs"]
    (plain,) = reasoner_at(server).answer(encode([DOG]), ["Is it?"])
    assert (str(plain), plain.confidence) == ("Yes", None)
    server.script = lambda request: completion("Yes", logprobs=None)
    assert reasoner_at(server, logprobs=True).answer(encode([DOG]), ["Is it?"])[0].confidence is None


# --- trouble ---


@pytest.mark.parametrize("trouble", [(503, b"", {}), (429, b"{}", {"Retry-After": "0.02"}), (0, b"", {})], ids=str)
def test_passing_trouble_is_waited_out(server: Server, trouble: Answer) -> None:
    replies = iter([trouble, trouble, completion("Yes")])
    server.script = lambda request: next(replies)
    assert reasoner_at(server).answer(encode([DOG]), ["Is it?"]) == ["Yes"]
    assert len(server.sent) == 3


@pytest.mark.parametrize(
    ("trouble", "options", "says"),
    [
        ((500, b'{"error": {"message": "out\\nof memory"}}', {}), {}, "failed 3 times.*HTTP 500.*out of memory"),
        ((401, b"", {}), {}, "refused access.*api_key_env"),
        (
            (404, b'{"error": "no such model"}', {}),
            {"model": "big"},
            "no model 'big'.*no such model.*it has small-chat",
        ),
        ((404, b"", {}), {}, "has no /chat/completions.*usually ends in /v1"),
        ((400, b'{"message": "too long"}', {}), {}, "refused the request.*too long"),
        ((302, b"", {"Location": "http://192.0.2.1/"}), {}, "refused the request.*HTTP 302"),
        ((200, b"<html>", {}), {}, "something else than a chat completion.*<html>"),
        ((200, b'{"choices": []}', {}), {}, "something else than a chat completion"),
        ((0, b"", {}), {}, "cannot reach a server"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_lasting_trouble_is_one_sentence(server: Server, trouble: Answer, options: dict[str, Any], says: str) -> None:
    server.script = lambda request: trouble
    with pytest.raises(BadInput, match=says) as caught:
        reasoner_at(server, **options).answer(encode([DOG]), [f"Is it {n}?" for n in range(5)])
    assert "\n" not in str(caught.value)


def test_nobody_there_and_no_answer_in_time(server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(BadInput, match=rf"cannot reach a server at {nobody} .*start it there"):
            reasoner_at(server, base_url=nobody).answer(encode([DOG]), ["Is it?"])
    hold = threading.Event()
    server.script = lambda request: (hold.wait(5), completion("Yes"))[1]
    with pytest.raises(BadInput, match=r"did not answer within 0.1 s.*timeout_s"):
        reasoner_at(server, timeout_s=0.1).answer(encode([DOG]), ["Is it?"])
    hold.set()


def test_the_only_model_is_found_and_several_are_listed(server: Server) -> None:
    reasoner_at(server, model="").answer(encode([DOG]), ["Is it?"])
    assert server.sent[0]["model"] == "small-chat"
    server.models = ["a", "b"]
    with pytest.raises(BadInput, match=r"2 models \(a, b\); choose one by model="):
        reasoner_at(server, model="").answer(encode([DOG]), ["Is it?"])


def test_the_key_is_read_from_the_variable_and_stays_out_of_sight(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasoner = reasoner_at(server, api_key_env="CHAT_KEY")
    with pytest.raises(BadInput, match="CHAT_KEY, but that environment variable is not set"):
        reasoner.answer(encode([DOG]), ["Is it?"])
    monkeypatch.setenv("CHAT_KEY", "sesame")
    reasoner.answer(encode([DOG]), ["Is it?"])
    reasoner_at(server).answer(encode([DOG]), ["Is it?"])
    assert server.keys == ["Bearer sesame", None]
    server.script = lambda request: (401, b"", {})
    with pytest.raises(BadInput, match="check the key in CHAT_KEY") as caught:
        reasoner.answer(encode([DOG]), ["Is it?"])
    assert "sesame" not in str(caught.value)


# --- what may leave the machine ---


def test_a_proxy_never_sees_what_is_for_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert reasoner_at(server, timeout_s=2.0).answer(encode([DOG]), ["Is it?"]) == ["Yes"]


# --- from end to end ---


@pytest.mark.usefixtures("_echo")
def test_ask_with_a_server(server: Server, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """The null encoder hears the louder ear; the server reads the side in the text."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((32_000, 2))
    soundfile.write(tmp_path / "left.wav", noise * [1.0, 0.1], 32_000, subtype="FLOAT")

    def answer(request: dict[str, Any]) -> Answer:
        return completion(SOURCE.findall(request["messages"][1]["content"])[0][1].split(",")[0].upper() + ".")

    server.script = answer
    chosen = ("--reasoner", "scene-prompt", "--reasoner-option", f"base_url={server.url}")
    code, out, err = run("ask", tmp_path / "left.wav", "On which side is it?", *chosen)
    assert (code, out, err) == (0, "left\n", "")
    far = ("--reasoner", "scene-prompt", "--reasoner-option", "base_url=http://192.0.2.7/v1")
    code, out, err = run("ask", tmp_path / "left.wav", "On which side is it?", *far)
    assert (code, out) == (2, "")
    assert "remote=true" in err


@pytest.mark.usefixtures("_echo")
def test_a_saved_agent_finds_its_server_again(server: Server, tmp_path: Path) -> None:
    """What ``evaluate qa`` needs: a folder that names encoder, reasoner and server; no key and no language model."""
    options = {"base_url": server.url, "model": "small-chat", "api_key_env": "CHAT_KEY"}
    loading.load().with_reasoner("scene-prompt", **options).save_pretrained(tmp_path)
    again = agent.Bat.from_pretrained(tmp_path, device="cpu")
    assert again.config.reasoner["options"].items() >= options.items()
    assert isinstance(again.reasoner, ScenePromptReasoner)
    assert (tmp_path / "reasoner" / "model.safetensors").stat().st_size < 100
    with pytest.raises(WeightsError, match="unexpected"):
        again.reasoner.load_weights(tmp_path / "encoder")
