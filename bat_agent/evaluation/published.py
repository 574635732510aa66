"""The published tables of encoders, figure by figure, and what a run must be to stand beside each row.

BAT: Zheng et al., ICML 2024, tables 3, 7 and 8 and figure 2 (arXiv 2402.01591). DSpAST: 2509.13927 and its model card.
All on the AudioSet evaluation clips in Matterport3D rooms; mAP, ER20 and DER in per cent, MAE in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MEASURES = ("map", "er20", "mae_deg", "der")
SPATIAL_AST = ("spatial-ast", "spatial-ast-slots")
ALL_TASKS = ("class", "distance", "direction")
_AS_USUAL = {"normalise": True, "reverberation": "full"}


@dataclass(frozen=True)
class Row:
    """One row: its name for the command line, its words, its figures, and the runs that belong beside it."""

    id: str
    words: tuple[str, ...]
    published: tuple[float | None, float | None, float | None, float | None]
    """mAP, ER20, MAE, DER."""
    match: dict[str, Any] = field(default_factory=dict, hash=False)
    """Fields of :class:`bat_agent.evaluation.runs.Run` and what they must be (a tuple of choices for ``encoder``);
    empty for rows that only ``FILE=ROW`` reaches."""


@dataclass(frozen=True)
class Published:
    """One table."""

    id: str
    title: str
    columns: tuple[str, ...]
    """Headings of a row's words."""
    measures: tuple[str, ...]
    rows: tuple[Row, ...]


def _bat(features: str, training: str, tasks: tuple[str, ...] = ALL_TASKS) -> dict[str, Any]:
    return {"encoder": SPATIAL_AST, "features": features, "training": training, "tasks": tasks, **_AS_USUAL}


def _stage_1(features: str) -> dict[str, Any]:
    return {"encoder": SPATIAL_AST, "features": features, "training": "stage 1", **_AS_USUAL}


