"""What must hold of a stored database, looked at by plain pycozo on a copy: no code of Dobby's is used."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SETTLED = ("completed", "failed", "skipped")


def verify(
    path: Path, *, settled: bool, quoting: bool = True, journal: Mapping[str, str | None] | None = None
) -> list[str]:
    """Violations in the SQLite database at ``path``, one line each.

    Args:
        path: Is copied, its journal too, and not touched.
        settled: Whether everything must be done; after a fault only what is there must hold together.
        quoting: Whether each summary has the first word of its content, as those of the tests' engine do.
        journal: What the source has to hold: the content of each key, None where it was deleted.
    """
    with copied(path) as client:
        return _Examination(client).violations(settled, quoting, journal)


@contextmanager
def copied(path: Path) -> Iterator[Any]:
    """A plain client of a copy of the SQLite database at ``path``."""
    from pycozo.client import Client

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        copy = Path(folder) / "copy.db"
        for ending in ("", "-journal", "-wal"):
            if path.with_name(path.name + ending).exists():
                shutil.copy(path.with_name(path.name + ending), copy.with_name(copy.name + ending))
        client = Client("sqlite", str(copy), dataframe=False)
        try:
            yield client
        finally:
            client.close()


class _Examination:
    def __init__(self, client: Any) -> None:
        def rows(query: str) -> list[list[Any]]:
            return list(client.run(query)["rows"])

        self.names = {row[0] for row in rows("::relations")}
        if not {"dobby_chunk:by_run", "dobby_summary:by_fingerprint", "dobby_document:text"} <= self.names:
            return  # a fault before the schema was made: there is nothing yet
        self.live = dict(rows("?[key, content] := *record{key, content}"))
        self.versions = rows(
            "?[key, hash, deleted] := *dobby_version{source: 'record', key, content_hash: hash, deleted @ 'END'}"
        )
        self.states = rows(
            "?[key, hash, recipe, state, owner, batch, why] := *dobby_state{source: 'record', key, content_hash: hash,"
            " recipe, state, owner, batch, error, reason @ 'END'}, why = concat(error, reason)"
        )
        self.summaries = rows(
            "?[key, print, hash, recipe, text] := *dobby_summary{source: 'record', key, fingerprint: print,"
            " content_hash: hash, recipe, text}"
        )
        self.documents = rows("?[key, recipe, hash] := *dobby_document{key, recipe, content_hash: hash}")
        self.members = rows(
            "?[batch, place, key, hash] := *dobby_member{batch, position: place, key, content_hash: hash}"
        )
        self.batches = rows("?[batch, members] := *dobby_batch{batch, members}")
        self.waiting = rows("?[key, hash] := *dobby_waiting{key, content_hash: hash, source, rank}")
        self.owners = rows("?[owner, batch, recipe] := *dobby_owner{owner, batch, recipe}")
        self.recipes = rows("?[used, recipe] := *dobby_recipe{recipe, used_at: used} :order -used")
        self.indexed = rows("?[count(key)] := *dobby_summary:by_fingerprint{fingerprint, source, key}")[0][0]

    def violations(self, settled: bool, quoting: bool, journal: Mapping[str, str | None] | None) -> list[str]:
        if not hasattr(self, "live"):
            return ["there is no schema"] if settled else []
        found = [*self._identities(), *self._batches(), *self._summaries(quoting), *self._claims()]
        found += self._journal(journal) if journal is not None else []
        return found + (list(self._settled()) if settled else [])

    def _identities(self) -> list[str]:
        states = Counter(tuple(row[:3]) for row in self.states)
        versions = Counter(row[0] for row in self.versions)
        found = [f"{key} has {count} states" for key, count in states.items() if count != 1]
        found += [f"{key} has {count} versions" for key, count in versions.items() if count != 1]
        made = {(key, recipe, digest) for key, _, digest, recipe, _ in self.summaries}
        found += [f"{row[0]} has a document without its summary" for row in self.documents if tuple(row) not in made]
        found += [
            f"{key} has a summary without a document" for key in {s[0] for s in made} - {d[0] for d in self.documents}
        ]
        if self.indexed != len(self.summaries):
            found.append(f"{self.indexed} summaries are indexed, {len(self.summaries)} are there")
        return found

    def _batches(self) -> list[str]:
        there = Counter(row[0] for row in self.members)
        found = [f"{b}: {there[b]} members, {count} were put in" for b, count in self.batches if there[b] != count]
        said = {batch for batch, _ in self.batches}
        found += [f"members of {batch}, which is missing" for batch in there if batch not in said]
        placed = {(key, digest) for _, _, key, digest in self.members} | {tuple(row) for row in self.waiting}
        found += [
            f"{key} is in no batch and does not wait"
            for key, digest, deleted in self.versions
            if not deleted and (key, digest) not in placed
        ]
        return found

    def _journal(self, journal: Mapping[str, str | None]) -> list[str]:
        written = {key: content for key, content in journal.items() if content is not None}
        found = [f"{key} was written and is lost" for key in written if key not in self.live]
        found += [f"{key} was deleted and is there" for key in self.live if key in journal and key not in written]
        found += [f"{key} was never written" for key in self.live if key not in journal]
        return found + [
            f"{key} has another content than was written last"
            for key in written
            if key in self.live and self.live[key] != written[key]
        ]

    def _summaries(self, quoting: bool) -> list[str]:
        count = Counter((key, digest, recipe) for key, _, digest, recipe, _ in self.summaries)
        found = [f"{key} has {number} summaries of one content" for key, number in count.items() if number > 1]
        members = {(key, digest) for _, _, key, digest in self.members}
        contents = {_hash(text): text for text in self.live.values()}
        for key, _, digest, _, text in self.summaries:
            if (key, digest) not in members:
                found.append(f"{key} has a summary of a content that is in no batch")
            words = str(contents.get(digest, "")).split()
            if quoting and words and words[0] not in text:
                found.append(f"{key} has the summary {text!r}, its content begins {words[0]!r}")
        for key, digest, recipe, state, _, _, why in self.states:
            if state in ("failed", "skipped") and not why:
                found.append(f"{key} is {state} without a reason")
            has = count[(key, digest, recipe)]
            if (state == "completed") != bool(has):
                found.append(f"{key} is {state} with {has} summaries")
        return found

    def _claims(self) -> list[str]:
        owners = {tuple(row) for row in self.owners}
        return [
            f"{key} is in progress and its owner is not known"
            for key, _, recipe, state, owner, batch, _ in self.states
            if state == "in_progress" and (owner, batch, recipe) not in owners
        ]

    def _settled(self) -> list[str]:
        """Every row of the source is known as it is, and settled under the recipe in use."""
        known = {key: (digest, deleted) for key, digest, deleted in self.versions}
        recipe = self.recipes[0][1] if self.recipes else ""
        state = {(key, digest): name for key, digest, under, name, *_ in self.states if under == recipe}
        why = {(key, digest): row[-1] for key, digest, under, *row in self.states if under == recipe}
        found = [f"{len(self.waiting)} versions wait"] if self.waiting else []
        found += [f"{len(self.owners)} owners are left"] if self.owners else []
        for key, content in self.live.items():
            if known.get(key) != (_hash(content), False):
                found.append(f"{key} is not known as it is")
            elif state.get((key, _hash(content))) not in SETTLED:
                found.append(f"{key} is {state.get((key, _hash(content)))}")
            elif why[key, _hash(content)] in ("superseded", "deleted"):
                found.append(f"{key} was skipped as {why[key, _hash(content)]}, and has that content")
        gone = [key for key, (_, deleted) in known.items() if not deleted and key not in self.live]
        return found + [f"{key} is gone and not known to be" for key in gone]


def _hash(content: Any) -> str:
    if isinstance(content, str):
        kind, data = b"text", content.encode()
    else:
        kind, data = b"structured", json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(kind + b"\0" + data).hexdigest()
