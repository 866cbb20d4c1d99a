"""Which keys of a bundle's configuration are read when the bundle runs, found as MONAI's parser resolves references."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from pydoc import locate
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator, ConfigComponent
from monai.bundle.reference_resolver import ReferenceResolver

ENTRIES = ("initialize", "run", "finalize")
RUN_IDS = ("training", "evaluating")  # what else may be named on the command line in the place of "run"
_DEFAULT = re.compile(r"@defaults\['(\w+)'\]")
_IMPORT = re.compile(r"^\$(?:import|from) .*?(\w+)$")


_LOCATOR = ComponentLocator()  # looks through all of MONAI, once


def target_of(component: Mapping[str, Any]) -> Any:
    """The class or function that a component of a configuration names; None where there is none."""
    return locate(ConfigComponent(component, locator=_LOCATOR).resolve_module_name())


def read_configs(*paths: Path | str) -> dict[str, Any]:
    """Configuration files merged in order, as MONAI merges them."""
    parser = ConfigParser()
    parser.read_config([str(path) for path in paths])
    return dict(parser.get())


def leaves(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(id, value) of every value that is no container, or an empty one."""
    pairs = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    nested = [(f"{key}#{name}" if key else str(name), value) for name, value in pairs]
    if not nested and key:
        yield key, config
    for name, value in nested:
        yield from leaves(value, name)


def texts_in(config: Any) -> Iterator[str]:
    """Every string within a value."""
    if isinstance(config, str):
        yield config
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from texts_in(value)


def value_of(config: Any, key: str) -> Any:
    """The value of an id; KeyError where there is none."""
    for name in key.split("#"):
        try:
            config = config[int(name)] if isinstance(config, list) else config[name]
        except (IndexError, TypeError, ValueError) as error:
            raise KeyError(key) from error
    return config


def reached_ids(config: Mapping[str, Any]) -> set[str]:
    """Ids that are resolved when the bundle runs: the entries, what they refer to, and so on."""
    reached: set[str] = set()
    waiting = [entry for entry in ENTRIES if entry in config]
    while waiting:
        key = waiting.pop()
        if key in reached:
            continue
        reached.add(key)
        for text in texts_in(value_of(config, key)):
            waiting += [found.replace("::", "#") for found in ReferenceResolver.match_refs_pattern(text)]
    return reached


def unobserved(config: Mapping[str, Any], keys: Iterable[str] | None = None) -> list[str]:
    """Keys that nothing reads when the bundle runs; by default of the whole configuration.

    A key is read when it, or the container that it is in, is resolved. Besides, a component has to use the argument, an
    expression the import, and a setting of ``defaults`` has to be asked for by its name.
    """
    reached = reached_ids(config)
    texts = [text for key in reached for text in texts_in(value_of(config, key))]
    given = [key for key, _ in leaves(config)] if keys is None else list(keys)
    return [key for key in given if not _is_read(config, key, reached, texts)]


def _is_read(config: Mapping[str, Any], key: str, reached: set[str], texts: list[str]) -> bool:
    parts = key.split("#")
    if parts[0] == "_meta_" or key in RUN_IDS:  # MONAI adds the first
        return True
    if parts[0] == "imports":
        found = _IMPORT.match(value_of(config, key))
        return found is not None and any(re.search(rf"(?<![\w.@]){found[1]}\.", text) for text in texts)
    if parts[:2] == ["defaults", "real_data"] and len(parts) > 2:
        return parts[2] in {name for text in texts for name in _DEFAULT.findall(text)}
    prefixes = ["#".join(parts[: number + 1]) for number in range(len(parts))]
    return any(prefix in reached for prefix in prefixes) and not _ignored_argument(config, prefixes)


def _ignored_argument(config: Mapping[str, Any], prefixes: list[str]) -> bool:
    """Whether the key lies in an argument of a component of this package that the component does not use."""
    for parent, child in itertools.pairwise(prefixes):
        content, name = value_of(config, parent), child.rpartition("#")[2]
        if not isinstance(content, dict) or "_target_" not in content or name in ConfigComponent.non_arg_keys:
            continue
        used = _used_names(target_of(content))
        if used is not None and name not in used:
            return True
    return False


@cache
def _used_names(target: Any) -> frozenset[str] | None:
    """Names that a component of this package reads, and with them its arguments that have an effect; None of others.

    A function or constructor reads them as variables; the methods of a dataclass as attributes.
    """
    function = target.__init__ if inspect.isclass(target) else target
    if not function.__module__.startswith(("monai_dgm.", "tests.")):
        return None
    parts = [c for c in target.__mro__ if is_dataclass(c)] if is_dataclass(target) else [function]
    nodes = [node for part in parts for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(part))))]
    attributes = {node.attr for node in nodes if is_dataclass(target) and isinstance(node, ast.Attribute)}
    return frozenset(
        attributes | {node.id for node in nodes if isinstance(node, ast.Name) and not is_dataclass(target)}
    )
