"""What the encoder's heads say, put into the language model's own words.

A model that learns language from scratch has to find out what a token of the encoder has to do with a word. Here the
connection is given: each source slot is spoken as six tokens. Five are the means of the word embeddings of classes, of
``left`` and ``right``, ``front`` and ``behind``, ``above`` and ``below``, and of distances, weighted with their
sharpened probabilities; the sixth carries the expected position in metres, which words are too coarse to compare.

All but the first also say whose they are: a linear map of the class token is added to them. Without it, "left" has to
be found through its place beside "dog", a lookup in two hops that takes many times more steps to learn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bat_agent.errors import BadInput
from bat_agent.interfaces import NUM_AZIMUTH_BINS, NUM_DISTANCE_BINS, NUM_ELEVATION_BINS, Encoding, SlotEncoding
from bat_agent.labels import labels
from bat_agent.questions import format_distance

TOKENS_PER_SLOT = 6
SHARPNESS = 6.0
"""How decided speech is: at 55 % left, the token is 77 % "left"."""
TYPICAL_DISTANCE_M = 3.0
SIDES = (("left", "right"), ("front", "behind"), ("above", "below"))
NEEDS_ALL_HEADS = "spoken_slots needs an encoder with all four heads; set spoken_slots=0 for this one"


class SpokenPerception(nn.Module):
    """Six tokens (B, 6·S, H) for each of the S most active slots, the most active first."""

    def __init__(self, tokenizer: Any, slots: int, width: int) -> None:
        super().__init__()
        self.slots = slots
        self.places = nn.Parameter(torch.zeros(slots * TOKENS_PER_SLOT, width))
        self.subject = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.subject.weight)
        self.position = nn.Linear(4, width, bias=False)
        self.register_buffer("shares", _side_shares(), persistent=False)
        self.learn_words(tokenizer)

    def learn_words(self, tokenizer: Any) -> None:
        """Look up the words of labels, sides and distances in a tokenizer's vocabulary."""
        distances = [format_distance(number / 2) for number in range(NUM_DISTANCE_BINS)]
        words = [*(name.lower() for name in labels()), *(word for pair in SIDES for word in pair), *distances]
        pieces = [tokenizer.encode(f" {word}", add_special_tokens=False) for word in words]
        starts = torch.tensor([0, *(len(piece) for piece in pieces[:-1])]).cumsum(0)
        self.register_buffer("pieces", torch.tensor([token for piece in pieces for token in piece]), persistent=False)
        self.register_buffer("starts", starts, persistent=False)

    @property
    def num_tokens(self) -> int:
        """Length of what is spoken."""
        return self.slots * TOKENS_PER_SLOT

    def forward(self, encoding: Encoding, embeddings: Tensor) -> Tensor:
        """Speak an encoding with the word ``embeddings`` (V, H)."""
        slots = _ranked(encoding, self.slots)
        # What is trained here is float32, whatever the language model's number format.
        words = F.embedding_bag(self.pieces, embeddings, self.starts, mode="mean").float()  # type: ignore[arg-type]
        what, *attributes = (self.weights(slots).to(words.dtype) @ words).unbind(dim=2)
        whose = self.subject(what)
        attributes.append(self.position(_expected_position(slots).to(words.dtype)))
        spoken = torch.stack([what, *(attribute + whose for attribute in attributes)], dim=2)
        return spoken.flatten(1, 2) + self.places

    def weights(self, slots: SlotEncoding) -> Tensor:
        """(B, S, 5, words): the probability of each word in each of the five tokens."""
        present = slots.activity_logits.float().sigmoid()[..., None]
        classes = _sharpened(slots.class_logits.float().sigmoid()) * present
        azimuth, elevation, distance = (logits.float().softmax(-1) for logits in _places(slots))
        sides = torch.cat((azimuth, elevation), dim=-1) @ self.shares  # type: ignore[operator]
        sides = _sharpened(sides.unflatten(-1, (len(SIDES), 2))).flatten(-2) * present
        distance = _sharpened(distance) * present
        rows = [(classes, 0), *((sides[..., 2 * i : 2 * i + 2], 2 * i) for i in range(3)), (distance, 0)]
        offsets = (0, *(classes.shape[-1] for _ in SIDES), classes.shape[-1] + 2 * len(SIDES))
        total = classes.shape[-1] + 2 * len(SIDES) + NUM_DISTANCE_BINS
        padded = [
            F.pad(part, (offset + shift, total - offset - shift - part.shape[-1]))
            for (part, shift), offset in zip(rows, offsets, strict=True)
        ]
        return torch.stack(padded, dim=2)


