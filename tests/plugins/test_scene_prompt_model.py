"""The reasoner `scene-prompt` with a model that is loaded here: tiny Llamas, of random weights or reciting."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from bat_agent.errors import BadInput, WeightsError
from bat_agent.interfaces import Encoding
from bat_agent.testing import ReasonerContract
from bat_agent_scene_prompt.chat_model import ChatModel
from bat_agent_scene_prompt.config import ScenePromptConfig
from bat_agent_scene_prompt.prompt import SYSTEM, Prompt
from bat_agent_scene_prompt.reasoner import ScenePromptReasoner
from bat_agent_scene_prompt.replies import NO_ANSWER

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
MARKS = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>")
WORDS = ("Yes", "No", "hm", ".", "<line>")
HEIGHT = 12.0  # logit of the word that comes next in a recital


def tokenizer(template: str | None) -> Any:
    """Pieces of words of the prompt itself, so that prompts stay short."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator([SYSTEM] * 2, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet))
    pieces.add_special_tokens([AddedToken(mark) for mark in MARKS])
    pieces.add_tokens([AddedToken(word) for word in WORDS])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token="<|end|>")
    wrapped.chat_template = template
    return wrapped


def language_model(vocabulary: int, end: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=vocabulary, hidden_size=vocabulary + vocabulary % 2, num_hidden_layers=1, num_attention_heads=1,
            intermediate_size=8, max_position_embeddings=2048, bos_token_id=None, eos_token_id=end, pad_token_id=None,
            initializer_range=0.5,  # so large that attention matters, and prompts get answers of their own
        )  # fmt: skip
        return LlamaForCausalLM(config)


def recite(llm: Any, ids: Sequence[int]) -> None:
    """Without attention and with one direction a word, each word decides alone which comes next."""
    with torch.no_grad():
        layer = llm.model.layers[0]
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight, llm.lm_head.weight):
            weight.zero_()
        rows, width = llm.model.embed_tokens.weight.shape
        llm.model.embed_tokens.weight.copy_(torch.eye(rows, width))
        for word, following in pairwise(ids):
            llm.lm_head.weight[following, word] = HEIGHT / math.sqrt(width)  # the norm makes 1 of it √width


def folder(path: Path, template: str | None = TEMPLATE, recital: str | None = None) -> Path:
    """A model as a user would bring it."""
    words = tokenizer(template)
    llm = language_model(len(words), words.eos_token_id)
    if recital is not None:
        recite(llm, words(recital, add_special_tokens=False).input_ids)
    # Settings that chat models are shipped with; answers must be greedy all the same.
    llm.generation_config.do_sample, llm.generation_config.temperature = True, 1.5
    llm.generation_config.repetition_penalty = 3.0
    llm.save_pretrained(path)
    words.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("random"))


def reasoner_of(model: Path, **options: Any) -> ScenePromptReasoner:
    settings = {"token_dim": 8, "backend": "transformers", "model": str(model), "dtype": "float32"}
    return ScenePromptReasoner(ScenePromptConfig(**{**settings, "max_answer_tokens": 8, **options}))


def heard(azimuth_deg: int) -> Encoding:
    return Encoding(torch.zeros(1, 2, 4), azimuth_logits=-(torch.arange(360) - azimuth_deg).abs()[None].float())


class TestContract(ReasonerContract):
    @pytest.fixture
    def reasoner(self, random_model: Path) -> ScenePromptReasoner:
        return reasoner_of(random_model)

    def test_loss_is_a_scalar_that_trains_what_is_trainable(self, reasoner: Any, encoding: Encoding) -> None:
        """Someone else's language model is not trained: nothing of it asks for a gradient, and it stays in its mode."""
        assert not any(parameter.requires_grad for parameter in reasoner.parameters())
        assert not any(part.training for part in reasoner.train().chat.modules())
        with pytest.raises(BadInput, match="cannot be trained"):
            reasoner.loss(encoding, self.questions, self.answers)


