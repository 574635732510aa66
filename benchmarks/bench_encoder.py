"""The encoder next to the released algorithm (``released_encoder.py``), same weights, same threads, same run.

Times are the shortest of several rounds in which all contestants take turns, so that what else the machine does falls
on all alike. Sections: ``parts`` (front-end, room convolution, transformer), ``forward`` (dry clip and RIR to logits;
float32, bfloat16, int8), ``training`` (a step with masking and optimiser), ``memory`` (peak of a process of its own),
``small`` (the encoder of the shipped model), ``gpu`` (clips a second and share of the card's matmul rate).

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/bench_encoder.py [--threads 1] [--rounds 5] [--sections forward]
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from released_encoder import CLIP_SAMPLES, RIR_SAMPLES, ReleasedEncoder, convolve_full
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import bat_agent
from bat_agent.interfaces import Encoding
from bat_agent.sound.acoustics import convolve
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.int8 import narrow, quantise

console = Console(width=120)
LOGITS = ("class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
TRAINING_CLIPS = 2
GPU_BATCH = 256
# Dense bfloat16 matmul rate that the maker gives, FLOP/s.
RATES = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
Work = Callable[[], object]
Hear = Callable[[Tensor], Encoding]
asked = argparse.Namespace(threads=1, rounds=5)


# --- contestants ---


def sounds(clips: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Dry clips (B, 1, 320000) that swell and fade, and RIRs (B, 2, 64000) that decay by 60 dB in 0.5 s."""
    random = torch.Generator().manual_seed(0)
    swell = torch.sin(torch.linspace(0, 9.4, CLIP_SAMPLES)).square()
    decay = torch.exp(-6.9 / 16_000 * torch.arange(RIR_SAMPLES))
    dry = 0.1 * swell * torch.randn(clips, 1, CLIP_SAMPLES, generator=random)
    return dry.to(device), (0.05 * decay * torch.randn(clips, 2, RIR_SAMPLES, generator=random)).to(device)


@cache
def encoder() -> SpatialAST:
    """The released architecture with seeded weights, its heads made large enough that a difference would show."""
    torch.manual_seed(0)
    made = SpatialAST(SpatialASTConfig()).eval()
    for head in (made.head, made.distance_head, made.azimuth_head, made.elevation_head):
        nn.init.normal_(head.weight, std=0.05)
    made.load_state_dict({"bn.running_mean": torch.full((2,), -30.0), "bn.running_var": torch.full((2,), 200.0)}, False)
    return made


@cache
def released() -> ReleasedEncoder:
    with torch.device("meta"):  # one set of weights serves both, so that memory compares
        made = ReleasedEncoder()
    made.load_state_dict(encoder().state_dict(), assign=True)
    return made.eval()


# --- measuring ---


def race(contestants: dict[str, Work], rounds: int | None = None) -> dict[str, float]:
    """Shortest time of each, ms; processor time where there is one thread, as others on the machine disturb it less."""
    clock = time.process_time if asked.threads == 1 else time.perf_counter
    best = dict.fromkeys(contestants, float("inf"))
    for turn in range((rounds or asked.rounds) + 1):
        for name, work in contestants.items():
            began = clock()
            work()
            if turn:  # the first one only warms up
                best[name] = min(best[name], 1e3 * (clock() - began))
    return best


