"""What a real habitat-sim did when it was run, and in which build: the stand-ins do the same.

Seen in 0.2.2 (the cp313 wheel of ``habitat-sim-uv-wheels-experimental``, without audio, made to import by hand) with
habitat-lab 0.3.320260507, unless another build is named. What only the source says is told in ``__init__.py``.

* ``snap_point`` gives an array for a float32 array, and a magnum vector for anything else.
* Off the navmesh ``distance_to_closest_obstacle`` is inf and ``island_radius`` 0.
* Without a navmesh ``get_random_navigable_point`` raises RuntimeError; the other queries end the process (source).
* ``seed`` takes 0 … 2³²−1, and what it seeds is shared by all simulators of a process.
* None of 300 random points was NaN, which the source gives after ``max_tries`` failures.
* Building ``AudioSensorSpec()`` without audio is harmless; adding the sensor ends the process.
  ``RLRAudioPropagationChannelLayoutType`` is then absent.
* After ``close()`` the list ``agents`` is empty, ``pathfinder`` is None, and ``reset()`` and reading the scene end the
  process.
* A ``Simulator`` cannot be hashed: it is an ``attr.s`` class (``simulator.py`` of the wheel).
* The rotation of a new agent is not exactly a turn about y: :data:`FIRST_ROTATION_WXYZ`.
* The navmesh that habitat-sim makes by default lies :data:`NAVMESH_LIFT_M` above the floor, and roofs are part of it.
* ``sim.step(action)`` moves the default agent; ``sim.step({1: action})`` agent 1, and gives its observations by number
  (``simulator.py`` of the wheel). Both hold camera images, and ``collided``.
* Without a data set configuration, a ``.glb`` has ``orient_up`` z and ``orient_front`` y: habitat lays it on its side.
* A scene name that is not known, a broken GLB and a semantic PLY without colours raise AssertionError "ESP_CHECK
  failed".
* With numpy 2 and a pybind11 older than 2.12 (conda builds 0.2.2 … 0.3.3, and this wheel), every call that takes a
  vector ends the process: ``snap_point``, ``island_radius``, … 0.3.4 has pybind11 2.13.
* ``habitat.Env.action_space`` is an ``ActionSpace`` of ``EmptySpace``s, sorted by name, whereas a number given to
  ``Env.step`` counts in the order of the configuration (habitat-lab 0.3.320260507: ``spaces.py``,
  ``embodied_task.py``).
* SoundSpaces holds a ``habitat_sim.Simulator`` in ``_sim`` of its own simulator, whose ``config`` and
  ``habitat_config`` have ``AUDIO`` and ``STEP_TIME``; for another scene it closes and replaces it
  (``continuous_simulator.py``, 4e400ab).
"""

from __future__ import annotations

FIRST_ROTATION_WXYZ = (1.0, 0.0, 2.5e-5, 0.0)
NAVMESH_LIFT_M = 0.2
SEEDS = 2**32
