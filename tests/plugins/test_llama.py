"""The reasoner `llama` against plain transformers, against itself one question at a time, and against bad input."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from bat_agent.errors import WeightsError
from bat_agent.interfaces import Encoding, Reply
from bat_agent.questions import prompt
from bat_agent.testing import ReasonerContract
from bat_agent_llama import language_model
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.reasoner import LlamaReasoner
from bat_agent_llama.tokenizer import answer_ids, prompt_ids, shipped_tokenizer

DIM = 32
QUESTIONS = (
    "Identify the sound events in the audio clip.",
    "Where is the sound of the dog coming from?",
    "Is the speech on your left side?",
    "Is the music to the left or right of the steam?",
)
ANSWERS = tuple(
    (
        ("dog; speech", "music")[clip % 2],
        f"{('left', 'right')[clip // 2 % 2]}, front, above; {clip + 1}.5m",
        ("Yes", "No")[clip // 4],
        ("left", "right")[(clip + clip // 4) % 2],
    )
    for clip in range(8)
)


def tiny(**options: object) -> LlamaReasoner:
    return LlamaReasoner(LlamaReasonerConfig(**{"token_dim": DIM, "tiny_layers": 2, **options}))


def random_encoding(clips: int, seed: int = 0, dim: int = DIM) -> Encoding:
    return Encoding(tokens=torch.randn(clips, 7, dim, generator=torch.Generator().manual_seed(seed)))


def train(reasoner: LlamaReasoner, encoding: Encoding, answers: Sequence[Sequence[str]], steps: int) -> None:
    optimiser = torch.optim.AdamW([p for p in reasoner.parameters() if p.requires_grad], lr=1e-3)
    flat = [answer for row in answers for answer in row]
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            loss = reasoner.loss(encoding, QUESTIONS * len(answers), flat)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.04:
            break


@pytest.fixture(scope="module")
def learnt() -> LlamaReasoner:
    """Knows the answers to four questions about eight random clips by heart."""
    reasoner = tiny()
    train(reasoner, random_encoding(8), ANSWERS, steps=150)
    return reasoner.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model as a user would bring it: Hugging Face layout, not ours."""
    path = tmp_path_factory.mktemp("llm")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        language_model.build_tiny(1).save_pretrained(path)
    shipped_tokenizer().save_pretrained(path)
    return path


class TestContract(ReasonerContract):
    @pytest.fixture
    def reasoner(self) -> LlamaReasoner:
        return tiny()


def test_learns_by_heart(learnt: LlamaReasoner) -> None:
    replies = learnt.answer(random_encoding(8), QUESTIONS * 8)
    assert replies == [answer for row in ANSWERS for answer in row]
    # The same words about clips it never heard: it must have listened, not learnt the questions alone.
    assert learnt.answer(random_encoding(8, seed=5), QUESTIONS * 8) != replies


def test_packed_loss_is_the_loss_of_single_questions() -> None:
    reasoner, encoding = tiny(), random_encoding(3)
    answers = [answer for row in ANSWERS[:3] for answer in row]
    packed = reasoner.loss(encoding, QUESTIONS * 3, answers)
    single = reasoner.loss(encoding[[0] * 4 + [1] * 4 + [2] * 4], QUESTIONS * 3, answers)
    torch.testing.assert_close(packed, single, atol=1e-5, rtol=0)


def test_loss_is_the_cross_entropy_of_plain_transformers() -> None:
    """One sequence [prefix][BOS prompt][answer][EOS] with the labels masked by hand, loss by transformers."""
    reasoner, encoding = tiny(), random_encoding(1)
    (prompt,) = prompt_ids(reasoner.tokenizer, [QUESTIONS[1]])
    target = [*reasoner.tokenizer(" left, front; 2m").input_ids, reasoner.tokenizer.eos_token_id]
    prefix = reasoner.projector(encoding.tokens)
    ids = torch.tensor([prompt + target])
    embedded = torch.cat([prefix, reasoner.llm.get_input_embeddings()(ids)], dim=1)
    masked = torch.tensor([[-100] * (prefix.shape[1] + len(prompt)) + target])
    expected = reasoner.llm(inputs_embeds=embedded, labels=masked).loss
    torch.testing.assert_close(reasoner.loss(encoding, [QUESTIONS[1]], ["left, front; 2m"]), expected)


