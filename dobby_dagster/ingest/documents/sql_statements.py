"""Splits SQL into statements."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dobby_dagster.ingest.code.declaration import MAX_NAME
from dobby_dagster.ingest.piece import Piece

_BATCH = re.compile(r"^[ \t]*GO[ \t]*$", re.IGNORECASE | re.MULTILINE)  # T-SQL's separator
_COMMENT = re.compile(r"\s+|--[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_HEAD = 2_000
_TARGET = r"((?:[\w$]+|\"[^\"]*\"|`[^`]*`|\[[^\]]*\])(?:\s*\.\s*(?:[\w$]+|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]))*)"
_KIND = (
    r"(TABLE|VIEW|INDEX|FUNCTION|PROCEDURE|PROC|TRIGGER|SEQUENCE|SCHEMA|DATABASE|TYPE|DOMAIN|EXTENSION|ROLE|USER|EVENT"
    r"|PACKAGE(?:\s+BODY)?|POLICY|RULE|AGGREGATE|SYNONYM)"
)
_DEFINITION = re.compile(
    rf"(CREATE|ALTER|DROP|TRUNCATE|COMMENT\s+ON)\b[^;(]{{0,200}}?\b{_KIND}\s+(?:CONCURRENTLY\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
    rf"{_TARGET}",
    re.IGNORECASE,
)
_CHANGE = re.compile(rf"(INSERT\s+(?:\w+\s+){{0,2}}INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+{_TARGET}", re.IGNORECASE)
_QUERY = re.compile(rf"(SELECT|WITH)\b.*?\bFROM\s+{_TARGET}", re.IGNORECASE | re.DOTALL)


def statements_of(text: str) -> list[Piece]:
    r"""The statements with the comments above them, named by verb and target.

    >>> [piece.name for piece in statements_of("-- Users.\nCREATE TABLE app.users (id int); select 1")]
    ['CREATE TABLE app.users', 'SELECT']
    """
    return list(_statements(text))


def _statements(text: str) -> Iterator[Piece]:
    import sqlparse

    at = line = 0
    for batch in _BATCH.split(text):
        for statement in sqlparse.split(batch):
            begin = text.index(statement, at)
            line += text.count("\n", at, begin)
            at = begin + len(statement)
            code = _without_comments(statement)
            if code.strip(";"):
                above = len(statement) - len(code)
                yield Piece(_name(code), "statement", "sql", statement, line + statement.count("\n", 0, above) + 1)
            line += statement.count("\n")


def _without_comments(statement: str) -> str:
    """``statement`` without leading comments and white space."""
    at = 0
    while found := _COMMENT.match(statement, at):
        at = found.end()
    return statement[at:]


def _name(code: str) -> str:
    head = code[:_HEAD]
    definition = _DEFINITION.match(head)
    if definition is not None:
        words = definition.groups()
    else:
        found = _CHANGE.match(head) or _QUERY.match(head)
        words = found.groups() if found else (head.split(None, 1)[0].rstrip(";"),)
    verb, *rest = (" ".join(word.split()) for word in words)
    return " ".join([verb.upper(), *(word.upper() for word in rest[:-1]), *rest[-1:]])[:MAX_NAME]
