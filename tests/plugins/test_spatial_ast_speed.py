"""What makes Spatial-AST fast must not change what it says: int8, bfloat16, compilation, masks across processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bat_agent import distributed
from bat_agent.errors import BadInput
from bat_agent.training.helpers import keep_patches
from bat_agent_spatial_ast import int8
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
from bat_agent_spatial_ast.transformer import Block, attend

SMALL: dict[str, Any] = {"clip_seconds": 1.0, "target_frames": 112, "width": 64, "depth": 3, "heads": 2}
LOGITS = ("class_logits", "distance_logits", "azimuth_logits", "elevation_logits")
needs_int8 = pytest.mark.skipif(not int8.exact_int8(), reason="this processor has no exact int8 product")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(**options: Any) -> SpatialAST:
    torch.manual_seed(0)
    encoder = SpatialAST(SpatialASTConfig(**{**SMALL, **options})).eval()
    for name in ("head", "distance_head", "azimuth_head", "elevation_head"):
        nn.init.normal_(getattr(encoder, name).weight, std=0.1)
    encoder.bn.running_mean.fill_(-25.0)
    encoder.bn.running_var.fill_(150.0)
    return encoder


# --- int8 and bfloat16 ---


@needs_int8
def test_int8_layer_is_the_product_of_the_rounded_matrices() -> None:
    """Against the definition in float64: both matrices rounded to 255 steps, W by output, x by token."""
    torch.manual_seed(1)
    layer, x = nn.Linear(192, 40), 3 * torch.randn(2, 5, 192) * torch.logspace(-6, 3, 5)[:, None]

    def rounded(matrix: Tensor) -> Tensor:
        step = matrix.double().abs().amax(dim=-1, keepdim=True) / 127
        return (matrix / step).round() * step

    wanted = rounded(x.double()) @ rounded(layer.weight.detach().double()).T + layer.bias.detach().double()
    ours = int8.Int8Linear(layer)(x)
    size = wanted.abs().amax(dim=-1, keepdim=True)
    assert float(((ours - wanted).abs() / size).max()) < 1e-3  # a value on the edge of two steps may fall to either


@needs_int8
def test_silence_in_int8_is_the_bias() -> None:
    layer = nn.Linear(64, 8)
    torch.testing.assert_close(int8.Int8Linear(layer)(torch.zeros(1, 3, 64)), layer.bias.detach().expand(1, 3, 8))


@needs_int8
def test_quantised_rows_are_within_half_a_step() -> None:
    rows = torch.cat((noise(6, 100), torch.zeros(1, 100), 1e-20 * noise(1, 100)))
    steps, scale = int8.quantise_rows(rows)
    signed = steps.int() - 128
    assert int(signed.abs().max()) == 127
    assert bool(((rows - signed * scale).abs() <= 0.5001 * scale).all())
    assert bool((signed[6] == 0).all())


@pytest.mark.parametrize(
    ("make", "most"), [pytest.param(int8.quantise, 0.05, marks=needs_int8), (int8.narrow, 0.02)], ids=["int8", "bf16"]
)
def test_faster_encoder_says_nearly_the_same(make: Any, most: float) -> None:
    """Full width and 515 tokens; the error is a small share of how much the logits vary."""
    encoder = small(clip_seconds=10.0, target_frames=1024, width=768, depth=4, heads=12)
    waveform = noise(2, 2, 320_000)
    with torch.no_grad():
        wanted, found = encoder(waveform), make(encoder)(waveform)
    assert found.tokens.dtype == torch.float32
    for name in LOGITS:
        exact, fast = getattr(wanted, name), getattr(found, name)
        assert 0 < float((fast - exact).std() / exact.std()) < most, name


@pytest.mark.parametrize("make", [pytest.param(int8.quantise, marks=needs_int8), int8.narrow], ids=["int8", "bf16"])
def test_the_float_encoder_stays_as_it_was(make: Any) -> None:
    encoder = small()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    waveform = noise(1, 2, 32_000)
    wanted = encoder(waveform).class_logits
    fast = make(encoder)
    assert torch.equal(encoder(waveform).class_logits, wanted)
    assert not torch.equal(fast(waveform).class_logits, wanted)
    after = encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(isinstance(module, nn.Linear) for module in fast.blocks.modules())
    assert fast.head is encoder.head
    with pytest.raises(BadInput, match="save the float32 one"):
        fast.state_dict()


@needs_int8
def test_a_clip_in_int8_does_not_depend_on_its_batch() -> None:
    encoder, waveform = int8.quantise(small()), noise(3, 2, 32_000)
    with torch.no_grad():
        together, alone = encoder(waveform), encoder(waveform[1:2])
    torch.testing.assert_close(together.class_logits[1:2], alone.class_logits, atol=1e-2, rtol=0)


def test_int8_without_the_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "exact_int8", lambda: False)
    with pytest.raises(BadInput, match="VNNI"):
        int8.quantise(small())


def test_training_under_bfloat16_autocast_has_nearly_the_same_gradients() -> None:
    encoder = small(drop_path=0.0, mask_time=0.0, mask_mels=0.0, spec_mels=0, spec_time_frames=0).train()
    waveform, grads = noise(4, 2, 32_000), []
    for half in (False, True):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            encoding = encoder(waveform)
        sum(getattr(encoding, name).float().logsumexp(dim=1).sum() for name in LOGITS).backward()
        grads.append(torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]))
    assert float(torch.nn.functional.cosine_similarity(grads[0], grads[1], dim=0)) > 0.995
    assert not torch.equal(grads[0], grads[1])


# --- attention ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [5, 330])
@pytest.mark.parametrize("training", [False, True])
def test_attention_is_its_definition(tokens: int, dtype: torch.dtype, training: bool) -> None:
    query, key, value = (10 * noise(1, 2, tokens, 16, seed=seed).to(dtype) for seed in range(3))
    shares = (query.double() @ key.double().transpose(-1, -2) / 4).softmax(dim=-1)
    with torch.set_grad_enabled(training):
        found = attend(query, key, value)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found.double(), shares @ value.double(), atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=0
    )


# --- processes ---


def test_masks_of_a_clip_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = torch.arange(64.0).repeat(6, 1)[..., None]
    torch.manual_seed(5)
    wanted = keep_patches(patches, 8, 0.25, 0.25)
    branch = Block(8, 2, 2.0, 0.5).train()._drop(torch.ones(6, 3, 8))
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        torch.manual_seed(5)
        assert torch.equal(keep_patches(patches[rank::2], 8, 0.25, 0.25), wanted[rank::2])
        assert torch.equal(Block(8, 2, 2.0, 0.5).train()._drop(torch.ones(3, 3, 8)), branch[rank::2])


# --- compilation ---

COMPILED = """
import json, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", message="Guards may run slower on Python 3.13.0")
import torch
torch.set_num_threads(1)
from bat_agent_spatial_ast.config import SpatialASTConfig
from bat_agent_spatial_ast.encoder import SpatialAST
options = json.loads(sys.argv[1])
torch.manual_seed(0)
encoder = SpatialAST(SpatialASTConfig(**options)).eval()
waveform = 0.1 * torch.randn(2, 2, 32_000)
waveform[0, :, 9_000:20_000] = 0
waveform[1, 1] *= 1e-18
with torch.no_grad():
    apart = (torch.compile(encoder, fullgraph=True, backend="eager")(waveform).tokens - encoder(waveform).tokens)
