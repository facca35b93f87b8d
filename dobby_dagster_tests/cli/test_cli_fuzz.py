"""Random command lines and environments: each ends with one line, and touches no file of others.

``FUZZ_EXAMPLES=2000 pytest test_cli_fuzz.py`` tries more than an everyday run.
"""

from __future__ import annotations

import io
import os
import string
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given, note
from hypothesis import strategies as st

from dobby_dagster.cli.server.listening_address import listen
from dobby_dagster_tests.helpers.command import COMMANDS, Answer, Dobby
from dobby_dagster_tests.helpers.hostile_text import ENVIRONMENTS, HOSTILE, LONG, invisible
from dobby_dagster_tests.helpers.records import fill

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
TEXTS = [
    "", " ", "'", '"', "a b", "a;b", "null", "true", "_x", "-", "--", "-1", "%s", "{0}", "$HOME", "*", "\\", "a\nb", "x" * 5_000,
    "../../x", "code_data", "code_data:idx", "dobby_state", "record", "id", "content", "a\n:rm code_data {id}", "\u043a\u043b",
    "batch-000001", "batch-x", "batch-" + "9" * 5_000, "json:", "json:{", "json:[1", "json:1e999", "markdown", "csv", "cuda:9",
    *HOSTILE.values(),
]  # fmt: skip
URLS = [
    "sqlite:///code.db", "sqlite:///empty.db", f"sqlite:///{LONG}", "sqlite:///" + "b/" * 3_000 + "x.db", "sqlite:///nosuch/x.db",
    "sqlite:///.", "sqlite:///binary", "rocksdb:///binary", "rocksdb:///nosuch/x", "mem://", "mem://x", "http://", "http://[::1",
    "http://127.0.0.1:99999999", "http://127.0.0.1:1", "http://a b:1", "http://user:pass@127.0.0.1:1", "https://127.0.0.1:1\x1b[31m",
    "ftp://x", "", "://", "sqlite://", "sqlite:///", "sqlite:///\x1b[31mred.db", "sqlite:///~nosuch/x.db", "sqlite:///\udcff.db",
    "sqlite:////dev/null", "rocksdb:////dev", "sqlite:///link.db", "http://127.0.0.1:1/?x#y",
]  # fmt: skip
PATHS = [
    "", ".", "/", "/dev/null", "/nosuch/x", "nosuch", LONG, f"{LONG}.md", "a" * 5_000, "~nosuch/x", "~", "..", "binary", "deep.toml",
    "deep_list.toml", "notes.txt", "code.py", "x.md", "x.exe", ".md", "\x1b[31mx", "a\nb", "\udcff", "http://x", "link.md", "models/nope",
    "no\0where",
]  # fmt: skip
NUMBERS = [
    "0",
    "1",
    "-1",
    "3",
    "1e3",
    "nan",
    "inf",
    "9" * 25,
    "9" * 5_000,
    "1025",
    "",
    "abc",
    "0x10",
    "\u0663",
    "1.5",
    " 7 ",
]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with some of its options and arguments, of values that may be wrong in every way."""
    name = draw(st.sampled_from(sorted(COMMANDS)))
    line = name.split()
    for parameter in draw(st.lists(st.sampled_from(COMMANDS[name].params), unique_by=lambda p: p.name, max_size=4)):
        flag = draw(st.sampled_from(parameter.opts)) if parameter.param_type_name == "option" else ""
        if getattr(parameter, "is_flag", False):
            line.append(flag)
            continue
        pool = _pool(parameter)
        value = draw(st.sampled_from(pool) | st.text(string.printable, max_size=8).filter(lambda v: "\0" not in v))
        line += (
            [flag, value] if flag and draw(st.booleans()) else [f"{flag}={value}" if flag.startswith("--") else value]
        )
    if "--database" in {o for p in COMMANDS[name].params for o in p.opts} and draw(st.integers(0, 3)):
        line += ["--database", draw(st.sampled_from(["sqlite:///code.db", "sqlite:///empty.db"]))]
    if name == "purge":
        line.append("--yes")
    if name == "watch":
        line.append("--once")  # else it would go on
    if name in ("summarize", "doctor", "try"):
        line += ["--model", "nope"]  # inference has tests of its own
    if name in ("dev", "monitor"):
        line += ["--port", "TAKEN"]  # else it would serve
    if name == "mcp":
        line += ["--http", "--port", "TAKEN"]
    return line


def _pool(parameter: Any) -> list[str]:
    described = getattr(parameter, "type_descriptor", None)  # of typer's own; what is older has click's type
    kind = str(described.annotation if described else parameter.type).lower()
    if "int" in kind or "float" in kind:
        return NUMBERS
    if parameter.name == "database":
        return URLS
    if parameter.name == "paths":
        return [path for path in PATHS if path != "/"]  # there is too much in it
    return PATHS if "path" in kind or "file" in kind or parameter.name == "model" else TEXTS


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of files and databases of all kinds; beside it a home and somebody else's folder."""
    for folder in ("home", "outside", "work"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outside" / "theirs.txt").write_text("theirs")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"def f(): return 1\n")))
    monkeypatch.chdir(tmp_path / "work")
    fill({f"k{i}": f"def f{i}(a):\n    return a * {i}\n" for i in range(3)})
    fill({}, "record_none", "sqlite:///empty.db")
    Path("binary").write_bytes(bytes(range(256)) * 9)
    Path("deep.toml").write_text("a = " + "[" * 5_000 + "]" * 5_000)
    Path("deep_list.toml").write_text("[[prompt]]\nid = 'x'\nversion = 1\nsystem = " + "[" * 3_000 + "]" * 3_000)
    Path("latin.toml").write_bytes(b"[model]\npath = '\xe4'\n")
    Path("notes.txt").write_text("notes")
    Path("code.py").write_text("def f():\n    return 1\n")
    Path("link.md").symlink_to(tmp_path / "outside" / "theirs.txt")
    Path("link.db").symlink_to(tmp_path / "outside" / "made.db")
    return tmp_path


def outside(world: Path) -> dict[str, bytes]:
    """Everything beside the working folder."""
    places = [world, world / "home", world / "outside"]
    return {str(path): path.read_bytes() if path.is_file() else b"" for place in places for path in place.iterdir()}


def check(dobby: Dobby, world: Path, line: list[str], environment: dict[str, str]) -> Answer:
    """Run it; what must hold of every command line."""
    before = outside(world)
    [taken] = listen("127.0.0.1", 0)
    line = [str(taken.getsockname()[1]) if word == "TAKEN" else word for word in line]
    with taken, pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", *environment):
            patch.setenv(name, environment.get(name, str(world / "work" / "dagster_home")))
        answer = dobby(*line)
    shown = answer.out + answer.err
    assert "Traceback" not in shown
    assert "panicked" not in shown
    assert "a bug in dobby" not in shown, shown
    assert not invisible(shown, "\n")
    failed = [row for row in answer.err.splitlines() if row.startswith("error: ")]
    assert len(failed) == 0 if answer.code == 0 else len(failed) >= 1 or answer.out or "✗" in shown, (
        answer.code,
        shown,
    )
    assert outside(world) == before
    return answer


@hypothesis.settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(command_lines(), st.just({}) | st.sampled_from(ENVIRONMENTS))
def test_any_command_line_ends_with_a_line_and_touches_nothing_of_others(
    dobby: Dobby, world: Path, line: list[str], environment: dict[str, str]
) -> None:
    if any("\0" in word for word in line):
        return  # no shell can say it
    note(f"{environment} dobby {line}")
    check(dobby, world, line, environment)
