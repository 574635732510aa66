"""The published tables of answers, figure by figure: BAT, tables 1, 2, 4, 10, 11 and 12, and the systems since.

BAT: Zheng et al., ICML 2024 (arXiv 2402.01591). All in per cent, on the evaluation questions of the release: AudioSet
clips in Matterport3D rooms, class scores by OpenAI's text embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

MEASURES = ("map_a", "map_c", "acc_b", "acc_d", "der_b", "der_d", "direction", "distance", "mean")
"""Columns of table 4; the last three are yes/no accuracies."""
Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class Row:
    """One row: its name for the command line, its words, and its figures in the order of :data:`MEASURES`."""

    id: str
    words: tuple[str, ...]
    published: Numbers
    source: str = "paper"
    """Who published it."""
    match: str | None = None
    """The computed row (:mod:`bat_agent.scoring.rows`) that belongs beside it."""


@dataclass(frozen=True)
class Published:
    """One table."""

    id: str
    title: str
    columns: tuple[str, ...]
    """Headings of a row's words."""
    rows: tuple[Row, ...]
    binary: bool = True
    """Whether it has the last three columns only."""


@dataclass(frozen=True)
class Kind:
    """A row of table 1."""

    letter: str
    asks: str
    sources: str
    count: str
    """Samples and share in the paper."""


TABLE_1 = (
    Kind("A", "Detection", "1", "139K, 15.9 %"),
    Kind("B", "Distance and direction", "1", "139K, 15.9 %"),
    Kind("C", "Detection", "2", "118K, 13.5 %"),
    Kind("D", "Distance and direction", "2", "118K, 13.5 %"),
    Kind("E", "Reasoning", "2", "358K, 41.2 %"),
)
BEYOND = (
    Kind("P", "Plain questions", "1 or 2", "–"),
    Kind("X", "Beyond the paper", "1 to 4", "–"),
    Kind("F", "Free questions", "1 to 4", "–"),
)
"""Letters of ours that the paper does not have."""
TABLE_2 = ((1, "A, B", "278K", "31.8 %"), (2, "A, B, C, D", "514K", "58.8 %"), (3, "A, B, C, D, E", "872K", "100 %"))
"""Stage, question types, training samples, share."""

_NO = None
TABLE_4 = Published(
    "4",
    "BAT, table 4: SpatialSoundQA, in per cent; the rows below the oracle were published since",
    ("model", "input"),
    (
        Row("4/random", ("Random", "P"), (0.61, 0.59, 12.57, 12.41, 67.33, 67.46, 50.0, 50.0, 50.0), match="random"),
        Row("4/mono", ("Monaural BAT", "M+P"), (24.15, 6.42, 14.31, 11.93, 34.17, 56.26, 57.69, 51.36, 54.53)),
        Row("4/one-stage", ("One-stage BAT", "B+P"), (26.23, 9.06, 76.49, 37.09, 29.28, 51.62, 65.12, 81.98, 73.55)),
        Row("4/one-stage-without-c-d", ("One-stage BAT without C and D", "B+P"),
            (25.50, 5.67, 72.74, 35.63, 31.51, 73.68, 59.59, 49.76, 54.68)),
        Row("4/prompt-only", ("BAT, prompt only", "P"),
            (0.69, 0.65, 12.88, 13.14, 51.65, 71.73, 58.28, 50.67, 54.48), match="prompt only"),
        Row("4/three-stages", ("BAT, three stages", "B+P"),
            (26.34, 9.89, 75.54, 37.65, 29.16, 47.90, 69.77, 84.01, 76.89)),
        Row("4/oracle", ("Oracle", "GT+P"), (94.16, 94.26, 99.20, 99.81, 0.0, 0.0, 98.21, 100.0, 99.10),
            match="oracle"),
        Row("4/released", ("BAT, released code (Q-Former, LoRA)", "B+P"),
            (25.08, 8.27, 72.73, 35.07, 34.10, 52.82, 69.84, 80.36, 75.10), "SLAM-LLM"),
        Row("4/spatial-ast-one-stage", ("Spatial-AST + LLM, one stage", "B+P"),
            (24.18, 7.95, 72.59, 34.80, 33.61, 53.40, _NO, _NO, 74.04), "DSpAST"),
        Row("4/spatial-ast-three-stages", ("Spatial-AST + LLM, three stages", "B+P"),
            (24.50, 7.97, 72.73, 35.08, 34.10, 52.81, _NO, _NO, 75.05), "DSpAST"),
        Row("4/dspast-one-stage", ("DSpAST + LLM, one stage", "B+P"),
            (27.15, 10.62, 78.84, 38.69, 28.41, 47.89, _NO, _NO, 77.71), "DSpAST"),
        Row("4/dspast-three-stages", ("DSpAST + LLM, three stages", "B+P"),
            (26.53, 9.22, 77.83, 38.25, 29.70, 50.95, _NO, _NO, 76.42), "DSpAST"),
        Row("4/owl", ("OWL, zero-shot", "B+P"), (26.76, 12.73, 78.31, 43.15, 26.14, 43.21, 71.21, 86.91, 79.06), "OWL"),
        Row("4/sail", ("SAIL", "B+P"), (_NO, 10.02, _NO, 46.65, _NO, 47.25, _NO, _NO, 81.44), "SAIL"),
        Row("4/bat-by-sail", ("BAT, measured again", "B+P"),
            (_NO, 8.05, _NO, 35.12, _NO, 52.85, _NO, _NO, 75.12), "SAIL"),
        Row("4/aura", ("AURA", "B+P"), (_NO, _NO, _NO, 48.21, _NO, _NO, _NO, _NO, _NO), "AURA"),
    ),
    binary=False,
)  # fmt: skip


