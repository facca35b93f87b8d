"""Data and configuration without a description: a plain form, made by rule of what stands in them."""

from __future__ import annotations

import configparser
import csv
import io
import json
import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import yaml

from training.corpus.kinds.described import DESCRIPTIONS
from training.corpus.kinds.found import listed, stated
from training.corpus.pair import Pair

# What can't be seen can't be named: contents are short enough to be read whole.
LONGEST = 1_000
SHORTEST = 60
MOST_A_FILE = 25
TASK_KEYS = {
    "when",
    "become",
    "register",
    "vars",
    "command",
    "shell",
    "notify",
    "include_tasks",
    "import_tasks",
    "import_role",
    "set_fact",
    "include_role",
}


def shape(kind: str, content: str) -> str | None:
    """A sentence about a content of the given ``kind`` (``json``, ``yaml``, ``toml``, ``ini``, ``csv``…), or None."""
    try:
        return RULES[kind](content)
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
        configparser.Error,
        csv.Error,
    ):
        return None


def shaped(project: str, kind: str, content: str, rng: random.Random) -> Iterator[Pair]:
    """Yield the whole content, and for JSON and YAML some of its objects, each with what a rule says of it."""
    contents = [content] if len(content) <= LONGEST else []
    if kind == "json":
        contents += _parts(content, rng)
    for text in contents:
        sentence = shape(kind, text)
        pair = stated(project, kind, "data", text, sentence) if sentence and len(text) >= SHORTEST else None
        if pair is not None:
            yield pair


def _parts(content: str, rng: random.Random) -> list[str]:
    """Objects and arrays of a JSON file, short enough, drawn evenly."""
    try:
        stack = [json.loads(content)] if len(content) < 2_000_000 else []
    except (ValueError, RecursionError):
        return []
    parts = []
    while stack and len(parts) < 2_000:
        node = stack.pop()
        children = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []
        stack.extend(child for child in children[:100] if isinstance(child, dict | list))
        described = isinstance(node, dict) and any(key in node for key in DESCRIPTIONS)
        if len(children) > 1 and not described and len(str(node)) <= LONGEST:
            text = json.dumps(node, indent=rng.choice((2, 2, 4, None)))
            if SHORTEST <= len(text) <= LONGEST:
                parts.append(text)
    return rng.sample(parts, min(MOST_A_FILE, len(parts)))


def _json(content: str) -> str | None:
    return _tree(json.loads(content), "JSON")


def _yaml(content: str) -> str | None:
    documents = [tree for tree in yaml.load_all(content, Loader=yaml.CSafeLoader) if tree]
    if len(documents) > 1 and all(isinstance(tree, dict) and "kind" in tree for tree in documents):
        return f"Kubernetes manifests of {listed([_kubernetes(tree) for tree in documents])}."
    return _tree(documents[0], "YAML")


def _tree(tree: Any, form: str) -> str | None:
    article = "A"
    if isinstance(tree, dict):
        keys = [("on" if key is True else str(key)) for key in tree]
        known = _known({("on" if key is True else key): value for key, value in tree.items()}, keys)
        if known or len(keys) < 2:
            return known
        return f"{article} {form} {'object' if form == 'JSON' else 'mapping'} with the keys {listed(keys)}."
    if not isinstance(tree, list) or len(tree) < 2:
        return None
    if all(isinstance(item, dict) and item for item in tree):
        keys = list(dict.fromkeys(str(key) for item in tree for key in item))
        if set(keys) & {"hosts", "tasks", "become"} and "hosts" in keys:
            return f"An Ansible playbook for the hosts {listed([str(item['hosts']) for item in tree])}."
        if all(isinstance(item.get("name"), str) for item in tree) and set(keys) & TASK_KEYS:
            return f"A list of Ansible tasks such as {tree[0]['name']}."
        return f"{article} {form} list of objects with the keys {listed(keys)}."
    if all(isinstance(item, str) for item in tree):
        return f"{article} {form} list of strings such as {listed(tree[:3], 3)}."
    if all(isinstance(item, int | float) for item in tree):
        return f"{article} {form} list of numbers."
    return None


def _known(tree: dict[str, Any], keys: list[str]) -> str | None:
    """What a mapping is by the keys that it has, where that is sure."""
    names = set(keys)
    if {"apiVersion", "kind"} <= names:
        return f"A Kubernetes manifest of {_kubernetes(tree)}."
    if {"on", "jobs"} <= names and isinstance(tree["jobs"], dict):
        named = f" named {tree['name']}" if isinstance(tree.get("name"), str) else ""
        return f"A GitHub Actions workflow{named} with the jobs {listed(list(tree['jobs']))}."
    services = tree.get("services")
    if (
        isinstance(services, dict)
        and services
        and all(isinstance(s, dict) and {"image", "build"} & set(s) for s in services.values())
    ):
        return f"A Docker Compose file with the services {listed(list(services))}."
    if "compilerOptions" in names and isinstance(tree["compilerOptions"], dict):
        return f"A TypeScript configuration with the compiler options {listed(list(tree['compilerOptions']))}."
    if isinstance(tree.get("properties"), dict) and tree.get("type") == "object":
        return f"A JSON schema of an object with the properties {listed(list(tree['properties']))}."
    if isinstance(tree.get("enum"), list) and tree.get("type") == "string":
        return f"A schema of a string that is one of {listed([str(value) for value in tree['enum']])}."
    if {"name", "version"} <= names and {"scripts", "dependencies", "devDependencies"} & names:
        return _package(tree)
    return None


