"""Which encoders, reasoners and simulators are installed, and how one is built from its name and its options.

Plugins register through the entry-point group ``bat_agent``; ours use the same door. pluggy's own loader skips a
blocked or already known name without a word, so the loop here is our own and refuses every clash.
Nothing here imports torch: listing plugins costs milliseconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

import pluggy

from bat_agent import hookspecs
from bat_agent.errors import BadInput, BatAgentError, PluginError
from bat_agent.extras import DISTRIBUTION as OURS
from bat_agent.extras import extra_with, how_to_install
from bat_agent.hookspecs import Component

if TYPE_CHECKING:
    from bat_agent.interfaces import Encoder, Reasoner, Simulator

Kind = Literal["encoder", "reasoner", "simulator"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GROUP = hookspecs.PROJECT
HOOKS: dict[Kind, str] = {kind: f"{GROUP}_{kind}s" for kind in KINDS}
DISABLE = "BAT_AGENT_DISABLE_PLUGINS"
"""Environment variable: comma-separated entry-point names that are not loaded."""


@dataclasses.dataclass(frozen=True)
class Registered:
    """A component and where it comes from."""

    component: Component
    plugin: str
    """Name of the entry point, which is the import name of the package."""
    distribution: str
    """What ``pip`` calls it."""
    version: str
    """Version of the distribution."""


def components(kind: Kind) -> dict[str, Registered]:
    """Every installed component of one kind by name, sorted; raises :class:`~bat_agent.errors.PluginError`."""
    return dict(_registered(_disabled())[kind])


def all_components() -> dict[Kind, dict[str, Registered]]:
    """Every installed component by kind and name; raises :class:`~bat_agent.errors.PluginError`."""
    return {kind: components(kind) for kind in KINDS}


def config_of(kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    """The config dataclass of a component, filled from ``options`` (lists become tuples where a field is a tuple).

    Raises :class:`~bat_agent.errors.BadInput` for an unknown component, an unknown option or a value that does not
    fit, and :class:`~bat_agent.errors.PluginError` where the config cannot be imported.
    """
    found = _find(kind, name)
    return _build(_resolve(kind, found, found.component.config), options, f"{kind} '{name}'")


def create(kind: Kind, name: str, options: Mapping[str, Any]) -> object:
    """Build a component, ``Class(config)``; errors as for :func:`config_of`."""
    config = config_of(kind, name, options)
    found = _find(kind, name)
    with _lacking(kind, found):  # what is heavy is imported when it is built
        target = _resolve(kind, found, found.component.target)
    with _lacking(kind, found), _unbuildable(f"{kind} '{name}'"):
        return target(config)


@contextlib.contextmanager
def _unbuildable(whose: str) -> Iterator[None]:
    """What no option forbids and torch or the memory of this machine refuses is one sentence, too."""
    try:
        yield
    except BatAgentError:
        raise
    except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInput(f"{whose} cannot be built with these options: {why}; change them") from error


def outline(kind: Kind, name: str, options: Mapping[str, Any]) -> Any:
    """A component without its weights, to be counted: ``Class.outline(config)`` where the class has that, which may
    lie on torch's meta device; else as :func:`create` builds it. Errors as for :func:`config_of`.
    """
    config = config_of(kind, name, options)
    found = _find(kind, name)
    target = _resolve(kind, found, found.component.target)
    with _lacking(kind, found):
        return getattr(target, "outline", target)(config)


def load_encoder(name: str, *, weights: str | Path | None = None, **options: Any) -> Encoder:
    """Build the encoder ``name`` with its config's ``options`` and, if given, load ``weights`` (file or folder)."""
    return cast("Encoder", _with_weights(create("encoder", name, options), weights))


def load_reasoner(name: str, *, weights: str | Path | None = None, **options: Any) -> Reasoner:
    """Build the reasoner ``name`` with its config's ``options`` and, if given, load ``weights`` (file or folder)."""
    return cast("Reasoner", _with_weights(create("reasoner", name, options), weights))


def load_plain_reasoner(name: str, **options: Any) -> Reasoner:
    """The reasoner ``name`` as its class without torch builds it.

    Raises :class:`~bat_agent.errors.BadInput` where it has none.
    """
    found = _find("reasoner", name)
    if not found.component.without_torch:
        able = [other for other, one in components("reasoner").items() if one.component.without_torch]
        raise BadInput(
            f"the reasoner '{name}' needs torch, but a model exported to ONNX is heard without it; take "
            f"{' or '.join(map(repr, able)) or 'another'}, or the model that it was exported from"
        )
    config = config_of("reasoner", name, options)
    return cast("Reasoner", _resolve("reasoner", found, found.component.without_torch)(config))


def load_simulator(name: str, **options: Any) -> Simulator:
    """Build the simulator ``name`` with its config's ``options``."""
    return cast("Simulator", create("simulator", name, options))


def missing(kind: Kind, name: str) -> tuple[str, str] | None:
    """What a component lacks to run here and what to do about it, by its own check; ``None`` where nothing is known."""
    found = _find(kind, name)
    return _resolve(kind, found, found.component.check)() if found.component.check else None


