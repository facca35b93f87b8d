"""Objects of JSON and YAML files that carry their own description."""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from training.corpus.kinds.found import found, inserted
from training.corpus.pair import Pair

DESCRIPTIONS = ("description", "documentation", "summary", "short_description", "help", "lineinfo")
MOST_A_FILE = 60
LONGEST_FILE = 3_000_000
MIN_PARTS = 2


def json_objects(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield objects of a JSON file with what their description says, spread over the file."""
    try:
        tree = json.loads(text) if len(text) < LONGEST_FILE else None
    except (ValueError, RecursionError):
        return
    objects = [(name, value) for name, value in _walk("", tree) if _described(value)]
    rng = random.Random(path)
    taken = 0
    for name, value in rng.sample(objects, len(objects)):
        key = next(key for key in DESCRIPTIONS if isinstance(value.get(key), str))
        without = {
            k: v for k, v in value.items() if (k != key and not isinstance(v, str)) or (len(str(v)) < 300 and k != key)
        }
        whole = {k: v for k, v in value.items() if k == key or k in without}
        code, documented = (json.dumps({name: o} if name else o, indent=2) for o in (without, whole))
        documentation, at = inserted(code, documented) or ("", 0)
        pair = found(project, "json", "data", name, code, value[key], documentation, at)
        if pair is not None and len(without) >= MIN_PARTS:
            taken += 1
            yield pair
        if taken >= MOST_A_FILE:
            return


def _walk(name: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    stack = [(name, value)]
    while stack:
        key, node = stack.pop()
        if isinstance(node, dict):
            yield key, node
            stack.extend(node.items())
        elif isinstance(node, list):
            stack.extend((key, item) for item in node[:200])


def _described(value: dict[str, Any]) -> bool:
    return any(isinstance(value.get(key), str) and len(value[key]) > 12 for key in DESCRIPTIONS)


def yaml_blocks(project: str, path: str, text: str) -> Iterator[Pair]:
    """Yield mappings of a YAML file with what their description, or an Ansible task's name, says."""
    for _, pair in zip(range(MOST_A_FILE), _yaml_blocks(project, text), strict=False):
        yield pair


def _yaml_blocks(project: str, text: str) -> Iterator[Pair]:
    if len(text) > 300_000 or "{%" in text:
        return
    try:
        trees = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    stack: list[tuple[yaml.Node | None, int]] = [(tree, 0) for tree in trees]
    while stack:
        node, begin = stack.pop()
        if isinstance(node, yaml.SequenceNode):
            stack.extend((item, item.start_mark.index) for item in node.value)
        if not isinstance(node, yaml.MappingNode):
            continue
        pair = None if node.flow_style else _block(project, text, node, begin)
        if pair is not None:
            yield pair
        stack.extend((value, key.start_mark.index) for key, value in node.value)


def _block(project: str, text: str, node: yaml.MappingNode, begin: int) -> Pair | None:
    """A mapping's text from ``begin`` (its key, if it has one) to its end, without its description."""
    keys = [key.value for key, _ in node.value]
    task = "name" in keys and len(keys) > 1 and node.start_mark.column > 0 and begin == node.start_mark.index
    wanted = next((key for key in DESCRIPTIONS if key in keys), "name" if task else None)
    if wanted is None or len(keys) < MIN_PARTS:
        return None
    index = keys.index(wanted)
    value = node.value[index][1]
    if not isinstance(value, yaml.ScalarNode):
        return None
    margin = text.rfind("\n", 0, begin) + 1
    first, last = node.value[index][0].start_mark.index, node.end_mark.index
    after = node.value[index + 1][0].start_mark.index if index + 1 < len(keys) else last
    lead, taken, rest = text[margin:first], text[first:after], text[after:last]
    if index + 1 == len(keys):
        # The last part: the line break before it goes as well.
        cut = len(lead.rstrip())
        lead, taken = lead[:cut], lead[cut:] + taken
    code, documented = (textwrap.dedent(part).rstrip() + "\n" for part in (lead + rest, lead + taken + rest))
    documentation, at = inserted(code, documented) or ("", 0)
    return found(project, "yaml", "task" if wanted == "name" else "data", "", code, value.value, documentation, at)
