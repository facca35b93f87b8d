"""Which files of a package give pairs, and of which kinds."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import PurePath

from dobby_dagster.ingest.documentation.documented_code import GENERATED
from training.corpus.kinds import (
    configuration,
    described,
    headers,
    manuals,
    modules,
    patches,
    scripts,
    sections,
    shapes,
    statements,
    testcases,
)
from training.corpus.pair import Pair

SKIPPED = re.compile(
    r"(?i)(^|/)(_?vendor(ed)?|third_?party|node_modules|external|extern|locales?|i18n|licen[cs]es?|bower_components|fonts?|man/[a-z]{2}([_.]\w+)?)/"
    r"|(^|/)(copying|licen[cs]e|changelog|changes|authors|news|contributing|code_of_conduct|security)[^/]*$|[._-]min\.|\.d\.[cm]?ts$|package-lock|tsbuildinfo|[_.-](pb|bundle)\."
)
TEST = re.compile(r"(?i)(^|/)(tests?|testing|__tests__|spec|e2e)/|(^|/)(test_[^/]*|[^/]*[_.-](test|spec))\.\w+$")
HEADED = (".go", ".rs", ".js", ".mjs", ".ts", ".tsx", ".c", ".h", ".cc", ".cpp", ".hpp", ".cxx")
TITLED = (".js", ".mjs", ".ts", ".tsx")
PAGE = re.compile(r"\.(?:[1-8]|[1-8](?:ssl|pm|posix|p|perl|tcl|x)|man|pod|mdoc)(?:\.in)?$")
SCRIPT = re.compile(r"\.(?:sh|bash|ksh|init|init\.d|postinst|preinst|prerm|postrm|config|cron\.\w+)$")
OPTIONS = re.compile(r"(?:\.(?:conf|ini|cfg|cnf)(?:\.(?:in|sample|example|dist|default))?|_config|\.default)$")
DOCSTRING = re.compile(rb'(?:\s*#[^\n]*\n|\s+)*[rRuU]?"""')
COMMENTED = re.compile(rb"\s*(?://|/\*|[\"']use strict)")
PLAIN = re.compile(r"(?i)(?:readme[^/.]*|\.(?:rst|md|markdown))$")
PATCH = re.compile(r"(^|/)debian/patches/.*\.(?:patch|diff)$|(^|/)debian/patches/[^.]*$")


def wanted(name: str) -> bool:
    """Whether a member of an archive may give pairs, by its name."""
    if SKIPPED.search(name) or len(name) > 300:
        return False
    plain = name.removesuffix(".gz")
    place = PurePath(plain)
    known = place.suffix.lower() in (
        *HEADED,
        ".py",
        ".json",
        ".yaml",
        ".yml",
        ".sql",
        *configuration.LINES,
        *shapes.ENDINGS,
    )
    rest = (PAGE, SCRIPT, OPTIONS, PLAIN, PATCH)
    named = plain.endswith((".sql.in", "debian/control")) or not place.suffix or shapes.kind_of(plain) is not None
    return known or named or any(pattern.search(plain) for pattern in rest)


def sort_of(name: str) -> str:
    """``tests``, ``sources`` or ``others``: there are more sources than are needed."""
    source = PurePath(name).suffix.lower() in (".py", *HEADED)
    return "tests" if source and TEST.search(name) else "sources" if source else "others"


def promising(name: str, data: bytes) -> bool:
    """Whether a source file has what a pair is made of, by a look at its text; any other file does."""
    suffix = PurePath(name).suffix.lower()
    if suffix == ".py":
        return b'"""' in data and (
            DOCSTRING.match(data) is not None or (TEST.search(name) is not None and b"def test" in data)
        )
    if suffix == ".go":
        return b"// Package " in data[:5_000] or b"\n// Test" in data
    return suffix not in HEADED or COMMENTED.match(data) is not None or TEST.search(name) is not None


def pairs_of(project: str, name: str, text: str) -> Iterator[Pair]:
    """Yield the pairs of one file."""
    place = PurePath(name)
    suffix = place.suffix.lower()
    if PATCH.search(name):
        yield from patches.patch(project, name, text)
    elif TEST.search(name):
        if suffix == ".py" or suffix in TITLED or name.endswith("_test.go"):
            yield from testcases.tests(project, name, text)
        elif suffix == ".sql":
            yield from statements.sql(project, text, tested=True)
        elif shapes.kind_of(name):
            yield from shapes.shaped(project, shapes.kind_of(name) or "", text, random.Random(name))
    elif name.endswith("debian/control"):
        yield from configuration.control_stanzas(project, text)
    elif not GENERATED.search(text[:1_000]) or suffix in (".json", ".yaml", ".yml"):
        yield from _by_suffix(project, name, text, suffix)


def _by_suffix(project: str, name: str, text: str, suffix: str) -> Iterator[Pair]:
    if suffix == ".py":
        yield from modules.python(project, name, text)
    elif suffix in HEADED:
        yield from headers.headed(project, name, text)
    elif suffix == ".sql" or name.endswith(".sql.in"):
        yield from statements.sql(project, text)
    elif PAGE.search(name):
        yield from manuals.manual(project, name, text)
    elif PLAIN.search(name):
        yield from sections.sections(project, name, text)
    elif scripts.is_script(text) or SCRIPT.search(name):
        yield from scripts.shell(project, name, text)
    else:
        yield from _data(project, name, text, suffix)


def _data(project: str, name: str, text: str, suffix: str) -> Iterator[Pair]:
    if suffix == ".json":
        yield from described.json_objects(project, name, text)
    elif suffix in (".yaml", ".yml"):
        yield from described.yaml_blocks(project, name, text)
    elif suffix in configuration.LINES:
        yield from configuration.described_files(project, name, text)
    if OPTIONS.search(name):
        yield from configuration.options(project, name, text)
    kind = shapes.kind_of(name)
    if kind is not None:
        yield from shapes.shaped(project, kind, text, random.Random(name))
