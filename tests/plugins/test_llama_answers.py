"""How answers are found: packed, inside the tree of closed answers, weighed, streamed; against one at a time."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bat_agent.interfaces import Encoding
from bat_agent.labels import labels
from bat_agent.questions import parse_location
from bat_agent_llama.choices import ClosedAnswers, closed_answers, locations, members_of
from bat_agent_llama.config import LlamaReasonerConfig
from bat_agent_llama.packing import Tree
from bat_agent_llama.reasoner import WHAT_SOUNDS, LlamaReasoner
from bat_agent_llama.tokenizer import answer_ids, shipped_tokenizer

DIM = 32
WHERE = "Where is the sound of the dog coming from?"
QUESTIONS = (WHAT_SOUNDS, WHERE, "Is the speech on your left side?", "At what hour does the dog bark?")
ANSWERS = ("dog; speech", "left, front, above; 2.5m", "Yes", "11 o'clock")


def encoding(clips: int, seed: int = 0) -> Encoding:
    return Encoding(tokens=torch.randn(clips, 7, DIM, generator=torch.Generator().manual_seed(seed)))


def tiny(**options: Any) -> LlamaReasoner:
    return LlamaReasoner(LlamaReasonerConfig(**{"token_dim": DIM, "tiny_layers": 2, **options}))


@pytest.fixture(scope="module")
def learnt() -> LlamaReasoner:
    """Answers four kinds of questions in their forms, but guesses about what it hears."""
    reasoner = tiny()
    optimiser = torch.optim.AdamW(reasoner.parameters(), lr=1e-3)
    sides = (
        "left, front, above; 2.5m",
        "right, behind, below; 4m",
        "left, behind, above; 10m",
        "right, front, above; 1m",
    )
    for step in range(60):
        clips = [
            (("dog; speech", "music")[n % 2], sides[n], ("Yes", "No")[n // 2], ("11 o'clock", "1 o'clock")[n % 2])
            for n in range(4)
        ]
        with torch.autocast("cpu", torch.bfloat16):
            loss = reasoner.loss(encoding(4, seed=step), QUESTIONS * 4, list(itertools.chain(*clips)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return reasoner.eval()


def test_every_closed_answer_is_a_path_of_the_tree_and_nothing_else_is() -> None:
    tokenizer = shipped_tokenizer()
    closed = ClosedAnswers(lambda some: answer_ids(tokenizer, some, separator=" "), tokenizer.eos_token_id)
    found: list[str] = []
    stack = [([], closed.root)]
    while stack:
        ids, node = stack.pop()
        for token, child in node.children.items():
            if token == closed.end:
                found.append(tokenizer.decode(ids).strip())
            else:
                stack.append(([*ids, token], child))
    assert sorted(found) == sorted(set(closed_answers()))
    assert len(locations()) == 8 * 21


def test_what_is_looked_at_ahead_are_the_choices_and_no_more_than_allowed() -> None:
    tokenizer = shipped_tokenizer()
    closed = ClosedAnswers(lambda some: answer_ids(tokenizer, some, separator=" "), tokenizer.eos_token_id)
    yes, left = (closed.begins(tokenizer(f" {word}").input_ids[0]) for word in ("Yes", "left"))
    assert yes is not None
    assert closed.ahead(yes, 10) == []  # nothing is left to choose
    assert left is not None
    for most in (1, 5, 14, 100):
        paths = closed.ahead(left, most)
        assert len(Tree([[*path, closed.end] for path in paths]).ids) <= most
        assert paths[0] == ()
        for path in paths:
            node = left
            for token in path:
                node = node.children[token]
            assert len(node.children) > 1
    assert all(closed.begins(t) is None for t in closed.open)


@pytest.mark.parametrize("seed", range(4))
def test_a_location_is_always_well_formed(learnt: LlamaReasoner, seed: int) -> None:
    """Also where the language model is in doubt; and it is what plain decoding says wherever that is well-formed."""
    clips = encoding(8, seed=100 + seed)
    free = tiny(closed_answers=False).eval()
    free.load_state_dict(learnt.state_dict())
    inside, plain = learnt.answer(clips, [WHERE] * 8), free.answer(clips, [WHERE] * 8)
    assert all(parse_location(reply) for reply in inside)
    for said, anyhow in zip(inside, plain, strict=True):
        if anyhow in locations():
            assert said == anyhow


def test_confidence_inside_the_tree_is_the_product_over_its_choices(learnt: LlamaReasoner) -> None:
    """From plain logits: at every choice the share of the token among those that keep the answer a closed one."""
    clip = encoding(1, seed=77)
    (reply,) = learnt.answer(clip, [WHERE])
    (target,) = learnt._answer_ids([reply])
    every = learnt._answer_ids(closed_answers())
    expected = 0.0
    for place, token in enumerate(target):
        allowed = sorted({other[place] for other in every if other[:place] == target[:place] and len(other) > place})
        logits = _logits_behind(learnt, clip, target[:place])
        expected += float(logits[allowed].log_softmax(0)[allowed.index(token)])
    assert reply.confidence == pytest.approx(math.exp(expected), rel=1e-3)


def test_scores_are_the_losses_of_single_answers(learnt: LlamaReasoner) -> None:
    """Answers that share beginnings, in one pass, next to each on its own."""
    clips, candidates = encoding(3, seed=3), ["dog", "dog; speech", "music", "Yes", "left, front, above; 2.5m", "left"]
    together = learnt.score(clips, WHAT_SOUNDS, candidates)
    for clip, (column, answer) in itertools.product(range(3), enumerate(candidates)):
        tokens = len(learnt._answer_ids([answer])[0])
        alone = -learnt.loss(clips[[clip]], [WHAT_SOUNDS], [answer]).detach() * tokens
        torch.testing.assert_close(together[clip, column], alone, atol=2e-4, rtol=1e-4)


def test_all_labels_are_scored_in_one_pass(learnt: LlamaReasoner) -> None:
    clips = encoding(2, seed=9)
    looks: list[int] = []
    handle = learnt.llm.model.register_forward_hook(lambda *_: looks.append(1))
    scores = learnt.class_scores(clips)
    handle.remove()
    assert scores.shape == (2, 355)
    assert len(looks) == 2  # the question, the tree of all labels
    some = [0, 17, 354]
    one_by_one = learnt.score(clips, WHAT_SOUNDS, [labels()[n].lower() for n in some])
    torch.testing.assert_close(scores[:, some], one_by_one, atol=1e-4, rtol=1e-4)


def test_yes_and_no_take_one_look(learnt: LlamaReasoner) -> None:
    """All questions about a clip together, without a step of decoding; asked again, the beginning is not computed."""
    clip, asked = encoding(1, seed=4), [f"Is the {name} on your left side?" for name in ("dog", "speech", "music")]
    looks: list[int] = []
    handle = learnt.llm.model.register_forward_hook(lambda *got: looks.append(got[-1].last_hidden_state.shape[1]))
    first = learnt.answer(clip, asked)
    assert set(first) <= {"Yes", "No"}
    assert len(looks) == 1
    assert learnt.answer(clip, asked) == first
    assert len(looks) == 2
    assert looks[1] < looks[0] - learnt.prefix_tokens  # the beginning was remembered
    handle.remove()


def test_answers_of_a_remembered_clip_are_forgotten_with_its_weights(learnt: LlamaReasoner) -> None:
    clip = encoding(1, seed=4)
    mine = tiny().eval()
    before = [reply.confidence for reply in mine.answer(clip, QUESTIONS)]
    mine.load_trained_state_dict(learnt.trained_state_dict())
    assert [reply.confidence for reply in mine.answer(clip, QUESTIONS)] != before
    assert mine.answer(clip, QUESTIONS) == learnt.answer(clip, QUESTIONS)


def test_hours_begin_alike_and_are_weighed_to_their_ends(learnt: LlamaReasoner) -> None:
    clip = encoding(2, seed=6)
    replies = learnt.answer(clip, [QUESTIONS[3]] * 2)
    for row, reply in enumerate(replies):
        assert reply.endswith("o'clock")
        names = [name for name, _ in reply.alternatives]
        expected = learnt.score(clip[[row]], QUESTIONS[3], names)[0].softmax(0).tolist()
        assert [share for _, share in reply.alternatives] == pytest.approx(expected, rel=1e-3)
        assert reply.alternatives[0][0] == reply or reply.confidence == dict(reply.alternatives)[reply]


def test_letters_are_weighed_among_those_offered() -> None:
    asked = "Where is the dog? A. left; B. right"
    assert members_of(asked, "A") == ("A", "B")
    assert members_of(asked, "D") == ()
    assert members_of("Which one?", "D") == ("A", "B", "C", "D")
    assert members_of(asked, "dog") == ()


def test_streamed_pieces_are_the_answer(learnt: LlamaReasoner) -> None:
    clip = encoding(1, seed=11)
    for question in QUESTIONS:
        pieces = list(learnt.stream(clip, question))
        assert "".join(pieces) == learnt.answer(clip, [question])[0]
    assert len(list(learnt.stream(clip, WHERE))) > 1


def test_streaming_leaves_the_listeners_gradients_alone(learnt: LlamaReasoner) -> None:
    """Between two pieces the caller's own code runs, in the mode that it chose."""
    for _ in learnt.stream(encoding(1, seed=11), WHERE):
        assert torch.is_grad_enabled()


