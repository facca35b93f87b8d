"""Every dependency of the image has a permissive licence, or a reason why it may have another."""

from __future__ import annotations

import json
import re
import sys

from dobby_dagster_tests.helpers.deployment import ROOT, run

PERMISSIVE = re.compile(
    r"apache|\bmit\b|mit-0|mit-cmu|bsd|\bisc\b|0bsd|python software foundation|\bpsf\b|zlib|cc0|unlicense|hpnd|public domain",
    re.I,
)
# Copyleft that ends at the package's own files or library, which Dobby uses unmodified, by import.
EXCEPTIONS = {
    "certifi": "MPL-2.0: a list of certificates",
    "cozo-embedded": "MPL-2.0: the database",
    "fqdn": "MPL-2.0",
    "pathspec": "MPL-2.0, of the build only",
    "psycopg2-binary": "LGPL with exceptions: the driver of PostgreSQL, optional",
    "pycozo": "MPL-2.0: the database's client",
    "tqdm": "MPL-2.0 and MIT",
}
NAMED = re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements" / "container.lock").read_text(), re.MULTILINE)


def test_each_licence_is_permissive() -> None:
    found = {each["Name"].lower().replace("_", "-"): each["License"] for each in json.loads(_listed())}
    assert {"dagster", "pycozo", "openvino"} & found.keys()
    others = {name: licence for name, licence in found.items() if not PERMISSIVE.search(licence) or "GPL" in licence}
    assert others.keys() - EXCEPTIONS.keys() == set(), others


def test_each_exception_is_a_dependency() -> None:
    assert EXCEPTIONS.keys() - set(NAMED) <= {"fqdn"}


def _listed() -> str:
    return run(
        "pip-licenses",
        "--format=json",
        "--from=mixed",
        "--with-system",
        f"--python={sys.executable}",
        "--packages",
        *NAMED,
    )