def show(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def ratios(title: str, contestants: dict[str, Work], wanted: dict[str, str], rounds: int | None = None) -> None:
    """Times, and how many times faster than the first each is."""
    times = race(contestants, rounds)
    first = next(iter(times.values()))
    show(title, ["", "ms", "times faster", "wanted"], [[n, t, first / t, wanted.get(n, "")] for n, t in times.items()])


# --- sections ---


@torch.no_grad()
def parts() -> None:
    dry, rir = sounds(1)
    wet = convolve(dry, rir, CLIP_SAMPLES)
    ours, theirs = encoder(), released()
    maps = theirs.front_end(wet)
    console.print(f"front-end maps: max |Δ| {float((ours.input_maps(wet) - maps).abs().max()):.1e}")
    ratios(
        "Front-end, waveform to (4, 1024, 128)",
        {"released": lambda: theirs.front_end(wet), "ours": lambda: ours.input_maps(wet)},
        {"ours": "≥ 4"},
        4 * asked.rounds,
    )
    ratios(
        "Room convolution",
        {"released": lambda: convolve_full(dry, rir), "ours": lambda: convolve(dry, rir, CLIP_SAMPLES)},
        {},
        2 * asked.rounds,
    )
    fast = {"bfloat16": narrow(ours), "int8": quantise(ours)}
    whole: dict[str, Work] = {"released": lambda: theirs.encode_maps(maps), "ours": lambda: ours.encode_maps(maps)}
    whole |= {"ours, bfloat16": lambda: fast["bfloat16"].encode_maps(maps)}
    whole |= {"ours, int8": lambda: fast["int8"].encode_maps(maps)}
    fast = {"bfloat16": narrow(ours), "int8": quantise(ours)}
    ratios("Stem, patches and 12 blocks", whole, {})


@torch.no_grad()
def forward() -> None:
    dry, rir = sounds(1)
    ours, theirs = encoder(), released()
    fast = {"float32": ours, "bfloat16": narrow(ours), "int8": quantise(ours)}
    models: dict[str, Hear] = {f"ours, {name}": model for name, model in fast.items()}
    models |= {f"ours, {name}, heads alone": model.perceive for name, model in fast.items()}
    exact, single = copy.deepcopy(theirs).double()(dry.double(), rir.double()), theirs(dry, rir)
    rows = [["released, float32", apart(single, exact), 0.0]]
    for name, model in models.items():
        encoding = from_dry(model, dry, rir)
        found = [getattr(encoding, logits) for logits in LOGITS]
        rows.append([name, apart(found, exact), apart(found, single)])
    spread = min(float(logits.std()) for logits in exact)
    show(f"max |Δ| of the logits (σ ≥ {spread:.2f})", ["", "to released in float64", "to released in float32"], rows)
    contestants: dict[str, Work] = {"released": lambda: theirs(dry, rir)}
    for name, model in models.items():
        contestants[name] = partial(from_dry, model, dry, rir)
    wanted = {f"ours, {name}": f"≥ {least}" for name, least in (("float32", 1.4), ("int8", 2.5))}
    wanted |= {f"{name}, heads alone": least for name, least in wanted.items()}
    ratios("Whole forward, one dry clip of 10 s and RIR to logits", contestants, wanted)


def from_dry(model: Hear, dry: Tensor, rir: Tensor) -> Encoding:
    return model(convolve(dry, rir, CLIP_SAMPLES))


def apart(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(some, others, strict=True))


def loss(logits: tuple[Tensor, ...] | Encoding, clips: int) -> Tensor:
    """The released stage-2 loss on arbitrary targets."""
    if isinstance(logits, Encoding):
        logits = tuple(getattr(logits, name) for name in LOGITS)
    classes, *bins = (part.float() for part in logits)
    target = torch.zeros_like(classes)
    target[:, 7] = 1
    crosses = [F.cross_entropy(part, torch.full((clips,), 9, device=part.device)) for part in bins]
    return 1250 * F.binary_cross_entropy_with_logits(classes, target) + crosses[0] + 2 * (crosses[1] + crosses[2])


def step_of(name: str, clips: int, device: str = "cpu", compiled: bool = False) -> Work:
    """One training step of ``released``, ``ours`` or ``ours bf16``, room convolution to optimiser."""
    dry, rir = sounds(clips, device)
    torch.manual_seed(0)
    model: nn.Module = ReleasedEncoder() if name == "released" else SpatialAST(SpatialASTConfig())
    if name == "released":
        model.load_state_dict(encoder().state_dict())
    model.to(device).train()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(weights, 1e-5, fused=None if name == "released" else True)
    run = torch.compile(model) if compiled else model

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=name.endswith("bf16")):
            logits = run(dry, rir) if name == "released" else run(convolve(dry, rir, CLIP_SAMPLES))
        loss(logits, clips).backward()
        optimiser.step()

    return step


def training() -> None:
    contestants = {name: step_of(name, TRAINING_CLIPS) for name in ("released", "ours", "ours bf16")}
    ratios(f"Training step, {TRAINING_CLIPS} clips, masking 0.25, AdamW", contestants, {"ours": "≥ 1.25"}, 3)