def test_the_chat_template_holds_frame_description_and_question(random_model: Path) -> None:
    prompt = Prompt("1 source is heard", "Where is it?")
    text = reasoner_of(random_model).chat.text_of(prompt)  # type: ignore[union-attr]
    assert text == f"<|system|>{SYSTEM}<|end|><|user|>{prompt.user}<|end|><|assistant|>"


def test_a_template_without_a_system_role_gets_all_from_the_user(tmp_path: Path) -> None:
    prompt = Prompt("1 source is heard", "Where is it?")
    text = reasoner_of(folder(tmp_path, NO_SYSTEM)).chat.text_of(prompt)  # type: ignore[union-attr]
    assert text == f"<|user|>{SYSTEM}\n\n{prompt.user}<|end|><|assistant|>"


def test_answers_are_the_likeliest_tokens_with_their_probability(random_model: Path) -> None:
    """Token by token with plain transformers, one after the other; prompts and answers differ in length."""
    chat = ChatModel(str(random_model), "float32", max_answer_tokens=6)
    prompts = [
        Prompt("1 source is heard", "Where is it?"),
        Prompt("Nothing", "What?"),
        Prompt("2 sources " * 9, "Who?"),
    ]
    first, *others = (chat.tokenizer(said.text, add_special_tokens=False).input_ids for said in chat.ask(prompts))
    chat.ends.append(next(token for token in first[1:] if not any(token in other for other in others)))
    chat.llm.generation_config.eos_token_id = chat.ends
    replies = chat.ask(prompts)
    assert {said.cut for said in replies} == {False, True}
    for said, prompt in zip(replies, prompts, strict=True):
        ids = chat.tokenizer(chat.text_of(prompt), add_special_tokens=False).input_ids
        spoken, log_p, ended = [], 0.0, False
        while len(spoken) < 6 and not ended:
            with torch.no_grad():
                best, token = chat.llm(torch.tensor([ids + spoken])).logits[0, -1].log_softmax(-1).max(-1)
            ended = int(token) in chat.ends
            log_p += 0.0 if ended else float(best)
            spoken += [] if ended else [int(token)]
        assert said.text == chat.tokenizer.decode(spoken, skip_special_tokens=True)
        assert sum(token.log_p for token in said.tokens) == pytest.approx(log_p, abs=1e-3)
        assert "".join(token.text for token in said.tokens) == said.text
        assert said.cut == (not ended)


def test_a_recited_answer_is_tidied_and_weighed_without_its_thoughts(tmp_path: Path) -> None:
    """Yes is weighed against No where it was said: one high logit against those of all ways to write No."""
    reasoner = reasoner_of(folder(tmp_path, recital="<|assistant|><think>hm</think>Yes.<|end|>"))
    ways = {name: len(tokens) for name, tokens in reasoner.chat._beginnings.items()}  # type: ignore[union-attr]
    yes = math.exp(HEIGHT) + ways["Yes"] - 1
    replies = reasoner.answer(heard(150), ["Is it on your left?", "Is it?"])
    assert [str(reply) for reply in replies] == ["Yes", "Yes"]
    assert [reply.confidence for reply in replies] == [pytest.approx(yes / (yes + ways["No"]), rel=1e-4)] * 2
    assert [name for name, _ in replies[0].alternatives] == ["Yes", "No"]


def test_a_thought_without_an_end_is_no_answer(tmp_path: Path) -> None:
    model = folder(tmp_path / "said", recital="<|assistant|><think>hm.hm")
    assert reasoner_of(model).answer(heard(150), ["Is it?"]) == [NO_ANSWER]
    opened = folder(tmp_path / "opened", TEMPLATE.replace("<|assistant|>", "<|assistant|><think>"), "<think>hm.hm")
    assert reasoner_of(opened).answer(heard(150), ["Is it?"]) == [NO_ANSWER]