def _expected_position(slots: SlotEncoding) -> Tensor:
    """(B, S, 4): expected position, metres to the right, to the front and up, and distance; scaled, 0 where absent.

    The expected direction is shorter than 1 where the heads are undecided.
    """
    present = slots.activity_logits.float().sigmoid()[..., None]
    azimuth, elevation, distance = (logits.float().softmax(-1) for logits in _places(slots))
    turn = torch.arange(NUM_AZIMUTH_BINS, device=present.device) * (torch.pi / 180)
    rise = (torch.arange(NUM_ELEVATION_BINS, device=present.device) - 90.0) * (torch.pi / 180)
    metres = distance @ (torch.arange(NUM_DISTANCE_BINS, device=present.device) / 2)
    level, up = elevation @ rise.cos(), elevation @ rise.sin()
    direction = torch.stack((azimuth @ turn.cos() * level, azimuth @ turn.sin() * level, up), dim=-1)
    return torch.cat((direction * metres[..., None], metres[..., None]), dim=-1) * present / TYPICAL_DISTANCE_M


def _places(slots: SlotEncoding) -> tuple[Tensor, Tensor, Tensor]:
    azimuth, elevation, distance = slots.azimuth_logits, slots.elevation_logits, slots.distance_logits
    if azimuth is None or elevation is None or distance is None:
        raise BadInput(NEEDS_ALL_HEADS)
    return azimuth, elevation, distance


def _sharpened(probabilities: Tensor) -> Tensor:
    """Probabilities of words that exclude each other, pushed towards the likeliest: p^k / Σ p^k."""
    powers = (probabilities / probabilities.amax(dim=-1, keepdim=True).clamp(min=1e-6)) ** SHARPNESS
    return powers / powers.sum(dim=-1, keepdim=True).clamp(min=1e-6)


def _ranked(encoding: Encoding, count: int) -> SlotEncoding:
    """The ``count`` most active slots; an encoding without slots is one that is surely active."""
    slots = encoding.slots
    if slots is None:
        heads = (encoding.class_logits, encoding.distance_logits, encoding.azimuth_logits, encoding.elevation_logits)
        if any(head is None for head in heads):
            raise BadInput(NEEDS_ALL_HEADS)
        certain = encoding.tokens.new_full((len(encoding.tokens), 1), 20.0)
        slots = SlotEncoding(certain, *(head[:, None] for head in heads if head is not None))
    if slots.activity_logits.shape[1] < count:
        raise BadInput(f"the encoder has {slots.activity_logits.shape[1]} slots, fewer than spoken_slots={count}")
    order = slots.activity_logits.argsort(dim=1, descending=True)[:, :count]
    rows = torch.arange(len(order), device=order.device)[:, None]
    azimuth, elevation, distance = (logits[rows, order] for logits in _places(slots))
    return SlotEncoding(
        slots.activity_logits[rows, order], slots.class_logits[rows, order], distance, azimuth, elevation
    )


def _side_shares() -> Tensor:
    """(360 + 180, 6): which side each azimuth and elevation bin lies on; a bin on a border counts half to each."""
    azimuth = torch.arange(NUM_AZIMUTH_BINS) * (torch.pi / 180)
    # As bat_agent.hearing.perception shares them out, without the rest that breaks a tie: words are mixed here.
    right = torch.sign(azimuth.cos().round(decimals=6)) / 2 + 0.5
    front = torch.sign(azimuth.sin().round(decimals=6)) / 2 + 0.5
    above = torch.sign(torch.arange(NUM_ELEVATION_BINS) - 90.0) / 2 + 0.5
    shares = torch.zeros(NUM_AZIMUTH_BINS + NUM_ELEVATION_BINS, 2 * len(SIDES))
    shares[:NUM_AZIMUTH_BINS, :4] = torch.stack((1 - right, right, front, 1 - front), dim=1)
    shares[NUM_AZIMUTH_BINS:, 4:] = torch.stack((above, 1 - above), dim=1)
    return shares