def test_answers_are_those_of_plain_generate(learnt: LlamaReasoner) -> None:
    # Clips it never heard, and questions of different length: nothing is learnt by heart here.
    encoding = random_encoding(3, seed=9)
    questions = [*QUESTIONS[:3], "What?", QUESTIONS[3], QUESTIONS[1] * 3]
    compared = set()
    for row, (question, said) in enumerate(zip(questions, learnt.answer(encoding, questions), strict=True)):
        ids = torch.tensor(prompt_ids(learnt.tokenizer, [question]))
        prefix = learnt.projector(encoding.tokens[row // 2 : row // 2 + 1])
        embedded = torch.cat([prefix, learnt.llm.get_input_embeddings()(ids)], dim=1).detach()
        out = learnt.llm.generate(
            inputs_embeds=embedded,
            attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long),
            do_sample=False,
            max_new_tokens=learnt.config.max_answer_tokens,
            return_dict_in_generate=True,
            output_scores=True,
        )
        # Where two tokens are as likely as each other, rounding chooses, and every release of torch rounds its own way.
        best, second = torch.stack(out.scores)[:, 0].topk(2).values.T
        if (best - second).min() > 0.05:
            expected = learnt.tokenizer.decode(out.sequences[0], skip_special_tokens=True).strip()
            assert said == expected, question
            compared.add(expected)
    assert len(compared) > 2


def test_confidence_is_the_probability_of_the_answer(learnt: LlamaReasoner) -> None:
    encoding = random_encoding(1)
    free = tiny(closed_answers=False).eval()
    free.load_state_dict(learnt.state_dict())
    (reply,), (closed,) = free.answer(encoding, [QUESTIONS[1]]), learnt.answer(encoding, [QUESTIONS[2]])
    # exp(-loss · tokens) is the probability of the answer, end included.
    tokens = len(answer_ids(learnt.tokenizer, [reply], separator=" ")[0])
    expected = torch.exp(-learnt.loss(encoding, [QUESTIONS[1]], [reply]).detach() * tokens).item()
    assert reply.confidence == pytest.approx(expected, rel=1e-3)
    assert reply.alternatives == ()
    # The logits of the two words where the answer begins, by plain transformers; the end after them is certain.
    (prompt,) = prompt_ids(learnt.tokenizer, [QUESTIONS[2]])
    embedded = torch.cat([learnt.projector(encoding.tokens), learnt._embed(torch.tensor([prompt]))], dim=1)
    words = [learnt.tokenizer(f" {word}").input_ids[0] for word in ("Yes", "No")]
    weights = learnt.llm(inputs_embeds=embedded).logits[0, -1, words].softmax(0).tolist()
    assert closed.alternatives[0] == ("Yes", pytest.approx(weights[0] / sum(weights), rel=1e-3))
    assert closed.alternatives[1] == ("No", pytest.approx(weights[1] / sum(weights), rel=1e-3))
    assert closed.confidence == closed.alternatives[0][1]
    assert isinstance(closed, Reply)


def test_many_questions_about_one_clip_are_cheap(learnt: LlamaReasoner) -> None:
    encoding, questions = random_encoding(1), [f"Is sound {i} on your left side?" for i in range(32)]
    assert learnt.answer(encoding, questions) == [learnt.answer(encoding, [q])[0] for q in questions]

    def seconds(calls: Sequence[list[str]]) -> float:
        start = time.process_time()
        for call in calls:
            learnt.answer(encoding, call)
        return time.process_time() - start

    assert seconds([questions]) < 0.6 * seconds([[q] for q in questions])


def test_more_questions_than_fit_in_one_batch(learnt: LlamaReasoner, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = learnt.answer(random_encoding(8), QUESTIONS * 8)
    for rows in (3, 9):  # fewer than the questions about a clip; two clips at a time
        monkeypatch.setattr("bat_agent_llama.reasoner.ROWS_AT_ONCE", rows)
        assert learnt.answer(random_encoding(8), QUESTIONS * 8) == expected


@pytest.mark.parametrize("half", [False, True])
def test_saved_and_loaded_reasoner_answers_the_same(learnt: LlamaReasoner, tmp_path: Path, half: bool) -> None:
    learnt.save_weights(tmp_path, half=half)
    other = tiny(seed=7).eval()
    expected = learnt.answer(random_encoding(8), QUESTIONS * 8)
    assert other.answer(random_encoding(8), QUESTIONS * 8) != expected
    other.load_weights(tmp_path)
    assert other.answer(random_encoding(8), QUESTIONS * 8) == expected
    other.load_weights(tmp_path / "model.safetensors")


def test_answer_ends_at_the_limit(learnt: LlamaReasoner) -> None:
    short = tiny(max_answer_tokens=3, closed_answers=False).eval()
    short.load_state_dict(learnt.state_dict())
    assert short.answer(random_encoding(1), [QUESTIONS[1]]) == ["left, front"]


def test_every_part_of_the_projector_learns() -> None:
    reasoner = tiny(projector_layers=2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = reasoner.loss(random_encoding(2), QUESTIONS[:2], ["Yes", "No"])
    loss.backward()
    silent = [name for name, p in reasoner.projector.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_autocast_changes_the_loss_little() -> None:
    reasoner = tiny()
    arguments = random_encoding(2), QUESTIONS[:2], ["Yes", "No"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = reasoner.loss(*arguments)
    torch.testing.assert_close(rounded, reasoner.loss(*arguments), atol=0.05, rtol=0)


def test_same_seed_same_weights_and_no_global_seed() -> None:
    before = torch.get_rng_state()
    one, two, three = tiny(), tiny(), tiny(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.projector.queries, two.projector.queries)
    assert torch.equal(one.llm.lm_head.weight, two.llm.lm_head.weight)
    assert not torch.equal(one.projector.queries, three.projector.queries)


@pytest.mark.parametrize(
    "options", [{"num_queries": 0}, {"num_cls_tokens": 0}, {"num_cls_tokens": 7, "num_queries": 1}]
)
def test_either_path_of_the_projector_alone_hears(options: dict[str, int]) -> None:
    reasoner = tiny(**options).eval()
    assert reasoner.projector(random_encoding(2).tokens).shape == (2, reasoner.projector.num_tokens, 256)
    one, two = (reasoner.loss(random_encoding(1, seed), ["What?"], ["dog"]) for seed in (0, 1))
    assert one != two


# A language model from a folder


def test_frozen_language_model_gets_no_gradient(folder: Path, tmp_path: Path) -> None:
    reasoner = tiny(llm=str(folder), dtype="float32")
    before = {name: p.clone() for name, p in reasoner.llm.named_parameters()}
    train(reasoner, random_encoding(2), ANSWERS[:2], steps=3)
    assert all(p.grad is None for p in reasoner.llm.parameters())
    assert all(torch.equal(before[name], p) for name, p in reasoner.llm.named_parameters())
    assert not reasoner.train().llm.training
    reasoner.save_weights(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    other = tiny(llm=str(folder), dtype="float32", seed=3)
    other.load_weights(tmp_path)
    assert other.answer(random_encoding(2), QUESTIONS * 2) == reasoner.answer(random_encoding(2), QUESTIONS * 2)


def test_language_model_in_bfloat16(folder: Path) -> None:
    reasoner = tiny(llm=str(folder))
    assert reasoner.llm.dtype == torch.bfloat16
    loss = reasoner.loss(random_encoding(2), QUESTIONS[:2], ["Yes", "No"])
    loss.backward()
    assert reasoner.projector.queries.grad is not None
    assert reasoner.projector.queries.dtype == torch.float32
    assert len(reasoner.answer(random_encoding(2), QUESTIONS[:2])) == 2


def test_answer_follows_the_colon_of_the_released_format(folder: Path) -> None:
    ids = answer_ids(tiny(llm=str(folder)).tokenizer, ["Yes"], separator="")[0]
    tokenizer = shipped_tokenizer()
    assert tokenizer.decode(prompt_ids(tokenizer, ["Hm?"])[0] + ids) == ("<bos>" + prompt("Hm?") + "Yes<eos>")


def spoil_no_config(path: Path) -> None:
    (path / "config.json").unlink()


def spoil_meta(path: Path) -> None:
    spoil_no_config(path)
    (path / "params.json").write_text("{}")


def spoil_no_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


def spoil_no_tokenizer(path: Path) -> None:
    for file in path.glob("tokenizer*"):
        file.unlink()


def spoil_config(path: Path) -> None:
    (path / "config.json").write_text("{}")


def spoil_type(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"model_type": "gemma"}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_no_config, "no config.json"),
        (spoil_meta, "Meta's own layout"),
        (spoil_no_weights, "no weights"),
        (spoil_no_tokenizer, "no tokenizer"),
        (spoil_config, "cannot be loaded"),
        (spoil_type, "expected the Llama architecture"),
    ],
)
def test_folder_that_lacks_something(folder: Path, tmp_path: Path, spoil: object, says: str) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=says) as caught:
        tiny(llm=str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        ("You are trying to access a gated repo.\nMake sure to have access to it.", "gated model; accept its licence"),
        ("We couldn't connect to 'https://huggingface.co' to load the files", "`hf download some/model`"),
        ("some/model is not a valid model identifier listed on the hub", "neither a folder nor a hub repository"),
    ],
)
def test_hub_says_no(monkeypatch: pytest.MonkeyPatch, cause: str, says: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(cause)

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)
    with pytest.raises(WeightsError, match=says) as caught:
        tiny(llm="some/model")
    assert "llm=tiny" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_is_told_before_transformers_is_imported() -> None:
    code = (
        "import sys\n"
        "from bat_agent_llama.language_model import load_language_model\n"
        "try:\n    load_language_model('/nowhere/llama', 'float32')\n"
        "except Exception as error:\n    print(error)\n"
        "assert 'transformers' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert "there is no language model folder /nowhere/llama" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys, bat_agent_llama.hooks as h, bat_agent_llama.config as c\n"
        "component = h.bat_agent_reasoners()[0]; c.LlamaReasonerConfig(); print(component.name)\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert (done.stdout, done.returncode) == ("llama\n", 0), done.stderr