def _binary(id_: str, words: tuple[str, ...], *published: float, match: str | None = None) -> Row:
    return Row(id_, words, (None,) * 6 + published, match=match)


TABLE_10 = Published(
    "10",
    "BAT, table 10: the curriculum, yes/no accuracy in per cent (* without C and D)",
    ("model", "stage 1", "stage 2", "stage 3"),
    (
        _binary("10/random", ("Random", "–", "–", "–"), 50.0, 50.0, 50.0, match="random"),
        _binary("10/stage-1", ("BAT", "yes", "no", "no"), 0.0, 0.0, 0.0),
        _binary("10/stages-1-2", ("BAT", "yes", "yes", "no"), 0.0, 0.0, 0.0),
        _binary("10/stage-3", ("BAT", "no", "no", "yes"), 65.12, 81.98, 73.55),
        _binary("10/stage-3-without-c-d", ("BAT", "no", "no", "yes*"), 59.59, 49.76, 54.68),
        _binary("10/stages-2-3-without-c-d", ("BAT", "no", "yes", "yes*"), 64.69, 79.16, 71.93),
        _binary("10/three-stages-without-c-d", ("BAT", "yes", "yes", "yes*"), 69.56, 83.51, 76.54),
        _binary("10/three-stages", ("BAT", "yes", "yes", "yes"), 69.77, 84.01, 76.89),
    ),
)
TABLE_11 = Published(
    "11",
    "BAT, table 11: tokens of the encoder, one-stage BAT, yes/no accuracy in per cent",
    ("CLS tokens", "audio tokens"),
    (
        _binary("11/cls", ("yes", "no"), 60.32, 72.92, 66.62),
        _binary("11/audio", ("no", "yes"), 61.70, 78.95, 70.33),
        _binary("11/both", ("yes", "yes"), 65.12, 81.98, 73.55),
    ),
)
TABLE_12 = Published(
    "12",
    "BAT, table 12: learnable queries of the projection, yes/no accuracy in per cent",
    ("queries",),
    (
        _binary("12/32", ("32",), 61.42, 83.49, 72.45),
        _binary("12/64", ("64",), 69.77, 84.01, 76.89),
    ),
)
TABLES = (TABLE_4, TABLE_10, TABLE_11, TABLE_12)
SOURCES_NOTE = (
    "SLAM-LLM: X-LANCE/SLAM-LLM, examples/seld_spatialsoundqa, assets/performance.png (read off the picture). DSpAST: "
    "arXiv 2509.13927, the authors' runs of both encoders (as a digest of the paper has them). OWL: BASHLab/OWL, "
    "assets/ss_qa.png (read off the picture; arXiv 2509.26140). SAIL: its README (arXiv 2609.34347). AURA: model card "
    "BryanHan/AURA."
)
COMPARABLE_NOTE = (
    "Published figures are of other data than ours unless ours are of the released evaluation questions (AudioSet's "
    "evaluation clips in Matterport3D rooms), and their mAP is by OpenAI's text embeddings, so that it compares with "
    "none by another embedder. Ours are followed by half the width of their 95 % interval; – means there is no such "
    "figure."
)