_IPD = "mel, IPD"
TABLE_3 = Published(
    "3",
    "BAT, table 3: encoders; the last four rows were published since",
    ("model", "audio", "input", "training"),
    MEASURES,
    (
        Row("3/audiomae-anechoic", ("AudioMAE, no room", "mono", "mel", "official"), (53.56, None, None, None),
            {"encoder": ("audiomae",), "reverberation": "none"}),
        Row("3/audiomae", ("AudioMAE", "mono", "mel", "official"), (47.18, None, None, None),
            {"encoder": ("audiomae",), "reverberation": "full"}),
        Row("3/mono-joint", ("Spatial-AST", "mono", "mel", "joint"), (51.39, 95.85, 88.52, 26.87),
            _bat("mono", "joint")),
        Row("3/mono-stage-1", ("Spatial-AST", "mono", "mel", "stage 1"), (52.26, None, None, None), _stage_1("mono")),
        Row("3/mono-stage-2", ("Spatial-AST", "mono", "mel", "stage 2"), (50.69, 95.35, 89.42, 28.25),
            _bat("mono", "stage 2")),
        Row("3/seldnet", ("SELDnet", "binaural", _IPD, "joint"), (42.66, 25.19, 19.21, 38.46),
            {"encoder": ("seldnet",), **_AS_USUAL}),
        Row("3/mel-joint", ("Spatial-AST", "binaural", "mel", "joint"), (49.94, 25.50, 18.57, 34.85),
            _bat("mel", "joint")),
        Row("3/ipd-joint", ("Spatial-AST", "binaural", _IPD, "joint"), (50.57, 24.81, 18.16, 35.29),
            _bat("mel+ipd", "joint")),
        Row("3/mel-stage-1", ("Spatial-AST", "binaural", "mel", "stage 1"), (51.70, None, None, None),
            _stage_1("mel")),
        Row("3/mel-stage-2", ("Spatial-AST", "binaural", "mel", "stage 2"), (50.86, 30.94, 21.66, 28.60),
            _bat("mel", "stage 2")),
        Row("3/ipd-stage-1", ("Spatial-AST", "binaural", _IPD, "stage 1"), (52.26, None, None, None),
            _stage_1("mel+ipd")),
        Row("3/ipd-stage-2", ("Spatial-AST", "binaural", _IPD, "stage 2"), (50.03, 23.89, 17.94, 32.54),
            _bat("mel+ipd", "stage 2")),
        Row("3/released", ("Spatial-AST, released weights", "binaural", _IPD, "stage 2"), (49.74, 24.21, 18.00, 32.38)),
        Row("3/dspast-stage-1", ("DSpAST", "binaural", "six maps", "stage 1"), (53.05, 98.56, 95.57, 97.58),
            {"encoder": ("dspast",), "stages": 1, **_AS_USUAL}),
        Row("3/dspast-stage-2", ("DSpAST", "binaural", "six maps", "stage 2"), (52.64, 20.31, 14.44, 28.35),
            {"encoder": ("dspast",), "stages": 2, **_AS_USUAL}),
        Row("3/dspast-stage-3", ("DSpAST", "binaural", "six maps", "stage 3"), (54.53, 20.28, 14.44, 28.03),
            {"encoder": ("dspast",), "stages": 3, **_AS_USUAL}),
    ),
)  # fmt: skip
TABLE_7 = Published(
    "7",
    "BAT, table 7: one task at a time",
    ("task", "audio", "input"),
    MEASURES,
    (
        Row("7/class-mono", ("detection", "mono", "mel"), (52.13, None, None, None),
            _bat("mono", "single", ("class",))),
        Row("7/direction-mono", ("direction", "mono", "mel"), (None, 96.80, 85.47, None),
            _bat("mono", "single", ("direction",))),
        Row("7/distance-mono", ("distance", "mono", "mel"), (None, None, None, 21.44),
            _bat("mono", "single", ("distance",))),
        Row("7/class-mel", ("detection", "binaural", "mel"), (51.70, None, None, None),
            _bat("mel", "single", ("class",))),
        Row("7/class-ipd", ("detection", "binaural", _IPD), (52.26, None, None, None),
            _bat("mel+ipd", "single", ("class",))),
        Row("7/direction-mel", ("direction", "binaural", "mel"), (None, 21.42, 15.98, None),
            _bat("mel", "single", ("direction",))),
        Row("7/direction-ipd", ("direction", "binaural", _IPD), (None, 20.11, 15.36, None),
            _bat("mel+ipd", "single", ("direction",))),
        Row("7/distance-mel", ("distance", "binaural", "mel"), (None, None, None, 25.55),
            _bat("mel", "single", ("distance",))),
        Row("7/distance-ipd", ("distance", "binaural", _IPD), (None, None, None, 22.60),
            _bat("mel+ipd", "single", ("distance",))),
        Row("7/generalist", ("all", "binaural", _IPD), (50.03, 23.89, 17.94, 32.54), _bat("mel+ipd", "stage 2")),
    ),
)  # fmt: skip


def _table_8(name: str, normalise: bool, reverberation: bool, precision: float, misses: float) -> Row:
    words = tuple("yes" if on else "no" for on in (normalise, reverberation))
    match = _bat("mono", "joint") | {"normalise": normalise, "reverberation": "full" if reverberation else "none"}
    return Row(f"8/{name}", words, (precision, None, None, misses), match)


TABLE_8 = Published(
    "8",
    "BAT, table 8: level and reverberation, mono, joint training",
    ("normalised", "reverberation"),
    ("map", "der"),
    (
        _table_8("neither", False, False, 52.64, 49.49),
        _table_8("normalised", True, False, 52.87, 49.51),
        _table_8("reverberant", False, True, 51.13, 39.57),
        _table_8("both", True, True, 51.39, 26.87),
    ),
)
TABLES = (TABLE_3, TABLE_7, TABLE_8)
FIGURE_2_TITLE = "BAT, figure 2: the weight λ1 of the class loss (λ2 = 1, λ3 = 2)"
FIGURE_2_NOTE = (
    "The paper draws curves over λ1 = 0 … 1250 and prints no figures for them: mAP rises with λ1, MAE grows; its "
    "choice is 1250, whose figures here are those of table 3."
)
COMPARABLE_NOTE = (
    "Published figures are of AudioSet's evaluation clips in Matterport3D rooms; ours can be compared with them only "
    "where they are of the same clips. Ours have 95 % intervals; – means the encoder has no such head or the paper no "
    "such figure."
)