encoder.train()
loss = {}
for name, run in (("plain", encoder), ("compiled", torch.compile(encoder, fullgraph=True, backend="aot_eager"))):
    torch.manual_seed(3)
    encoder.zero_grad()
    tokens = run(waveform).tokens
    tokens.square().mean().backward()
    loss[name] = [tokens.square().mean().item(), encoder.blocks[0].attn.qkv.weight.grad.norm().item()]
print(json.dumps({"apart": apart.abs().max().item(), **loss}))
"""


@pytest.mark.parametrize(
    "options",
    [SMALL, {**SMALL, "target_frames": None, "patch_frames": 4, "patch_mels": 128, "stem_channels": 2, "num_slots": 2}],
    ids=["released kind", "slots"],
)
@pytest.mark.slow
def test_encoder_compiles_to_one_graph_in_evaluation_and_training(options: dict[str, Any]) -> None:
    """In a process of its own: the shape checks of the test run cannot be compiled. ``fullgraph`` refuses any break."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, json.dumps(options)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["apart"] < 1e-4
    assert found["plain"] == pytest.approx(found["compiled"], rel=1e-4)


@pytest.mark.parametrize("compute", ["bf16", "int8"])
def test_an_encoder_may_compute_coarser_in_evaluation_and_stays_itself(compute: str) -> None:
    if compute == "int8" and not int8.exact_int8():
        pytest.skip("this processor has no exact int8 product")
    torch.manual_seed(0)
    options: dict[str, Any] = {"width": 64, "depth": 2, "heads": 4, "clip_seconds": 1.0, "target_frames": 112}
    exact = SpatialAST(SpatialASTConfig(**options)).eval()
    torch.nn.init.normal_(exact.head.weight)
    coarse = SpatialAST(SpatialASTConfig(**options, compute=compute)).eval()
    sound = 0.1 * torch.randn(2, 2, 32_000)
    with torch.no_grad():
        before = coarse(sound).class_logits
        coarse.load_state_dict(exact.state_dict())  # what was made for speed must follow the weights
        wanted, found = exact(sound).class_logits, coarse(sound).class_logits
        assert float((found - wanted).abs().max()) < 0.05 * float(wanted.std())
        assert float((found - before).abs().max()) > float(wanted.std())
        assert not torch.equal(found, wanted)
    assert coarse.state_dict().keys() == exact.state_dict().keys()
    assert all(value.dtype == exact.state_dict()[key].dtype for key, value in coarse.state_dict().items())
    coarse.train()(sound).class_logits.sum().backward()
    assert coarse.blocks[0].mlp.fc1.weight.grad is not None
