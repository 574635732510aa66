"""LLaMA-Adapter V2: small trained differences from a frozen language model (Gao et al., arXiv 2304.15010).

* *zero-initialised attention*: each upper layer has learnable prompts; every head adds tanh(gate)·softmax(q·k_pᵀ)·v_p
  to what its attention says. Prompts go through the layer's own key and value maps, without rotation;
* *bias and scale*: every linear map becomes s·(W·x + b), or W·(s·x) + b;
* *norms*: every normalisation has a factor.

All begin as no difference at all: gates and biases are 0, scales and factors 1, so that the logits are the base's bit
for bit. What is not known of BAT's use of it (prompts, side of the scale) is an option; 10 prompts in all but the first
two layers and the paper's scale on the output make 4,215,744 parameters on LLaMA-2 7B.

The parameters stay outside of the language model, whose own names, tensors and files remain what they are: hooks bring
them to bear. They are float32 whatever the number format of the base.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bat_agent.errors import BadInput

FIRST_WITHOUT = 2
"""Layers at the bottom without prompts, unless a number is given."""
_LINEAR = re.compile(r"layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)")
_NORM = re.compile(r"(layers\.\d+\.(input_layernorm|post_attention_layernorm)|norm)")


class LinearChange(nn.Module):
    """Bias and scale of one linear map."""

    def __init__(self, in_dim: int, out_dim: int, bias: bool, scale: str) -> None:
        super().__init__()
        self.on_input = scale == "input"
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None
        size = {"output": out_dim, "input": in_dim}.get(scale)
        self.scale = nn.Parameter(torch.ones(size)) if size else None

    def before(self, x: Tensor) -> Tensor:
        """What the map gets instead of x."""
        return x if self.scale is None or not self.on_input else (x * self.scale).to(x.dtype)

    def after(self, y: Tensor) -> Tensor:
        """What becomes of the map's output."""
        changed = y if self.bias is None else y + self.bias
        if self.scale is not None and not self.on_input:
            changed = changed * self.scale
        return changed.to(y.dtype)


class NormChange(nn.Module):
    """Factor of one normalisation."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(dim))

    def after(self, y: Tensor) -> Tensor:
        """The normalised vector times the factor."""
        return (y * self.factor).to(y.dtype)


class Prompts(nn.Module):
    """Prompts and gates of one layer's attention."""

    def __init__(self, count: int, dim: int, heads: int) -> None:
        super().__init__()
        self.prompt = nn.Parameter(torch.randn(count, dim))
        self.gate = nn.Parameter(torch.zeros(heads))

        self.past_lora = True
        self.changes: tuple[tuple[LinearChange | None, LinearChange | None]] = ((None, None),)
        """Of the key and the value map; in a tuple of tuples, so that they do not count as parts of this one."""
        self.settled: Tensor | None
        """Keys and values once and for all (:meth:`AdapterV2.settle`)."""
        self.register_buffer("settled", None, persistent=False)

    def say(self, attention: Any, query: Tensor, scaling: float) -> Tensor:
        """What the prompts add to queries (B, heads, T, d), rotated ones: (B, T, heads, d)."""
        found = self.keys_and_values(attention, query.dtype) if self.settled is None else self.settled.to(query.dtype)
        key, value = (part.transpose(1, 2).expand(len(query), -1, -1, -1) for part in found)
        grouped = key.shape[1] != query.shape[1]
        said = F.scaled_dot_product_attention(query, key, value, scale=scaling, enable_gqa=grouped)
        return said.transpose(1, 2) * self.gate.tanh().to(said.dtype)[:, None]

    def keys_and_values(self, attention: Any, dtype: torch.dtype) -> Tensor:
        """Those of the prompts: (2, 1, prompts, key-value heads, d)."""
        prompt = self.prompt.to(dtype)
        maps = zip((attention.k_proj, attention.v_proj), self.changes[0], strict=True)
        size = (1, len(prompt), -1, attention.head_dim)
        key, value = (self._project(module, change, prompt).view(size) for module, change in maps)
        return torch.stack((attention.k_norm(key) if hasattr(attention, "k_norm") else key, value))

    def _project(self, module: Any, change: LinearChange | None, prompt: Tensor) -> Tensor:
        if not self.past_lora or not hasattr(module, "get_base_layer"):
            return module(prompt)
        # The hooks with bias and scale hang on what LoRA has wrapped, so they are gone round as well.
        if change is None:
            return module.get_base_layer()(prompt)
        return change.after(module.get_base_layer()(change.before(prompt)))


