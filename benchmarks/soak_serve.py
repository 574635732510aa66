"""``bat-agent serve`` under many connections and requests of all kinds: how each ended, and its memory.

    python benchmarks/soak_serve.py [--connections 200] [--requests 10000] [-- SERVE OPTIONS]

Requests are drawn from: clips, batches, questions, health, wrong shapes, sizes, tokens, paths and hosts, huge samples,
half requests after which the connection is cut. Prints statuses by kind and the server's resident memory (RSS) as it
goes on. By default the server has the plugin ``echo`` for a model, so that it is the server that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

CLIP = (np.random.default_rng(0).standard_normal((2, 16_000)) * 0.1).astype("<f4").tobytes()
TEN_S = (np.random.default_rng(1).standard_normal((2, 320_000)) * 0.1).astype("<f4").tobytes()
HUGE = np.full((2, 16_000), 1e30, "<f4").tobytes()
CUT = "cut off"


def request(kind: str, token: str) -> tuple[bytes, bytes]:
    """Head and body of a request."""
    path, shape, body, host = "/perceive", "2,16000", CLIP, "127.0.0.1"
    if kind == "clip of 10 s":
        shape, body = "2,320000", TEN_S
    elif kind == "batch":
        shape, body = "4,2,16000", 4 * CLIP
    elif kind == "question":
        path = "/ask?question=Where+is+it%3F"
    elif kind == "huge samples":
        body = HUGE
    elif kind == "shape of 65":
        shape = ",".join(65 * ["1"])
    elif kind == "other size":
        shape = "2,15999"
    elif kind == "too many clips":
        shape = "12400,2,640"
    elif kind == "no token":
        token = "x"
    elif kind == "unknown path":
        path = "/listen"
    elif kind == "other host":
        host = "evil.example"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nX-Bat-Shape: {shape}\r\n"
    if kind == "health":
        return b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b""
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body


KINDS = (
    "clip", "clip", "clip", "clip of 10 s", "batch", "question", "health", "huge samples", "shape of 65", "other size",
    "too many clips", "no token", "unknown path", "other host", CUT,
)  # fmt: skip


class Client:
    """One connection at a time."""

    def __init__(self, port: int, token: str, number: int) -> None:
        self._port, self._token = port, token
        self._rng = random.Random(number)
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def one(self) -> tuple[str, str]:
        """Kind of a request, and its status or what went wrong."""
        kind = self._rng.choice(KINDS)
        head, body = request(kind, self._token)
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._open
        try:
            writer.write(head + (body[: len(body) // 2] if kind == CUT else body))
            await writer.drain()
            if kind == CUT:
                self._leave()
                return kind, CUT
            found = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 300)
            length = re.search(rb"content-length: (\d+)", found.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            if b"connection: close" in found.lower():
                self._leave()
            return kind, found.split(b" ", 2)[1].decode()
        except (OSError, EOFError) as error:
            self._leave()
            return kind, type(error).__name__

    def _leave(self) -> None:
        if self._open is not None:
            self._open[1].transport.abort()
        self._open = None


async def soak(port: int, token: str, connections: int, requests: int, pid: int) -> Counter[tuple[str, str]]:
    """All requests, spread over the connections."""
    counts: Counter[tuple[str, str]] = Counter()
    step = max(requests // 10, 1)

    async def go_on(client: Client) -> None:
        while counts.total() < requests:
            counts[await client.one()] += 1
            if counts.total() % step == 0:
                print(f"{counts.total():7,} requests: {rss_mb(pid):7.1f} MB", flush=True)

    await asyncio.gather(*(go_on(Client(port, token, number)) for number in range(connections)))
    return counts


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def main() -> None:
    """Start a server, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("options", nargs="*", default=["--encoder", "echo", "--reasoner", "echo"])
    given = parser.parse_args()
    command = [sys.executable, "-c", "from bat_agent.cli import main; main()", "serve", "--port", "0", "--json"]
    with subprocess.Popen([*command, *given.options], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        print(f"      0 requests: {rss_mb(server.pid):7.1f} MB", flush=True)
        began_s, port = time.monotonic(), int(said["url"].rpartition(":")[2])
        counts = asyncio.run(soak(port, said["token"], given.connections, given.requests, server.pid))
        took_s = time.monotonic() - began_s
        server.terminate()
        _, errors = server.communicate(timeout=60)
    print(f"{counts.total():,} requests over {given.connections} connections in {took_s:.0f} s")
    for kind in dict.fromkeys(KINDS):
        ends = ", ".join(f"{status}: {n}" for (each, status), n in sorted(counts.items()) if each == kind)
        print(f"{kind:16} {ends}")
    print(
        f"exit code {server.returncode}; {len(errors)} bytes on standard error, {errors.count(b'Traceback')} tracebacks"
    )


if __name__ == "__main__":
    main()
