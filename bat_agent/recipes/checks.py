"""What a recipe may say; needs no torch, as recipes are read before it is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bat_agent.errors import BadInput

if TYPE_CHECKING:
    from bat_agent.recipes.schema import Capture, Recipe, Stage


def check_schedule(stage: Stage) -> None:
    """Refuse, with one sentence, contradictions in how long a stage is and how its learning rate goes."""
    who = f"stage {stage.name!r}"
    if stage.steps and stage.epochs is not None:
        raise BadInput(f"{who} has both steps and epochs, give one: got {stage.steps} and {stage.epochs}")
    if stage.steps == 0 and stage.epochs is None:
        raise BadInput(f"{who} has neither steps nor epochs, so it would train nothing: give one of them")
    if stage.epochs is not None and not (stage.epochs > 0 and stage.epoch_fraction > 0):
        raise BadInput(f"{who}: epochs and epoch_fraction must be above 0, got {stage.epochs}, {stage.epoch_fraction}")
    if stage.warmup_epochs is not None and not 0 <= stage.warmup_epochs <= (stage.epochs or 0):
        raise BadInput(f"{who}: warmup_epochs must be 0 to epochs ({stage.epochs}), got {stage.warmup_epochs}")
    if not 0 < stage.layer_decay <= 1:
        raise BadInput(f"{who}: layer_decay is a factor above 0 and at most 1, got {stage.layer_decay}")
    if stage.accumulate < 1:
        raise BadInput(f"{who}: accumulate must be 1 or more, got {stage.accumulate}")
    if not 0 <= stage.min_learning_rate <= max(stage.learning_rate, 0):
        raise BadInput(f"{who}: min_learning_rate must be 0 to learning_rate, got {stage.min_learning_rate}")


def check_recipe(recipe: Recipe) -> None:
    """Refuse, with one sentence, what would stop a run later, or let it train nothing."""
    for stage in recipe.stages:
        if stage.trains not in ("encoder", "reasoner"):
            raise BadInput(f"stage {stage.name!r}: trains must be 'encoder' or 'reasoner', got {stage.trains!r}")
        if stage.oracle_heads and stage.trains != "reasoner":
            raise BadInput(
                f"stage {stage.name!r} trains the encoder, which needs sound; oracle_heads is for the reasoner"
            )
        if stage.free_queries and stage.trains != "reasoner":
            raise BadInput(f"stage {stage.name!r} trains the encoder; free_queries are for a reasoner, leave them out")
        if stage.oracle_tokens and not stage.oracle_heads:
            raise BadInput(f"stage {stage.name!r} has oracle_tokens without oracle_heads; set oracle_heads: true")
        if stage.trains == "reasoner":
            _check_questions(recipe, stage)
        elif stage.records is not None:
            raise BadInput(
                f"stage {stage.name!r} trains the encoder; records hold questions, so they are for a reasoner"
            )
        if stage.feature_epochs < 0 or (stage.feature_epochs and stage.clips_per_batch < 2):
            raise BadInput(
                f"stage {stage.name!r}: feature_epochs must be 0 or more, and clips_per_batch at least 2, got "
                f"{stage.feature_epochs} and {stage.clips_per_batch}"
            )
        if stage.feature_epochs and stage.trains != "encoder":
            raise BadInput(
                f"stage {stage.name!r} trains the reasoner; feature_epochs are for the encoder, so leave them out"
            )
        if not 0 <= stage.feature_colour_db <= 20 or (stage.feature_colour_db and not stage.feature_epochs):
            raise BadInput(
                f"stage {stage.name!r}: feature_colour_db must lie in 0…20 dB and needs feature_epochs, got "
                f"{stage.feature_colour_db}"
            )
        if stage.records is None and stage.records_stage is not None:
            raise BadInput(f"stage {stage.name!r}: records_stage chooses among the files of records; name records too")
    mixing = recipe.mixing
    if recipe.precision not in ("no", "bf16"):
        raise BadInput(f"precision must be 'no' or 'bf16', got {recipe.precision!r}")
    if recipe.sharding not in ("none", "full"):
        raise BadInput(f"sharding must be 'none' or 'full', got {recipe.sharding!r}")
    for name in ("save_every", "validate_every", "validation_clips"):
        if getattr(recipe, name) < 1:
            raise BadInput(f"{name} must be 1 or more, got {getattr(recipe, name)}")
    if recipe.wordings not in ("train", "all"):
        raise BadInput(f"wordings must be 'train' or 'all', got {recipe.wordings!r}")
    _check_signs(recipe)
    _check_data(recipe)
    if len(mixing.window_seconds) != len(mixing.window_weights):
        raise BadInput("mixing.window_seconds and mixing.window_weights must have the same length")
    names = [stage.name for stage in recipe.stages]
    if len(set(names)) != len(names):
        raise BadInput(f"stage names must differ, got {names}")


def _check_signs(recipe: Recipe) -> None:
    """No step, rate or weight may be negative: training would run, and unlearn."""
    values: dict[str, float] = {f"sounds.{n}.weight": entry.weight for n, entry in enumerate(recipe.sounds)}
    values |= {f"mixing.window_weights.{n}": weight for n, weight in enumerate(recipe.mixing.window_weights)}
    values |= {"workers": recipe.workers, "seed": recipe.seed}
    names = (
        "steps",
        "learning_rate",
        "weight_decay",
        *(f"{w}_weight" for w in ("class", "distance", "direction", "mask")),
    )
    for number, stage in enumerate(recipe.stages):
        check_schedule(stage)
        values |= {f"stages.{number}.{name}": getattr(stage, name) for name in names}
    for name, value in values.items():
        if not value >= 0:
            raise BadInput(f"{name} must be 0 or more, got {value}")


def _check_data(recipe: Recipe) -> None:
    """What the data path (:mod:`bat_agent.clips.corpus`) takes for its switches."""
    choices = [(f"sounds.{n}.balance", s.balance, ("class", "bat", "none")) for n, s in enumerate(recipe.sounds)]
    choices += [("mixing.reverberation", recipe.mixing.reverberation, ("full", "direct", "none"))]
    choices += [("render_on", recipe.render_on, ("worker", "device", "auto"))]
    for name, value, known in choices:
        if value not in known:
            raise BadInput(f"{name} must be one of {', '.join(known)}, got {value!r}")
    for name in ("mixup", "going_on"):
        if not 0 <= getattr(recipe.mixing, name) <= 1:
            raise BadInput(f"mixing.{name} is a share from 0 to 1, got {getattr(recipe.mixing, name)}")
    check_capture(recipe.mixing.capture)
    if not recipe.mixing.lead_in_seconds >= 0:
        raise BadInput(f"mixing.lead_in_seconds must be 0 or more, got {recipe.mixing.lead_in_seconds}")
    if recipe.mixing.roll and recipe.mixing.going_on:
        raise BadInput("mixing.roll turns a sound around within its clip, and going_on begins it before: leave one out")
    for number, rooms in enumerate(recipe.rooms):
        if rooms.repeats < 1 or (rooms.repeats > 1 and (rooms.fresh or rooms.rirs is not None)):
            raise BadInput(
                f"rooms.{number}.repeats must be 1 or more, and 1 for fresh rooms (scenes is their weight) and for "
                f"released RIRs, got {rooms.repeats}"
            )
        if rooms.rirs is not None and rooms.fresh:
            raise BadInput(f"rooms.{number} has both rirs and fresh; released RIRs are never fresh, leave one out")


def check_capture(capture: Capture) -> None:
    """Refuse, with one sentence, what cannot be drawn."""
    for name in ("source_limit", "telephone", "recorder_limit", "codec", "rounded"):
        if not 0 <= getattr(capture, name) <= 1:
            raise BadInput(f"mixing.capture.{name} is a share from 0 to 1, got {getattr(capture, name)}")
    if capture.source_limit + capture.telephone > 1:
        raise BadInput("mixing.capture.source_limit and telephone are shares of all sources; together at most 1")
    for name in ("loudspeaker_db", "microphone_db", "asymmetry_db"):
        if not 0 <= getattr(capture, name) <= 20:
            raise BadInput(f"mixing.capture.{name} must lie in 0…20 dB, got {getattr(capture, name)}")
    for name, least, most in (("limit_hz", 1000, 16000), ("codec_db", 0, 120), ("headroom_db", 0, 80)):
        given = getattr(capture, name)
        if len(given) != 2 or not least <= given[0] <= given[1] <= most:
            raise BadInput(f"mixing.capture.{name} must be two numbers, rising, in {least}…{most}, got {given}")


def _check_questions(recipe: Recipe, stage: Stage) -> None:
    """Refused now what would otherwise stop the run after the stages before it."""
    from bat_agent.questions.curriculum import question_types

    if stage.free_queries:
        if stage.records is not None or stage.oracle_heads or stage.question_types or stage.questions_per_clip < 1:
            raise BadInput(
                f"stage {stage.name!r} learns free_queries, which have questions of their own: leave out records, "
                "oracle_heads and question_types, and give questions_per_clip 1 or more"
            )
        if stage.epochs is not None:
            raise BadInput(f"stage {stage.name!r} learns free_queries, which never end; give steps instead of epochs")
        return
    if stage.cache_tokens and (stage.records is None or len(recipe.mixing.window_seconds) > 1):
        raise BadInput(
            f"stage {stage.name!r}: cache_tokens needs clips that come again: records, and one length in "
            "mixing.window_seconds"
        )
    if stage.records is not None:
        question_types(stage.question_types)
        if stage.oracle_heads or stage.question_kinds:
            raise BadInput(
                f"stage {stage.name!r} trains on records, so oracle_heads and question_kinds do not belong to it"
            )
        return
    if not stage.question_types:
        raise BadInput(f"stage {stage.name!r} trains the reasoner, so it needs question_types, e.g. [A, B]")
    two = recipe.mixing.two_sources if stage.two_sources is None else stage.two_sources
    kinds = question_types(stage.question_types)
    for number, share in ((1, 1 - two), (2, two)):
        if share > 0 and all(number not in kind.sources for kind in kinds):
            raise BadInput(
                f"stage {stage.name!r}: none of question_types {list(stage.question_types)} fits clips with {number} "
                f"source(s), which are {share:.0%} of them; add a letter or change two_sources"
            )