def trial(kind: Kind, name: str) -> list[tuple[str, bool, str, str]]:
    """What its own trial says of a component (:class:`~bat_agent.hookspecs.Component`); empty where it has none."""
    found = _find(kind, name)
    return list(_resolve(kind, found, found.component.trial)()) if found.component.trial else []


def _with_weights(model: Any, weights: str | Path | None) -> Any:
    if weights is None:
        return model
    if hasattr(model, "load_weights"):
        model.load_weights(weights)
    else:
        from bat_agent.checkpoint import load_module

        load_module(model, weights)
    return model


# --- from entry points to components ---


def _disabled() -> frozenset[str]:
    return frozenset(filter(None, (name.strip() for name in os.environ.get(DISABLE, "").split(","))))


@cache
def _manager(disabled: frozenset[str]) -> tuple[pluggy.PluginManager, dict[str, metadata.Distribution]]:
    """Import and check every plugin that is not disabled; also which distribution each plugin comes from."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    origins: dict[str, metadata.Distribution] = {}
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.name in disabled:
            continue
        assert entry.dist is not None  # discovered entry points always know where they come from
        if entry.name in origins:
            raise PluginError(
                f"plugin '{entry.name}' is registered by distribution '{origins[entry.name].name}' and by distribution "
                f"'{entry.dist.name}'; uninstall one of them or set {DISABLE}={entry.name}"
            )
        origins[entry.name] = entry.dist
        _register(manager, entry, _origin(entry.name, entry.dist.name, entry.dist.version))
    return manager, origins


def _register(manager: pluggy.PluginManager, entry: metadata.EntryPoint, origin: str) -> None:
    way_out = f"fix or uninstall it, or set {DISABLE}={entry.name}"
    package = entry.module.split(".")[0]
    if entry.name != package:
        raise PluginError(f"{origin} must be named '{package}', the import name of its package; {way_out}")
    try:
        module = entry.load()
    except Exception as error:  # whatever a stranger's module raises on import, the user needs to know whose it is
        raise PluginError(f"{origin} fails to import: {_cause(error)}; {way_out}") from error
    known = ", ".join(HOOKS.values())
    try:
        manager.register(module, name=entry.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{origin} does not fit the hooks {known}: {_cause(error)}; {way_out}") from error
    if not manager.get_hookcallers(module):
        wanted = f"expected one of {known} in '{entry.value}', decorated with @bat_agent.hookimpl"
        raise PluginError(f"{origin} implements no hook, {wanted}; {way_out}")


@cache
def _registered(disabled: frozenset[str]) -> dict[Kind, dict[str, Registered]]:
    manager, origins = _manager(disabled)
    table: dict[Kind, dict[str, Registered]] = {kind: {} for kind in KINDS}
    for kind, hook in HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            plugin, dist = implementation.plugin_name, origins[implementation.plugin_name]
            for component in _described(implementation.function, hook, _origin(plugin, dist.name, dist.version)):
                new = Registered(component, plugin, dist.name, dist.version)
                if old := table[kind].get(component.name):
                    raise PluginError(_clash(kind, old, new))
                table[kind][component.name] = new
        table[kind] = dict(sorted(table[kind].items()))
    return table


def _described(hook: Callable[[], Any], name: str, origin: str) -> list[Component]:
    """What one plugin's hook returns, checked: pluggy itself passes anything on."""
    try:
        described = hook()
    except Exception as error:
        raise PluginError(f"{origin} fails in hook {name}: {_cause(error)}; fix or uninstall it") from error
    if not isinstance(described, list | tuple) or not all(isinstance(item, Component) for item in described):
        raise PluginError(f"{origin} must return a list of bat_agent.Component from hook {name}, got {described!r}")
    return list(described)


def _clash(kind: Kind, old: Registered, new: Registered) -> str:
    first, second = (_origin(one.plugin, one.distribution, one.version) for one in (old, new))
    way_out = f"uninstall one of them or set {DISABLE}={new.plugin}"
    if old.plugin == new.plugin:
        return f"{kind} '{new.component.name}' is described twice by {first}; fix it or set {DISABLE}={new.plugin}"
    return f"{kind} '{new.component.name}' is provided by {first} and by {second}; {way_out}"


def _origin(plugin: str, distribution: str, version: str) -> str:
    return f"plugin '{plugin}' (distribution '{distribution}' {version})"


def _cause(error: BaseException) -> str:
    """On one line, as every message of ours is."""
    return " ".join(f"{type(error).__name__}: {error}".split())


# --- from a name to a class ---


def _find(kind: Kind, name: str) -> Registered:
    known = components(kind)
    if name in known:
        return known[name]
    blocked = f" ({DISABLE}={os.environ[DISABLE]} hides some)" if _disabled() else ""
    if not known:
        raise BadInput(f"unknown {kind} '{name}': no {kind} is installed{blocked}; install bat-agent or a plugin")
    listed = ", ".join(repr(other) for other in _nearest_first(name, known))
    raise BadInput(f"unknown {kind} '{name}', expected one of {listed}{blocked}")