def _kubernetes(tree: dict[str, Any]) -> str:
    kind, name = tree["kind"], (tree.get("metadata") or {}).get("name")
    article = "an" if kind[0] in "AEIO" else "a"
    return f"{article} {kind} named {name}" if name else f"{article} {kind}"


def _package(tree: dict[str, Any]) -> str:
    parts = [
        f"the {label} {listed(list(tree[key]), 3)}"
        for key, label in (
            ("scripts", "scripts"),
            ("dependencies", "dependencies"),
            ("devDependencies", "development dependencies"),
        )
        if isinstance(tree.get(key), dict) and tree[key]
    ]
    return f"The package manifest of {tree['name']} with {' and '.join(parts[:2])}."


def _toml(content: str) -> str | None:
    tree = tomllib.loads(content)
    project, package = tree.get("project"), tree.get("package")
    if isinstance(package, dict) and "name" in package:
        needed = list(tree.get("dependencies", {}))
        return f"The Cargo manifest of the crate {package['name']}" + (
            f" with the dependencies {listed(needed)}." if needed else "."
        )
    if isinstance(project, dict) and "name" in project:
        names = [re.split(r"[\[<>=!~; ]", need)[0] for need in project.get("dependencies", [])]
        return f"The project configuration of {project['name']}" + (
            f" with the dependencies {listed(names)}." if names else "."
        )
    tables = [key for key, value in tree.items() if isinstance(value, dict | list)]
    if len(tables) > 1:
        return f"A TOML file with the tables {listed(tables)}."
    return f"A TOML file with the keys {listed(list(tree))}." if len(tree) > 1 else None


def _ini(content: str) -> str | None:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.read_string(content)
    sections = parser.sections()
    if len(sections) == 1:
        if not all(name[0].isalpha() for name in parser.options(sections[0])):
            return None
        return f"The configuration section {sections[0]} with the options {listed(parser.options(sections[0]))}."
    return f"An INI file with the sections {listed(sections)}." if sections else None


def _environment(content: str) -> str | None:
    names = re.findall(r"^(?:export +)?([A-Z][A-Z0-9_]+)=", content, re.MULTILINE)
    return f"Settings of the environment variables {listed(names)}." if len(names) > 1 else None


def _csv(content: str) -> str | None:
    dialect = csv.Sniffer().sniff(content[:2_000], ",;\t")
    rows = [row for row in csv.reader(io.StringIO(content), dialect) if row]
    names = [name.strip() for name in rows[0]]
    words = all(re.fullmatch(r"[A-Za-z][\w .()/%-]{0,30}", name) for name in names)
    if len(rows) < 3 or len(names) < 2 or not words or any(len(row) != len(names) for row in rows[:-1]):
        return None
    return f"A CSV table with the columns {listed(names)}."


def _makefile(content: str) -> str | None:
    targets = re.findall(r"^([a-z][\w-]*)(?: [^:=\n]*)?:(?!=)", content, re.MULTILINE)
    return f"A Makefile with the targets {listed(list(dict.fromkeys(targets)))}." if len(targets) > 1 else None


def _dockerfile(content: str) -> str | None:
    images = re.findall(r"^FROM +(?:--\S+ +)?(\S+)", content, re.MULTILINE)
    ran = re.findall(r"^(?:CMD|ENTRYPOINT) +\[?\"?([\w./-]+)", content, re.MULTILINE)
    return f"A Dockerfile based on {listed(list(dict.fromkeys(images)))}" + (f" that runs {ran[-1]}." if ran else ".")


def _requirements(content: str) -> str | None:
    names = re.findall(r"^([A-Za-z][\w.-]*)(?:\[[\w,]+\])? *(?:[=<>!~]=?|$)", content, re.MULTILINE)
    return f"A list of Python requirements with {listed(names)}." if len(names) > 1 else None


def _xml(content: str) -> str | None:
    names = re.findall(r"<([A-Za-z][\w:.-]*)[\s>/]", content)
    inner = [name for name in dict.fromkeys(names) if name != names[0]]
    return (
        f"An XML document with the root element {names[0]} and the elements {listed(inner)}."
        if len(inner) > 1
        else None
    )


RULES = {
    "json": _json, "yaml": _yaml, "toml": _toml, "ini": _ini, "environment": _environment, "csv": _csv, "makefile": _makefile,
    "dockerfile": _dockerfile, "requirements": _requirements, "xml": _xml,
}  # fmt: skip
ENDINGS = {
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".ini": "ini",
    ".cfg": "ini",
    ".conf": "ini",
    ".csv": "csv",
    ".tsv": "csv",
    ".xml": "xml",
}


def kind_of(path: str) -> str | None:
    """The kind of data of a file by its name."""
    place = PurePath(path)
    if place.name in ("Makefile", "makefile", "GNUmakefile", "Dockerfile"):
        return place.name.lower().removeprefix("gnu")
    if place.name.startswith("requirements") and place.suffix == ".txt":
        return "requirements"
    return ENDINGS.get(place.suffix.lower())
