"""The environments: same seed, same episode to the last bit; physics of what is heard; rewards and measures."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from bat_agent.errors import BadInput
from bat_agent.labels import labels
from bat_agent.scene import Listener, Room, Scene, Source
from bat_agent.scenes.moving import Track
from bat_agent_envs import registration
from bat_agent_envs.audio_goal import STEP_COST, SUCCESS_REWARD, AudioGoalEnv
from bat_agent_envs.floor import floor_of
from bat_agent_envs.navigation import FORWARD, LEFT, RIGHT, STOP
from bat_agent_envs.world import AGENT_RADIUS_M, Soundscape, World

registration.register()
NAMES = tuple(registration.ENVIRONMENTS)
GOAL, SEMANTIC, WHERE_IS = NAMES
NOISE = (0.1 * np.random.default_rng(0).standard_normal(64_000)).astype(np.float32)


def make(name: str = GOAL, **options: Any) -> Any:
    return gym.make(name, disable_env_checker=True, **{"sounds": "procedural:2", **options}).unwrapped


def episode(env: Any, seed: int, actions: list[Any]) -> list[Any]:
    observation, info = env.reset(seed=seed)
    return [(observation, info), *(env.step(action) for action in actions)]


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


def in_free_field(env: Any, source_m: tuple[float, float, float], at: tuple[float, float], heading_deg: float) -> None:
    """Put the agent outdoors, before noise."""
    room = Room((20.0, 3.0, 20.0), None)
    head = Listener((at[0], 1.5, at[1]), heading_deg)
    scene = Scene(room, head, (Source(source_m, ("Rain",)),), 0)
    floor = floor_of(scene, AGENT_RADIUS_M)
    env.world = World(scene, floor, (), floor.distances_to(source_m[0], source_m[2]), *at, heading_deg)
    env._soundscape = Soundscape(env.simulator, [Track(torch.from_numpy(NOISE))], None, 0)


def level_db(sound: np.ndarray) -> np.ndarray:
    return 10 * np.log10((sound[:, 2000:].astype(float) ** 2).mean(axis=1))


# --- the interface ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("action_space", ["discrete", "continuous"])
def test_gymnasium_finds_no_fault(name: str, action_space: str) -> None:
    if name == WHERE_IS and action_space == "continuous":
        pytest.skip("answers are discrete")
    env = make(name, action_space=action_space, render_mode="rgb_array")
    with warnings.catch_warnings():
        # It remarks on a pose without bounds, on render modes it cannot make by itself, and on wrappers.
        warnings.filterwarnings("ignore", ".*(infinity|unwrapped|render).*")
        check_env(env)
    env.close()


def test_stable_baselines_finds_no_fault() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="needs stable-baselines3")
    for name in NAMES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checker.check_env(make(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_makes_the_same_environment_again(name: str) -> None:
    env = gym.make(name, sounds="procedural:2", max_steps=7, noise_dbfs=None, disable_env_checker=True)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()), disable_env_checker=True)
    assert again.unwrapped.max_steps == 7
    assert_same(episode(env, 3, [LEFT, FORWARD]), episode(again, 3, [LEFT, FORWARD]))


def test_environments_side_by_side_equal_one_alone() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore")
        both = gym.make_vec(SEMANTIC, num_envs=2, vectorization_mode="sync", sounds="procedural:2")
    seen, _ = both.reset(seed=[5, 6])
    alone = episode(make(SEMANTIC), 6, [FORWARD])
    np.testing.assert_array_equal(seen["audio"][1], alone[0][0]["audio"])
    seen, _, _, _, infos = both.step(np.array([LEFT, FORWARD]))
    np.testing.assert_array_equal(seen["audio"][1], alone[1][0]["audio"])
    assert infos["truth"]["azimuth_deg"][1] == alone[1][4]["truth"]["azimuth_deg"]


def test_everything_that_is_told_can_be_written_as_json() -> None:
    for name in NAMES:
        for info in (step[-1] for step in episode(make(name, max_steps=2), 0, [FORWARD, FORWARD])):
            json.dumps(info)


# --- seeds, and what is left of the last episode ---


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_episodes_whatever_came_before(name: str) -> None:
    actions = [LEFT, FORWARD, FORWARD, RIGHT, FORWARD]
    fresh, used = make(name), make(name)
    first = episode(fresh, 11, actions)
    episode(used, 4, actions[:2])  # broken off
    episode(used, 5, actions)
    used.np_random.random(7)
    assert_same(first, episode(used, 11, actions))
    other = episode(used, 12, actions)
    assert not np.array_equal(first[0][0]["audio"], other[0][0]["audio"])
    # Without a seed the generator goes on, so that the next episode is another one, and the same for both.
    episode(fresh, 12, actions)
    assert_same(fresh.reset(), used.reset())


def test_nothing_of_an_episode_is_heard_in_the_next() -> None:
    env = make(noise_dbfs=None)
    env.reset(seed=0)
    click = torch.zeros(32_000)
    click[-1_000] = 1000.0
    env._soundscape = Soundscape(env.simulator, [Track(click)], None, 0)
    for _ in range(3):
        heard = env.step(LEFT)[0]["audio"]
    assert np.abs(heard).max() == 0  # not yet
    heard = env.step(LEFT)[0]["audio"]
    assert np.abs(heard).max() > 1  # the click, whose reverberation would go on now
    env.reset(seed=0)
    env._soundscape = Soundscape(env.simulator, [Track(torch.zeros(100))], None, 0)
    assert np.abs(env.step(LEFT)[0]["audio"]).max() == 0
    assert_same(env.reset(seed=1), make(noise_dbfs=None).reset(seed=1))


# --- what is heard ---


def test_walking_towards_the_source_makes_it_louder_by_the_inverse_distance_law() -> None:
    env = make(forward_m=1.0, noise_dbfs=None, simulator_options={"air_absorption": False})
    env.reset(seed=0)
    in_free_field(env, (10.0, 1.5, 2.0), (10.0, 11.05), 0.0)
    heard = [level_db(env.step(FORWARD)[0]["audio"]) for _ in range(7)]
    metres = np.array([8.05 - n for n in range(7)])
    # Noise differs a little from chunk to chunk.
    np.testing.assert_allclose(np.mean(heard, axis=1) - heard[0].mean(), -20 * np.log10(metres / 8.05), atol=0.3)


def test_turning_round_swaps_the_ears() -> None:
    env = make(turn_deg=180.0, noise_dbfs=None)
    env.reset(seed=0)
    in_free_field(env, (13.0, 1.5, 10.0), (10.0, 10.0), 0.0)
    env.step(RIGHT), env.step(RIGHT)
    for sign in (1, -1):
        left, right = level_db(env.step(RIGHT)[0]["audio"])
        assert sign * (left - right) > 5
        assert env._info()["truth"]["azimuth_deg"] == pytest.approx(180.0 if sign > 0 else 0.0, abs=1e-6)


def test_the_sound_goes_on_from_step_to_step() -> None:
    """Standing still in four steps is the same as in one long one."""
    short, long = make(step_s=0.125, noise_dbfs=None), make(step_s=0.5, noise_dbfs=None)
    short.reset(seed=0), long.reset(seed=0)
    for env in (short, long):
        in_free_field(env, (12.0, 1.0, 9.0), (10.0, 10.0), 30.0)
    pieces = [short._observe(collided=False)["audio"] for _ in range(4)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), long._observe(collided=False)["audio"], atol=1e-5)


def test_a_goal_that_has_stopped_is_not_heard_any_more() -> None:
    stops, goes_on = (
        make(SEMANTIC, noise_dbfs=None, sounds_s=length, sounds_s_most=length, distractors=2) for length in (0.5, 99.0)
    )
    before, after = episode(stops, 2, [LEFT] * 14), episode(goes_on, 2, [LEFT] * 14)
    same = [np.allclose(a[0]["audio"], b[0]["audio"], atol=1e-6) for a, b in zip(before, after, strict=True)]
    assert same[0]
    assert not all(same[2:])
    assert [step[-1]["truth"]["silent"] for step in before] == [False] + [True] * 14
    # After its reverberation only the others are left: those alone, in the same room.
    tracks = list(stops._soundscape._tracks)
    stops.reset(seed=2)
    stops._soundscape = Soundscape(stops.simulator, [Track(torch.zeros(10)), *tracks[1:]], None, 0)
    stops._observe(collided=False)
    others = [stops.step(LEFT)[0]["audio"] for _ in range(14)]
    np.testing.assert_allclose(before[-1][0]["audio"], others[-1], atol=1e-6)


# --- rewards and measures ---


def follow(env: Any, seed: int) -> tuple[list[Any], float]:
    """Walk the shortest way, without ears."""
    steps, total = [env.reset(seed=seed)], 0.0
    turn = env.turn_deg
    while True:
        apart = (env.oracle_heading_deg() - env.world.heading_deg + 180) % 360 - 180
        near = env.world.way_m(env.world.x, env.world.z) <= 0.9
        action = STOP if near else LEFT if apart > turn / 2 else RIGHT if apart < -turn / 2 else FORWARD
        steps.append(env.step(action))
        total += steps[-1][1]
        if steps[-1][2] or steps[-1][3]:
            return steps, total


def test_rewards_add_up_and_the_shortest_way_succeeds() -> None:
    env, spl = make(), []
    for seed in range(6):
        steps, total = follow(env, seed)
        begin, end, measures = steps[0][1]["truth"], steps[-1][-1]["truth"], steps[-1][-1]["episode_metrics"]
        actions = len(steps) - 1
        assert measures["success"] == 1
        assert measures["na"] == actions
        assert measures["distance_to_goal"] == end["way_m"] <= 1.0
        assert total == pytest.approx(begin["way_m"] - end["way_m"] - STEP_COST * actions + SUCCESS_REWARD)
        # Turns of 30° and steps of 25 cm are not the shortest way itself, but close to it.
        assert measures["sna"] > 0.5
        spl.append(measures["spl"])
    assert np.mean(spl) > 0.9


def test_stopping_elsewhere_fails_and_time_runs_out() -> None:
    env = make(max_steps=3)
    *_, (_, reward, terminated, truncated, info) = episode(env, 0, [STOP])
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-STEP_COST)
    assert (info["episode_metrics"]["success"], info["episode_metrics"]["spl"]) == (0, 0)
    *_, last, (_, _, terminated, truncated, info) = episode(env, 0, [LEFT] * 3)
    assert not last[2]
    assert not last[3]
    assert (terminated, truncated) == (False, True)
    assert info["episode_metrics"]["na"] == 3


@pytest.mark.parametrize(("way_m", "success"), [(0.95, True), (1.15, False)])
def test_success_needs_a_stop_within_a_metre(way_m: float, success: bool) -> None:
    env = make()
    env.reset(seed=0)
    ways = np.where(np.isfinite(env.world.to_goal_m), env.world.to_goal_m, 99.0)
    i, k = np.unravel_index(np.abs(ways - way_m).argmin(), ways.shape)
    env.world.x, env.world.z = env.world.floor.centre((int(i), int(k)))
    *_, info = env.step(STOP)
    assert info["episode_metrics"]["success"] == success


def test_the_pose_is_where_the_agent_is_seen_from_where_it_began() -> None:
    env = make(turn_deg=90.0, forward_m=0.1)
    env.reset(seed=0)
    in_free_field(env, (10.0, 1.5, 2.0), (10.0, 10.0), 40.0)
    env._start = (10.0, 10.0, 40.0)
    walk = [FORWARD, FORWARD, LEFT, FORWARD]
    poses = [env.step(action)[0]["pose"] for action in walk]
    np.testing.assert_allclose(poses[1], [0, -0.2, 1, 0], atol=1e-6)  # z is back, so ahead is negative
    np.testing.assert_allclose(poses[-1], [-0.1, -0.2, 0, 1], atol=1e-6)


def test_continuous_actions_go_as_far_as_they_say() -> None:
    env = make(action_space="continuous")
    env.reset(seed=0)
    in_free_field(env, (10.0, 1.5, 2.0), (10.0, 10.0), 0.0)
    env.step(np.array([0.4, 0.0, 0.0], np.float32))
    assert (env.world.x, env.world.z) == pytest.approx((10.0, 10.0 - 0.4 * env.forward_m))
    env.step(np.array([0.0, 0.5, 0.0], np.float32))
    assert env.world.heading_deg == pytest.approx(360 - 0.5 * env.turn_deg)  # positive turns right
    assert env.step(np.array([0.0, 0.0, 1.0], np.float32))[2]


# --- what is drawn ---


def test_episodes_are_drawn_as_asked_and_differ() -> None:
    env, headings, sounds = make(SEMANTIC, least_way_m=3.0, most_way_m=5.0, distractors=2), set(), set()
    for seed in range(15):
        observation, info = env.reset(seed=seed)
        scene = env.scene
        assert 3.0 <= info["truth"]["way_m"] <= 5.0
        assert labels()[observation["goal"]] == info["goal"] == scene.sources[0].labels[0]
        assert len({label for source in scene.sources for label in source.labels}) == 3
        assert env.world.floor.is_free(env.world.x, env.world.z)
        headings.add(round(env.world.heading_deg / 60))
        sounds.add(info["goal"])
    assert len(headings) >= 4
    assert len(sounds) >= 5


def test_any_simulator_that_makes_scenes_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cube:
        """Knows a single room, and ears that are 20 cm apart; neither batches nor options."""

        sample_rate_hz = 32_000

        def sample_scene(self, rng: np.random.Generator, num_sources: int = 1) -> Scene:
            source = Source((1.0, 1.0, 1.0))
            return Scene(Room((8.0, 3.0, 8.0)), Listener((4.0, 1.5, 4.0)), (source,) * num_sources)

        def render(self, scene: Scene) -> list[torch.Tensor]:
            gains = [0.3 / place.distance_m for place in scene.positions()]
            return [torch.tensor([[gain], [gain]]) for gain in gains]

    monkeypatch.setattr("bat_agent_envs.navigation.load_simulator", lambda name, **options: Cube())
    env = make(simulator="cube")
    steps, _ = follow(env, 0)
    assert steps[-1][-1]["episode_metrics"]["success"] == 1
    assert np.abs(steps[-1][0]["audio"]).max() > np.abs(steps[0][0]["audio"]).max()
    assert isinstance(replace(env.scene, seed=1), Scene)
    env.close()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"action_space": "wasd"}, "'discrete' or 'continuous'"),
        ({"least_way_m": 0.5}, "success_m < least_way_m"),
        ({"step_s": 0.0}, "step_s must be more than 0"),
        ({"render_mode": "human"}, "rgb_array"),
        ({"sounds": "songs"}, "no library 'songs'"),
        ({"simulator": "cathedral"}, "cathedral"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(options: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        AudioGoalEnv(**options)


def test_rooms_too_small_for_the_way_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bat_agent_envs.world._ROOMS_TRIED", 3)
    env = make(simulator_options={"median_area_m2": 5.0, "max_aspect": 1.0}, least_way_m=50.0, most_way_m=60.0)
    with pytest.raises(BadInput, match="lower least_way_m"):
        env.reset(seed=0)


def test_distractors_are_needed_and_the_goal_sounds_for_a_while() -> None:
    with pytest.raises(BadInput, match="AudioGoal-v0"):
        make(SEMANTIC, distractors=0)
    with pytest.raises(BadInput, match="sounds_s"):
        make(SEMANTIC, sounds_s=9.0, sounds_s_most=3.0)
    env = make(SEMANTIC, sounds_s=2.0, sounds_s_most=3.0)
    ends = [
        next(n for n, (*_, info) in enumerate(episode(env, seed, [LEFT] * 14)) if info["truth"]["silent"])
        for seed in range(4)
    ]
    # The chunk of the reset is the first; the step that ends after the goal has stopped says so.
    assert all(2.0 <= 0.25 * (end + 1) < 3.25 for end in ends)
    assert len(set(ends)) > 1