def test_a_reasoner_can_be_copied_after_it_answered(learnt: LlamaReasoner) -> None:
    """What it remembers of a clip hangs on that clip, which no copy shares."""
    clip = encoding(1, seed=12)
    expected = learnt.answer(clip, QUESTIONS)
    assert copy.deepcopy(learnt).answer(clip, QUESTIONS) == expected


def test_many_questions_about_many_clips_are_answered_as_one_by_one(learnt: LlamaReasoner) -> None:
    """More than are packed at once, of different kinds and lengths."""
    clips = encoding(3, seed=21)
    asked = [QUESTIONS[n % 4] + " Please answer." * (n % 3) for n in range(35)]
    together = learnt.answer(clips, asked * 3)
    alone = [learnt.answer(clips[[clip]], [question])[0] for clip in range(3) for question in asked]
    assert together == alone
    assert [r.confidence for r in together] == pytest.approx([r.confidence for r in alone], abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=8))
def test_tree_of_any_continuations_totals_what_each_is_worth(continuations: list[list[int]]) -> None:
    """With the log probability of a token set to a number of its own path, the total is the sum along the path."""
    tree = Tree(continuations)
    first = torch.randn(4, generator=torch.Generator().manual_seed(0)).double()
    behind = torch.randn(len(tree.ids), 4, generator=torch.Generator().manual_seed(1)).double()
    paths = {(): first}
    for node, token in enumerate(tree.ids):
        chain = [n for n in range(len(tree.ids)) if tree.ancestors[node, n]]
        path = tuple(tree.ids[n] for n in sorted(chain, key=lambda n: tree.depths[n]))
        assert path[-1] == token
        assert path not in paths
        paths[path] = behind[node]
        assert tree.places[path] == node
    for total, tokens in zip(tree.totals(first, behind).tolist(), continuations, strict=True):
        assert total == pytest.approx(sum(float(paths[tuple(tokens[:n])][t]) for n, t in enumerate(tokens)))


