"""A clip has one region in words, whoever tells it: perceiving, the reasoner rules, the words for a chat model."""

from __future__ import annotations

import pytest
import torch

from bat_agent.hearing.perception import PerceivedSource, Thresholds, perceive
from bat_agent.interfaces import Encoding
from bat_agent.labels import class_number, labels
from bat_agent.scene import region
from bat_agent_rules.config import RulesConfig
from bat_agent_rules.reasoner import RulesReasoner
from bat_agent_scene_prompt.description import describe


def heard(azimuth_deg: int, elevation_deg: int, towards: float = 0.0) -> Encoding:
    """A dog, its direction spread by 4°; ``towards`` leans the azimuth to higher (> 0) or lower degrees."""
    turn = (torch.arange(360) - azimuth_deg + 180) % 360 - 180
    azimuth = -0.5 * (turn / 4) ** 2 + torch.where(turn * towards > 0, abs(towards), 0.0)
    elevation = -0.5 * ((torch.arange(180) - 90 - elevation_deg) / 4) ** 2
    classes = torch.full((1, 355), -9.0)
    classes[0, class_number("Dog")] = 9.0
    distance = -((torch.arange(21) - 5.0) ** 2)
    return Encoding(torch.zeros(1, 4, 8), classes, distance[None], azimuth[None], elevation[None])


@pytest.mark.parametrize("towards", [0.0, 0.02, -0.02])
@pytest.mark.parametrize("azimuth_deg", [0, 45, 90, 135, 180, 225, 270, 315])
@pytest.mark.parametrize("elevation_deg", [-30, 0, 30])
def test_all_who_tell_a_region_tell_the_same(azimuth_deg: int, elevation_deg: int, towards: float) -> None:
    """At azimuth 180° with a little more behind it, perceiving said ``left, front`` and rules ``left, behind``."""
    encoding = heard(azimuth_deg, elevation_deg, towards)
    ((source,),) = (clip.sources for clip in perceive(encoding, labels(), Thresholds()))
    assert source.azimuth_deg == azimuth_deg
    told = str(RulesReasoner(RulesConfig(token_dim=8)).answer(encoding, ["Where is the dog?"])[0])
    assert told.split(";")[0] == source.region
    assert f"- region: {source.region}\n" in describe(encoding, Thresholds())[0]
    if towards == 0.0 and elevation_deg:
        assert source.region == region(azimuth_deg, elevation_deg)
    elif elevation_deg and azimuth_deg in (0, 180):
        assert source.region is not None
        assert ("front" in source.region) == ((towards > 0) == (azimuth_deg == 0))


def test_where_only_angles_are_known_they_decide() -> None:
    assert PerceivedSource(("Dog",), 180.0, 10.0, 1.0, 0.9).region == "left, front, above"