def test_a_model_without_a_template_goes_on_with_one_line(tmp_path: Path) -> None:
    """It never ends by itself; what counts is the line behind ``Answer:``, and its line break."""
    words = tokenizer(None)
    colon, line, yes, no = (words(text).input_ids[-1] for text in ("Answer:", "\n", "Yes", "No"))
    llm = language_model(len(words), words.eos_token_id)
    recite(llm, [colon, yes, line, no, line])
    llm.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    reasoner = reasoner_of(tmp_path, max_answer_tokens=50)
    prompt = Prompt("1 source", "Is it?")
    assert reasoner.chat.text_of(prompt) == f"{SYSTEM}\n\n{prompt.user}\nAnswer:"  # type: ignore[union-attr]
    (reply,) = reasoner.answer(heard(150), ["Is it?"])
    assert str(reply) == "Yes"
    assert reply.confidence is not None
    assert reply.confidence > 0.999


def test_the_words_around_an_answer_do_not_make_it_less_sure(tmp_path: Path) -> None:
    """``hm.No.`` says No as surely as ``No`` does: the probability of all its tokens together was counted (0.0003 for
    "The answer is: no.").
    """
    alone = reasoner_of(folder(tmp_path / "a", recital="<|assistant|>No<|end|>")).answer(heard(150), ["Is it?"])
    around = reasoner_of(folder(tmp_path / "b", recital="<|assistant|><think>hm</think>No.<|end|>"))
    with torch.no_grad():
        around.chat.llm.lm_head.weight *= 0.5  # type: ignore[union-attr]
    (less,) = around.answer(heard(150), ["Is it?"])
    assert str(alone[0]) == str(less) == "No"
    no, yes = (len(around.chat._beginnings[name]) for name in ("No", "Yes"))  # type: ignore[union-attr]
    assert less.confidence == pytest.approx(1 / (1 + yes / (math.exp(HEIGHT / 2) + no - 1)), rel=1e-4)


def test_what_prompts_share_is_computed_once(random_model: Path) -> None:
    """The next question about a clip costs its own tokens; answers are those of a model that computes everything."""
    reasoner, fresh = (reasoner_of(random_model) for _ in range(2))
    looks: list[int] = []
    base = reasoner.chat.llm.model  # type: ignore[union-attr]
    base.register_forward_pre_hook(lambda _, args, given: looks.append(given["input_ids"].shape[1]), with_kwargs=True)
    for clip, questions in ((150, ["Where is it?"]), (150, ["What sounds?", "Is it?"]), (20, ["Where is it?"])):
        looks.clear()
        said = reasoner.answer(heard(clip), questions)
        fresh.chat._prefix.forget()  # type: ignore[union-attr]
        expected = fresh.answer(heard(clip), questions)
        assert said == expected
        assert [reply.confidence for reply in said] == pytest.approx([reply.confidence for reply in expected], rel=1e-3)
        prompts = len(reasoner.chat.tokenizer(SYSTEM).input_ids)  # type: ignore[union-attr]
        assert (sum(looks) > prompts) == (clip == 150 and questions == ["Where is it?"])
    reasoner.double().float()
    assert reasoner.answer(heard(20), ["Where is it?"]) == expected


# --- what is missing ---


def test_what_cannot_be_loaded_is_one_sentence(random_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(random_model, tmp_path / "unweighed")
    (tmp_path / "unweighed" / "model.safetensors").unlink()
    for model, says in (
        (tmp_path / "nowhere", r"nowhere is no folder; download a chat model"),
        (tmp_path / "empty", r"empty has no config.json"),
        (tmp_path / "unweighed", r"unweighed cannot be loaded as a chat model \(.*model.safetensors"),
    ):
        with pytest.raises(WeightsError, match=says) as caught:
            reasoner_of(model)
        assert "\n" not in str(caught.value)


def test_a_prompt_that_does_not_fit_is_refused(random_model: Path) -> None:
    with pytest.raises(BadInput, match=r"an answer up to 2000, but .* takes 2048 in all; lower max_answer_tokens"):
        reasoner_of(random_model, max_answer_tokens=2000).answer(heard(10), ["Where?"])