def memory() -> None:
    rows = []
    for kind, names in (
        ("forward", ("released", "ours", "ours bf16", "ours int8")),
        ("training", ("released", "ours", "ours bf16")),
    ):
        for name in names:
            command = [sys.executable, __file__, "--alone", f"{kind}:{name}", "--threads", str(asked.threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            before, peak = map(float, done.stdout.split()[-2:])
            rows.append([kind, name, peak, peak - before])
    show(
        "Peak of a process, MiB",
        ["", "", "whole process", "above the imports and one float32 set of weights"],
        rows,
    )


def alone(kind: str, name: str) -> None:
    """Print the memory of this process before and after one kind of work, MiB."""
    with torch.set_grad_enabled(kind == "training"):
        if kind == "training":
            before = peak_mib()
            step = step_of(name, TRAINING_CLIPS)
            encoder.cache_clear()
            step()
            step()
        else:
            dry, rir = sounds(1)
            model: nn.Module = released() if name == "released" else encoder()
            encoder.cache_clear()
            before = peak_mib()
            if name == "ours bf16":
                model = narrow(model)
            elif name == "ours int8":
                model = quantise(model)
            for _ in range(2):
                model(dry, rir) if name == "released" else model(convolve(dry, rir, CLIP_SAMPLES))
    print(before, peak_mib())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.no_grad()
def small() -> None:
    model = bat_agent.load("bat-small", device="cpu").encoder
    wet = convolve(*sounds(1), CLIP_SAMPLES)
    fast = {"float32": model, "bfloat16": narrow(model), "int8": quantise(model)}
    for seconds in (10, 2):
        part = wet[..., : 32_000 * seconds]
        works: dict[str, Work] = {name: partial(run, part) for name, run in fast.items()}
        ratios(f"Encoder of bat-small, a clip of {seconds} s", works, {}, 4 * asked.rounds)


# --- on a GPU ---


def flop_per_clip(tokens: int, width: int = 768, depth: int = 12, patches: int = 512) -> float:
    """Multiply-adds twice: the linear layers and attention of the blocks, and the patches."""
    return depth * (24 * tokens * width**2 + 4 * tokens**2 * width) + 2 * patches * 256 * width


def clips_per_second(work: Work, clips: int, seconds: float = 5.0) -> float:
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(5):
            work()
        torch.cuda.synchronize()
        done += 5 * clips
    return done / (time.perf_counter() - began)


def gpu() -> None:
    if not torch.cuda.is_available():
        console.print("gpu: no CUDA device here, left out")
        return
    card = torch.cuda.get_device_name()
    rate = next((flops for name, flops in RATES.items() if name in card), None)
    torch.set_float32_matmul_precision("high")
    rows: list[list[Any]] = []

    def row(what: str, work: Work, flop: float) -> None:
        torch.cuda.reset_peak_memory_stats()
        speed = clips_per_second(work, GPU_BATCH)
        mfu = 100 * speed * flop / rate if rate else "unknown card"
        rows.append([what, speed, mfu, torch.cuda.max_memory_allocated() / 2**30])

    dry, rir = sounds(GPU_BATCH, "cuda")
    wet = convolve(dry, rir, CLIP_SAMPLES)
    inputs = {"released": (dry, rir), "ours": (wet,)}
    for name, compiled in (("released", False), ("ours", False), ("ours bf16", False), ("ours bf16", True)):
        model: nn.Module = (released() if name == "released" else encoder()).cuda()
        run = torch.compile(model, fullgraph=True) if compiled else model
        given = inputs[name.split()[0]]

        def infer(run: Any = run, given: Any = given, half: bool = name.endswith("bf16")) -> None:
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=half):
                run(*given)

        row(f"forward, {name}{', compiled' * compiled}", infer, flop_per_clip(515))
    for name, compiled in (("released", False), ("ours bf16", False), ("ours bf16", True)):
        work = step_of(name, GPU_BATCH, "cuda", compiled)
        row(f"training with room convolution, {name}{', compiled' * compiled}", work, 3 * flop_per_clip(291))
    columns = ["", "clips/s (training ≥ 1000)", "% of the bfloat16 rate", "peak GiB"]
    show(f"{card}, batch {GPU_BATCH}, masking 0.25", columns, rows)


SECTIONS: dict[str, Work] = {
    "parts": parts, "forward": forward, "training": training, "memory": memory, "small": small, "gpu": gpu
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="separated by commas")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.alone:
        alone(*asked.alone.split(":"))
    else:
        for section in asked.sections.split(","):
            SECTIONS[section]()