class AdapterV2(nn.Module):
    """The difference from a language model of the Llama family; :meth:`attach` puts it to work."""

    def __init__(
        self, llm: Any, *, prompts: int = 10, layers: int | None = None, bias: bool = True, scale: str = "output",
        norms: bool = True, past_lora: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        config = llm.config
        depth, heads = config.num_hidden_layers, config.num_attention_heads
        count = max(1, depth - FIRST_WITHOUT) if layers is None else layers
        if count > depth:
            raise BadInput(f"adapter_layers={count} is more than the {depth} layers of the language model")
        self.first = depth - count
        self.past_lora = past_lora
        self.linears = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        self.prompts = nn.ModuleList()
        if prompts:
            self.prompts.extend(Prompts(prompts, config.hidden_size, heads) for _ in range(count))
        if bias or scale != "none":
            for name, module in _named(llm, _LINEAR):
                self.linears[_key(name)] = LinearChange(module.in_features, module.out_features, bias, scale)
        if norms:
            for name, module in _named(llm, _NORM):
                self.norms[_key(name)] = NormChange(module.weight.shape[0])
        if not any(True for _ in self.parameters()):
            raise BadInput(
                "the adapter has no parts: give adapter_prompts, adapter_bias, adapter_scale or adapter_norms"
            )
        self._handles: list[Any] = []

    def attach(self, llm: Any) -> None:
        """Let the language model, of the shape it was built for, be changed from now on."""
        for name, module in _named(llm, _LINEAR):
            if _key(name) in self.linears:
                self._handles += _hooked(module, self.linears[_key(name)])
        for name, module in _named(llm, _NORM):
            if _key(name) in self.norms:
                self._handles.append(module.register_forward_hook(_after(self.norms[_key(name)])))
        if not self.prompts:
            return
        base = llm.config._attn_implementation
        llm.set_attn_implementation(_register(base.removeprefix(_PREFIX)))
        for number, layer in enumerate(llm.model.layers[self.first :]):
            prompts: Any = self.prompts[number]
            prompts.past_lora = self.past_lora
            names = (_key(f"layers.{self.first + number}.self_attn.{name}_proj") for name in "kv")
            prompts.changes = (tuple(map(dict(self.linears.items()).get, names)),)
            # In a tuple, so that the language model does not count the prompts as its own.
            layer.self_attn.bat_agent_prompts = (prompts,)

    def detach(self, llm: Any) -> None:
        """Give the language model back as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        llm.set_attn_implementation(llm.config._attn_implementation.removeprefix(_PREFIX))
        for layer in llm.model.layers:
            if hasattr(layer.self_attn, "bat_agent_prompts"):
                del layer.self_attn.bat_agent_prompts

    @torch.no_grad()
    def settle(self, llm: Any) -> None:
        """Keep what the prompts are to each layer now, before LoRA becomes a part of the maps they go past."""
        for layer, prompts in zip(llm.model.layers[self.first :], self.prompts, strict=False):
            part: Any = prompts
            part.settled = part.keys_and_values(layer.self_attn, layer.self_attn.o_proj.weight.dtype)

    @torch.no_grad()
    def merge(self, llm: Any) -> None:
        """Fold bias, scale and norms into the language model's own weights, for good; prompts cannot be folded and stay
        attached.
        """
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for name, module in _named(llm, _LINEAR):
            if _key(name) in self.linears:
                _fold(_base(module), self.linears[_key(name)])
        for name, module in _named(llm, _NORM):
            if _key(name) in self.norms:
                module.weight.mul_(self.norms[_key(name)].factor.to(module.weight.dtype))
        self.linears.clear()
        self.norms.clear()


_PREFIX = "bat_agent_adapter_"


def _register(base: str) -> str:
    """The attention ``base`` (sdpa, eager, flash …) with prompts, registered by a name of its own."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.llama.modeling_llama import eager_attention_forward

    attend = eager_attention_forward if base == "eager" else ALL_ATTENTION_FUNCTIONS[base]
    AttentionInterface.register(_PREFIX + base, partial(_attend, attend))
    AttentionMaskInterface.register(_PREFIX + base, ALL_MASK_ATTENTION_FUNCTIONS[base])
    return _PREFIX + base


def _attend(
    base: Callable[..., Any], module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
) -> Any:
    out, weights = base(module, query, key, value, mask, **options)
    prompts = getattr(module, "bat_agent_prompts", None)
    if prompts is not None:
        out = out + prompts[0].say(module, query, options.get("scaling") or module.scaling)
    return out, weights


def _named(llm: Any, pattern: re.Pattern[str]) -> list[tuple[str, Any]]:
    """The parts of the base model whose whole name fits."""
    return [(name, module) for name, module in llm.model.named_modules() if pattern.fullmatch(name)]


def _key(name: str) -> str:
    return name.replace(".", "-")


def _after(change: Any) -> Callable[..., Tensor]:
    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return change.after(output)

    return hook


def _hooked(module: nn.Module, change: Any) -> list[Any]:
    def before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (change.before(args[0]), *args[1:])

    handles: list[Any] = [module.register_forward_hook(_after(change))]
    if change.on_input:
        handles.append(module.register_forward_pre_hook(before))
    return handles


def _base(module: Any) -> nn.Linear:
    """The linear map itself, also behind LoRA (which must be merged first)."""
    found = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    if not isinstance(found, nn.Linear):
        raise BadInput(
            f"a {type(found).__name__} cannot take up an adapter; load the language model unquantised to merge"
        )
    return found


def _fold(linear: nn.Linear, change: Any) -> None:
    weight = linear.weight.float()
    bias = torch.zeros(len(weight), device=weight.device) if linear.bias is None else linear.bias.float()
    if change.bias is not None:
        bias = bias + change.bias
    if change.scale is not None:
        weight = weight * (change.scale if change.on_input else change.scale[:, None])
        bias = bias if change.on_input else bias * change.scale
    linear.weight.copy_(weight)
    if linear.bias is not None or change.bias is not None:
        linear.bias = nn.Parameter(bias.to(linear.weight.dtype), requires_grad=False)
