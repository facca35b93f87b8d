"""A tree with a .git: nothing that it names is run, and what git lists is what is read."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dobby_dagster.ingest.git import git_index
from dobby_dagster.ingest.git.working_tree import WorkingTree
from dobby_dagster.ingest.source_files import files_of, walk
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.file_tree import tree

IDENTITY = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | IDENTITY | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments], cwd=folder, env=CLEAN, check=True, capture_output=True
    )
    return os.fsdecode(answer.stdout)


def repository(root: Path, files: dict[str, str], *, ignored: str = "") -> Path:
    tree(root, files | ({".gitignore": ignored} if ignored else {}))
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "x")
    return root


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files_of(root)]


def reasons(root: Path) -> dict[str, str]:
    return {found.path.relative_to(root).as_posix(): found.reason for found in walk(root) if found.reason}


def trap(folder: Path) -> tuple[Path, Path]:
    """A program, and the file that is there once it has been run."""
    program, trace = folder / "program.sh", folder / "RUN"
    program.write_text(f"#!/bin/sh\ntouch {trace}\n")
    program.chmod(0o755)
    return program, trace


def fsmonitor(root: Path, program: Path) -> None:
    git(root, "config", "core.fsmonitor", str(program))


def included(root: Path, program: Path) -> None:
    (root / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    git(root, "config", "include.path", "../more")


def worktree_config(root: Path, program: Path) -> None:
    git(root, "config", "extensions.worktreeConfig", "true")
    git(root, "config", "--worktree", "core.fsmonitor", str(program))


def hooks(root: Path, program: Path) -> None:
    for hook in ("post-index-change", "fsmonitor-watchman", "post-checkout", "reference-transaction"):
        (root / ".git/hooks" / hook).symlink_to(program)
    git(root, "config", "core.hooksPath", str(root / ".git/hooks"))


def filters(root: Path, program: Path) -> None:
    (root / ".gitattributes").write_text("*.py filter=x diff=x\n")
    for name in ("filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv", "diff.x.command"):
        git(root, "config", name, str(program))
    os.utime(root / "a.py", (1, 1))


def aliases_and_helpers(root: Path, program: Path) -> None:
    for name in ("alias.ls-files", "core.pager", "core.editor", "core.sshCommand", "credential.helper", "gpg.program"):
        git(root, "config", name, f"!{program}")


def embedded_bare_repository(root: Path, program: Path) -> None:
    subprocess.run(["rm", "-rf", str(root / ".git")], check=True)
    git(root, "init", "-q", "--bare", ".")
    git(root, "config", "core.bare", "false")
    git(root, "config", "core.worktree", str(root))
    git(root, "config", "core.fsmonitor", str(program))


def git_file(root: Path, program: Path) -> None:
    git(root, "config", "core.worktree", str(root))
    fsmonitor(root, program)
    (root / ".git").rename(root / "elsewhere")
    (root / ".git").write_text("gitdir: elsewhere\n")


WAYS = [fsmonitor, included, worktree_config, hooks, filters, aliases_and_helpers, embedded_bare_repository, git_file]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("inside", [False, True], ids=["tree", "clone inside"])
def test_no_program_that_a_tree_names_is_run(way: Any, inside: bool, dobby: Dobby, tmp_path: Path) -> None:
    program, trace = trap(tmp_path)
    outer = repository(tmp_path / "outer", {"b.py": "def b(): pass\n"}) if inside else tmp_path
    root = repository(outer / "src", {"a.py": "def a(): pass\n", "sub/c.py": "def c(): pass\n"})
    way(root, program)
    for path in (root / "sub", root, outer if inside else root):
        answer = dobby("ingest", path, "--json", "--name", path.name, "--yes", "-d", f"sqlite:///{tmp_path}/x.db")
        assert answer.code == 0, answer.err
        assert answer.json["found"] >= 1
    assert not trace.exists()


def test_no_program_of_the_environment_is_run_and_git_itself_is_not(
    dobby: Dobby, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, trace = trap(tmp_path)
    root = repository(tmp_path / "src", {"a.py": "def a(): pass\n"})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for name, value in {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": str(program),
                        "GIT_DIR": str(tmp_path / "nowhere"), "GIT_EXTERNAL_DIFF": str(program)}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert dobby("ingest", root, "--json").json["found"] == 1
    assert not trace.exists()


@pytest.mark.parametrize("version", ["2", "3", "4"])
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_a_tracked_file_is_read_though_it_is_ignored(version: str, split: bool, kind: str, tmp_path: Path) -> None:
    kept = {f"lib/{'long' * 40}{i % 3}/m{i}.py": "" for i in range(6)} | {"z.py": "", f"y{'y' * 200}.py": ""}
    root = tree(tmp_path / "src", kept | {"lib/new.py": "", "free.py": "", ".gitignore": "lib/\nz.py\n"})
    git(root, "init", "-q", f"--object-format={kind}")
    git(root, "config", "index.version", version)
    git(root, "add", "-f", ".gitignore", *list(kept)[:-2])
    if split:
        git(root, "update-index", "--split-index")
    git(root, "add", "-f", *list(kept)[-2:])
    if version == "3":
        git(root, "update-index", "--skip-worktree", "z.py")
    assert sorted(names(root)) == sorted([*kept, "free.py"])
    assert reasons(root)["lib/new.py"] == "ignored by .gitignore"


def test_worktrees_submodules_and_clones_are_read_with_their_own_rules(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", {"l.py": "", "made.py": ""}, ignored="never\n")
    app = repository(tmp_path / "app", {"a.py": "", "kept.py": ""}, ignored="made.py\n/b.py\n")
    git(app, "submodule", "-q", "add", str(library), "third")
    git(app, "clone", "-q", str(library), "clone")
    tree(app, {"b.py": "", "clone/b.py": ""})
    assert names(app) == ["a.py", "kept.py", "clone/b.py", "clone/l.py", "clone/made.py", "third/l.py", "third/made.py"]
    git(app, "worktree", "add", "-q", str(tmp_path / "other"), "-b", "other")
    (app / ".git/info/exclude").write_text("local.py\n")
    tree(tmp_path / "other", {"local.py": "", "b.py": ""})
    assert names(tmp_path / "other") == ["a.py", "kept.py"]


def test_somebody_elses_checkout_is_read_like_ones_own(tmp_path: Path) -> None:
    root = repository(tmp_path / "own", {"m.py": "", "vendor/t.py": ""}, ignored="vendor/\n")
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "1234", str(root)], check=True)
    assert names(root) == ["m.py"]
    assert reasons(root) == {".gitignore": "unknown file type: no extension", "vendor": "ignored by .gitignore"}


def test_rules_above_the_root_count_unless_they_ignore_the_root(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", {"src/a.py": "", "src/made/b.py": "", "out/c.py": ""}, ignored="made/\nout/\n")
    assert names(root / "src") == ["a.py"]
    assert names(root / "out") == ["c.py"], "it was named on purpose"


def test_gitignore_counts_without_a_repository(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "src",
        {"a.py": "", "made/b.py": "", ".gitignore": "made/\n", "sub/c.py": "", "sub/.gitignore": "c.*\n"},
    )
    assert names(root) == ["a.py"]


HOSTILE = {
    "fifo": lambda place: os.mkfifo(place),
    "device": lambda place: place.symlink_to("/dev/zero"),
    "folder": lambda place: place.mkdir(),
    "loop": lambda place: place.symlink_to(place),
    "outside": lambda place: place.symlink_to("/etc/passwd"),
    "random": lambda place: place.write_bytes(bytes(range(256)) * 50),
}


@pytest.mark.parametrize(
    "file", [".gitignore", ".git", ".git/index", ".git/info/exclude", ".git/commondir", "a.py", "b.txt"]
)
@pytest.mark.parametrize("harm", HOSTILE)
def test_a_hostile_file_is_neither_waited_for_nor_followed(file: str, harm: str, tmp_path: Path) -> None:
    root = repository(tmp_path / "src", {"a.py": "def a(): pass\n", "b.txt": "b", "c.py": ""})
    place = root / file
    subprocess.run(["rm", "-rf", str(place)], check=True)
    HOSTILE[harm](place)
    assert "c.py" in names(root)
    if harm in ("device", "outside", "fifo") and file == "a.py":
        assert "a.py" in reasons(root)


def test_a_git_file_that_names_a_device_is_not_waited_for(tmp_path: Path) -> None:
    root = tree(tmp_path / "src", {"a.py": "", ".git": "gitdir: /dev\n"})
    assert names(root) == ["a.py"]


@given(data=st.binary(max_size=400), version=st.integers(2, 4), count=st.sampled_from([0, 1, 7, 2**32 - 1]))
def test_any_index_is_read_without_an_error(data: bytes, version: int, count: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("git")
    (folder / "index").write_bytes(b"DIRC" + version.to_bytes(4, "big") + count.to_bytes(4, "big") + data)
    assert all(len(name) <= git_index.MAX_PATH_BYTES for name in git_index.tracked_paths(folder))


@pytest.mark.slow
def test_patterns_that_are_made_to_be_slow_are_not(tmp_path: Path) -> None:
    rules = ["*a" * 100 + "b", "**/" * 200 + "x*y*z" * 50, *(f"{'?' * i}*{'[a-z]' * 50}" for i in range(300))]
    root = tree(tmp_path / "src", {".gitignore": "\n".join(rules), **{f"{'a' * 240}{i}.py": "" for i in range(200)}})
    assert len(names(root)) + len(reasons(root)) == 201


PATTERN = st.builds(
    lambda negated, anchored, words, star, folder: f"{negated}{anchored}{'/'.join(words)}{star}{folder}",
    st.sampled_from(["", "", "!"]), st.sampled_from(["", "/", "**/"]), st.lists(st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "[!a]", "*.py", "a*", "b.py", "\\a", "[[:alpha:]]*", "[]b]", "[a-]*", "[b-a]", "a[", "*.p?", " a", "a ", "a\\ ", "#b"]), min_size=1, max_size=3),
    st.sampled_from(["", "", "/**"]), st.sampled_from(["", "", "/"]),
)  # fmt: skip
RULES = st.lists(PATTERN, max_size=5).map("\n".join)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@example(top="", below="a[/[ab]", tracked=set(), crlf=False)
@given(top=RULES, below=RULES, tracked=st.sets(st.sampled_from(["a/a.py", "b/a/b.py", "ab.py"])), crlf=st.booleans())
def test_what_is_read_is_what_git_lists(
    top: str, below: str, tracked: set[str], crlf: bool, tmp_path_factory: Any
) -> None:
    files = ["a.py", "b.py", "ab.py", "a/a.py", "a/b.py", "a/b/a.py", "b/a/b.py", "b/ab/a.py", "b/b.py", "ab/a/b/a.py"]
    root = tree(
        tmp_path_factory.mktemp("tree"),
        {**dict.fromkeys(files, ""), ".gitignore": top, "b/.gitignore": below.replace("\n", "\r\n" if crlf else "\n")},
    )
    git(root, "init", "-q")
    if tracked:
        git(root, "add", "-f", *tracked)
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    assert sorted(names(root)) == sorted({name for name in listed if name.endswith(".py")})


def test_the_order_of_rules_is_kept_over_many(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "src",
        {"a.py": "", "b.py": "", ".gitignore": "\n".join(["*.py", *(f"x{i}*y" for i in range(900)), "!b.py"])},
    )
    assert names(root) == ["b.py"]
    assert WorkingTree.around(root).inside(root).ignores(root / "a.py", is_folder=False)