def _logits_behind(reasoner: LlamaReasoner, clip: Encoding, ids: list[int]) -> torch.Tensor:
    from bat_agent_llama.tokenizer import prompt_ids

    (prompt,) = prompt_ids(reasoner.tokenizer, [WHERE])
    text = reasoner._embed(torch.tensor([prompt + ids]))
    with torch.no_grad():
        return reasoner.llm(inputs_embeds=torch.cat([reasoner.projector(clip.tokens), text], dim=1)).logits[0, -1]


def test_files_of_the_room_need_no_torch_to_be_listed(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import bat_agent_llama.hooks, bat_agent_llama.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


@pytest.fixture(scope="module")
def talkative() -> LlamaReasoner:
    """Learnt answers in free text that begin like closed ones, and closed ones that begin the same way."""
    reasoner = tiny()
    optimiser = torch.optim.AdamW(reasoner.parameters(), lr=1e-3)
    for _ in range(60):
        loss = reasoner.loss(encoding(1), list(FREE), list(FREE.values()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return reasoner.eval()


FREE = {
    "What is happening?": "A dog barks at music",
    "Where is the dog? A. left; B. right": "A",
    "Tell me about the dog.": "left of the music, and barking",
    "On which side is the dog?": "left",
    "Describe what you hear.": "No speech, only music",
    "Is there music?": "No",
    "How many dogs?": "2",
    "What do the dogs do?": "2 dogs bark",
}


def test_free_text_that_begins_like_a_closed_answer_is_not_cut(talkative: LlamaReasoner) -> None:
    """``A dog barks`` was ``A`` and ``No speech …`` was ``No``, because the first token decided that the answer is one
    of the tree. Now it leaves the tree where the language model would rather say something else.
    """
    replies = talkative.answer(encoding(1), list(FREE))
    assert list(map(str, replies)) == list(FREE.values())
    assert all(reply.confidence is not None and reply.confidence > 0.5 for reply in replies)
    for question, answer in FREE.items():
        assert "".join(talkative.stream(encoding(1), question)) == answer
    free = [reply for reply in replies if " " in reply]
    expected = [float(talkative.score(encoding(1), q, [a]).exp()) for q, a in FREE.items() if " " in a]
    assert [reply.confidence for reply in free] == pytest.approx(expected, rel=1e-3)