def _nearest_first(name: str, known: Iterable[str]) -> list[str]:
    return sorted(known, key=lambda other: -difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio())


def _resolve(kind: Kind, found: Registered, path: str) -> Any:
    """The class at ``module:Class``."""
    module, _, attribute = path.partition(":")
    try:
        with _lacking(kind, found):
            return getattr(importlib.import_module(module), attribute)
    except BatAgentError:
        raise
    except Exception as error:
        way_out = f"fix or uninstall it, or set {DISABLE}={found.plugin}"
        raise PluginError(f"{_whose(kind, found)} fails to import '{path}': {_cause(error)}; {way_out}") from error


@contextlib.contextmanager
def _lacking(kind: Kind, found: Registered) -> Iterator[None]:
    """Around what imports for a component; raises :class:`~bat_agent.errors.PluginError` where something is missing."""
    try:
        yield
    except ImportError as error:
        extra = _extra_with(error.name, found.distribution)
        remedy = _remedy(found.distribution, extra) if extra else "install it"
        way_out = f"{remedy}, or set {DISABLE}={found.plugin}"
        whose = _whose(kind, found)
        raise PluginError(f"{whose} needs something that is missing: {_cause(error)}; {way_out}") from error


def _whose(kind: Kind, found: Registered) -> str:
    return f"{kind} '{found.component.name}' of {_origin(found.plugin, found.distribution, found.version)}"


def _remedy(distribution: str, extra: str) -> str:
    return how_to_install(extra) if distribution == OURS else f"pip install '{distribution}[{extra}]'"


def _extra_with(module: str | None, distribution: str) -> str | None:
    """The extra of a distribution that brings a module, where module and requirement bear the same name."""
    if distribution == OURS:
        return extra_with(module)
    wanted = _normal((module or "").split(".")[0])
    for requirement in metadata.requires(distribution) or []:
        found = re.match(r"""([\w.-]+).*;.*\bextra\s*==\s*['"]([\w.-]+)['"]""", requirement)
        if found and _normal(found[1]) == wanted:
            return found[2]
    return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- from options to a config ---


def fitted(config: Any, options: Mapping[str, Any], whose: str) -> Any:
    """A config dataclass from what a file says; raises :class:`~bat_agent.errors.BadInput` about what does not fit."""
    if not isinstance(options, Mapping):
        raise BadInput(f"{whose} must hold names and values, got {options!r}")
    return _build(config, options, whose)


def _build(config: Any, options: Mapping[str, Any], whose: str) -> Any:
    """``config(**options)`` with unknown names and values that do not fit refused in the words the user typed."""
    known = [field.name for field in dataclasses.fields(config) if field.init]
    hints = typing.get_type_hints(config)
    values = {}
    for name, value in options.items():
        if name not in known:
            listed = ", ".join(repr(other) for other in _nearest_first(str(name), known)) or "no option at all"
            raise BadInput(f"{whose} has no option '{name}', expected one of {listed}")
        values[name] = _fit(value, hints[name], f"{whose}: option '{name}'")
    try:
        return config(**values)
    except BatAgentError:
        raise
    except (TypeError, ValueError) as error:
        raise BadInput(f"{whose} cannot take these options: {error}") from error


def _fit(value: Any, hint: Any, what: str) -> Any:
    """The value as its field wants it: lists from YAML or JSON become tuples, mappings become nested configs."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        return _fit_union(value, get_args(hint), what)
    if _is_tuple(hint) and isinstance(value, list | tuple):
        return tuple(_fit(item, each, what) for item, each in zip(value, _item_hints(hint, value, what), strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _build(hint, value, what)
    if dataclasses.is_dataclass(hint) and not isinstance(value, cast("type", hint)):
        raise BadInput(f"{what} must hold names and values, got {value!r}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = tuple if _is_tuple(hint) else hint
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{what} must be a finite number, got {value!r}")
    simple = wanted in (bool, int, float, str, tuple)
    if simple and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        raise BadInput(f"{what} must be of type {wanted.__name__}, got {value!r}")
    return value


def _fit_union(value: Any, hints: tuple[Any, ...], what: str) -> Any:
    """The first alternative that fits; ``None`` only fits where it is one of them."""
    if value is None and type(None) in hints:
        return None
    alternatives = [hint for hint in hints if hint is not type(None)]
    for hint in alternatives[:-1]:
        with contextlib.suppress(BadInput):
            return _fit(value, hint, what)
    return _fit(value, alternatives[-1], what)


def _item_hints(hint: Any, value: list[Any] | tuple[Any, ...], what: str) -> list[Any]:
    inner = get_args(hint) or (Any, ...)
    if Ellipsis in inner:
        return [inner[0]] * len(value)
    if len(inner) != len(value):
        raise BadInput(f"{what} must have {len(inner)} entries, got {value!r}")
    return list(inner)


def _is_tuple(hint: Any) -> bool:
    return hint is tuple or get_origin(hint) is tuple
