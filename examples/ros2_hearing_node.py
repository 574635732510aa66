"""A ROS 2 node that hears: two channels of audio in, what sounds where out, as JSON.

Subscribes to ``audio`` (``std_msgs/Float32MultiArray``: samples of both ears in turn, left first, full scale ±1) and
publishes ``heard`` (``std_msgs/String``). Of a head that turns, ``heading`` (``std_msgs/Float32``: radians to the left,
REP 103, from anywhere; best for each message of audio, before it) lets it join what is heard over headings.
Directions are unit vectors in the frame of ROS (REP 103: x ahead, y left, z up); what ``audio_common`` and others
send differs, so turn it into ``samples`` in ``on_audio``.

Run, with ROS 2 sourced: python examples/ros2_hearing_node.py --ros-args -p model:=bat-small -p every_s:=0.5
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import bat_agent
from bat_agent.errors import BadInput
from bat_agent.hearing.headings import Headings
from bat_agent.listening.joining import Joining
from bat_agent.scene import to_front_left_up, unit_vector
from bat_agent.sound.ring import Ring

try:
    import rclpy
    from rclpy.node import Node
    from std_msgs.msg import Float32, Float32MultiArray, String
except ImportError as error:
    sys.exit(f"this example needs ROS 2 ({error}): install it (docs.ros.org) and source its setup.bash first")

RATE_HZ = 32_000


def both_ears(samples: Sequence[float] | np.ndarray) -> np.ndarray:
    """(2, n) from samples of left and right in turn."""
    flat = np.asarray(samples, np.float32)
    if flat.ndim != 1 or len(flat) % 2:
        raise BadInput(f"expected samples of two ears in turn, got an array of shape {flat.shape}: send two channels")
    return np.ascontiguousarray(flat.reshape(-1, 2).T)


def as_json(sources: Sequence[Any], notes: Sequence[str]) -> str:
    """What is heard: for each source labels, direction in the frame of ROS, distance in metres and confidence.

    Direction (and distance) are null where none can be heard, as of one microphone; the notes say why.
    """
    told = []
    for source in (each.to_dict() for each in sources):
        direction = None
        azimuth_deg, elevation_deg = source["azimuth_deg"], source["elevation_deg"]
        if azimuth_deg is not None and elevation_deg is not None:
            ahead = to_front_left_up(unit_vector(azimuth_deg, elevation_deg))
            direction = {axis: round(float(value), 4) for axis, value in zip("xyz", ahead, strict=True)}
        kept = {name: source[name] for name in ("labels", "distance_m", "confidence")}
        told.append({**kept, "direction": direction})
    return json.dumps({"sources": told, "notes": list(notes)})


class HearingNode(Node):
    """Keeps the last two seconds, and tells twice a second what is in them."""

    def __init__(self) -> None:
        super().__init__("hearing")
        self.declare_parameter("model", "bat-small")
        self.declare_parameter("window_s", 2.0)
        self.declare_parameter("every_s", 0.5)
        self._bat = bat_agent.load(self.get_parameter("model").value)
        self._ring = Ring(round(self.get_parameter("window_s").value * RATE_HZ))
        self._window_s = float(self.get_parameter("window_s").value)
        self._came, self._headings, self._joining = 0, Headings(), Joining(self._bat)
        self._heading_deg: float | None = None
        self._heard = self.create_publisher(String, "heard", 10)
        self.create_subscription(Float32MultiArray, "audio", self.on_audio, 10)
        self.create_subscription(Float32, "heading", self.on_heading, 10)
        self.create_timer(self.get_parameter("every_s").value, self.tell)

    def on_audio(self, message: Any) -> None:
        """32 kHz; for another rate, resample the stream with soxr.ResampleStream."""
        try:
            samples = both_ears(message.data)
        except BadInput as error:
            self.get_logger().error(str(error))
            return
        self._ring.append(samples)
        self._came += samples.shape[1]
        if self._heading_deg is not None:
            self._headings.say(self._came / RATE_HZ, self._heading_deg)

    def on_heading(self, message: Any) -> None:
        """Where the head faces at the end of the audio that comes next."""
        if math.isfinite(message.data):
            self._heading_deg = math.degrees(message.data)

    def tell(self) -> None:
        if not len(self._ring):
            return
        now_s = self._came / RATE_HZ
        turns = len(self._headings) > 0
        window = self._ring.window(round(self._window_s * RATE_HZ))
        if turns:
            window = self._ring.window(round(self._headings.steady_s(now_s, window) * RATE_HZ))
        perception = self._bat.perceive(window)
        sources = perception.sources
        if turns:
            sources = self._joining.join(window, sources, now_s, self._headings)
        self._heard.publish(String(data=as_json(sources, perception.notes)))


def main() -> None:
    rclpy.init()
    node = HearingNode()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
