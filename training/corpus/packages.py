"""Released packages: fetched by name and pinned version with each registry's own client, and read without unpacking."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from dobby_dagster.ingest.code.languages import MARKDOWN, language_of

PROJECTS = Path(__file__).with_name("projects.toml")
SKIPPED = re.compile(
    r"(?i)(^|/)(tests?|testing|testdata|__tests__|spec|_?vendor(ed)?|third_?party|examples?|node_modules|conftest\.py|bench(es|marks)?"
    r"|fixtures|mocks?|changelog|changes|history|license|contributing|umd|docs?|demos?|locales?)(\.md)?(/|$)|(^|/)test_|[_.-](test|spec|pb|min|bundle)\.\w+$|\.d\.[cm]?ts$|_generated"
)
SOURCES = re.compile(r"(^|/)src/.*\.[jt]sx?$")
TYPED_SOURCES = re.compile(r"(^|/)src/.*\.tsx?$")
LEARNED = {"python", "rust", "go", "javascript", "typescript", "tsx", "java", "c", "cpp"}
LARGEST_FILE = 12_000_000
ARCHIVE = re.compile(r"(^|/)usr/src/.*\.tar\.\w+$")
BUILT = re.compile(r"(^|/)(dist|build|esm|cjs|es|es6|es2015|bundles?|out)/")


@dataclass(frozen=True)
class Project:
    """One entry of ``projects.toml``.

    Attributes:
        name: As its registry names the package.
        licence: Of what is read, as an SPDX expression.
        folder: The only part of the archive that is read, where a package brings another project's sources along; its
            licence is the one that is named.
        most: Pairs that it gives at most.
    """

    name: str
    version: str
    registry: Literal["pypi", "debian", "debian-source", "debian-diff", "npm"]
    licence: str
    role: Literal["train", "validation", "test"]
    folder: str = ""
    most: int = 8_000

    @property
    def label(self) -> str:
        """What its pairs are said to be of."""
        return f"{self.name}/{PurePath(self.folder).name}" if self.folder else self.name


def projects(listed: Path = PROJECTS) -> list[Project]:
    """All projects of a list, in the order of the file."""
    return [Project(**entry) for entry in tomllib.loads(listed.read_text())["project"]]


def fetch(project: Project, folder: Path) -> Path:
    """The archive of ``project`` in ``folder``, fetched unless it is there.

    Raises:
        subprocess.CalledProcessError: The client could not fetch it.
        FileNotFoundError: The client is missing, or fetched something else.
    """
    found = archived(project, folder)
    if found is None:
        folder = (folder / project.registry).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(_client(project, folder), cwd=folder, check=True, stdout=subprocess.DEVNULL)
        found = archived(project, folder.parent)
    if found is None:
        raise FileNotFoundError(f"{project.registry} gave no archive for {project.name} {project.version}")
    return found


def archived(project: Project, folder: Path) -> Path | None:
    """The archive of ``project`` where it is in ``folder`` already."""
    name, version = project.name, project.version
    upstream = re.sub(r"^[0-9]+:", "", version)
    patterns = {
        "pypi": f"{name.replace('-', '_')}-{version}-*.whl",
        "debian": f"{name}_{version.replace(':', '%3a')}_*.deb",
        "debian-source": f"{name}_{re.sub(r'-[^-]*$', '', upstream)}.orig.tar.*z*",
        "debian-diff": f"{name}_{upstream}.debian.tar.*z*",
        "npm": f"{name.lstrip('@').replace('/', '-')}-{version}.tgz",
    }
    pattern = re.compile(re.escape(patterns[project.registry]).replace(r"\*", ".*"), re.IGNORECASE)
    place = folder / project.registry
    return (
        next((file for file in sorted(place.iterdir()) if pattern.fullmatch(file.name)), None)
        if place.is_dir()
        else None
    )


def _client(project: Project, folder: Path) -> list[str | Path]:
    """The command that fetches ``project`` into the directory that it runs in."""
    name, version = project.name, project.version
    lists = folder.parent / "debian-source"
    source = ["apt-get", *_apart(lists), "source", "-qq", "--download-only"]
    clients: dict[str, list[str | Path]] = {
        "pypi": [
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", f"{name}=={version}",
        ],
        "debian": ["apt-get", "download", "-q", f"{name}={version}"],
        "debian-source": [*source, "--tar-only", f"{name}={version}"],
        "debian-diff": [*source, "--diff-only", f"{name}={version}"],
        "npm": ["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"],
    }  # fmt: skip
    return clients[project.registry]


def list_sources(folder: Path) -> None:
    """Have apt know the source packages of the archives whose packages it knows, in lists of its own in ``folder``.

    Raises:
        subprocess.CalledProcessError: apt could not fetch the lists.
        FileNotFoundError: There is no apt, or it knows no Debian archive.
    """
    folder = (folder / "debian-source").resolve()
    if any((folder / "lists").glob("*Sources*")):
        return
    form = "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = ["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]
    known = subprocess.run(targets, check=True, capture_output=True).stdout
    if not known:
        raise FileNotFoundError("apt knows no Debian archive; `apt-get update` lets it know those of sources.list")
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_bytes(known)
    update = ["apt-get", *_apart(folder), "update", "-qq"]
    subprocess.run(update, check=True, stdout=subprocess.DEVNULL)


def _apart(folder: Path) -> list[str]:
    """Options that keep apt's knowledge of source packages in ``folder``, apart from the machine's."""
    places = {"sourcelist": folder / "sources.list", "sourceparts": Path("/dev/null")}
    options = [f"Dir::Etc::{name}={path}" for name, path in places.items()]
    return [argument for option in (*options, f"Dir::State::lists={folder / 'lists'}") for argument in ("-o", option)]


def files(archive: Path, folder: str = "") -> Iterator[tuple[str, str]]:
    """Path and text of every source file of an archive that is no test, no example and nobody else's code.

    Where a package holds its sources, what was built from them is left out.

    Args:
        archive: A wheel, a Debian package, or a tar file.
        folder: The part of it that is read; all of it where it is empty. Inside it the same is left out.
    """
    members = {
        name: data
        for name, data in members_of(archive)
        if name.startswith(folder) and not SKIPPED.search(name.removeprefix(folder))
    }
    if any(SOURCES.search(name) for name in members):
        members = {name: data for name, data in members.items() if not BUILT.search(name)}
    if any(TYPED_SOURCES.search(name) for name in members):
        members = {name: data for name, data in members.items() if not name.endswith((".js", ".mjs", ".cjs"))}
    for name in sorted(members):
        yield name, members[name].decode("utf-8", "replace").replace("\r\n", "\n")


def _wanted(name: str) -> bool:
    path = PurePath(name)
    language = language_of(path)
    return (language is not None and language.name in LEARNED) or path.suffix.lower() in MARKDOWN


def members_of(archive: Path, wanted: Callable[[str], bool] = _wanted) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file of an archive whose name is ``wanted``."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if wanted(name):
                    yield name, wheel.read(name)
        return
    if archive.suffix == ".deb":
        unpacker = shutil.which("dpkg-deb") or "dpkg-deb"
        data = subprocess.run([unpacker, "--fsys-tarfile", archive], check=True, capture_output=True).stdout
    else:
        data = archive.read_bytes()
    yield from _tarred(data, wanted)


def _tarred(data: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The files of a tar archive, and of those in it: Debian's source packages hold one."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            inner = bool(ARCHIVE.search(member.name))
            if member.isfile() and (inner or (member.size < LARGEST_FILE and wanted(member.name))):
                file = tar.extractfile(member)
                if file is None:
                    continue
                if inner:
                    yield from _tarred(file.read(), wanted)
                else:
                    yield member.name, file.read()
