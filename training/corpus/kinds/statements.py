"""SQL: statements with a comment above them or a ``COMMENT ON``, and statements by rule."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import sqlglot
from sqlglot import exp

from training.corpus.kinds.found import found, listed, stated
from training.corpus.pair import Pair

COMMENTED = re.compile(
    r"(?P<comment>(?:^--[^\n]*\n)+|^/\*(?:(?!\*/).)*\*/[ \t]*\n)\s*(?=[A-Za-z])", re.MULTILINE | re.DOTALL
)
COMMENT_ON = re.compile(
    r"^COMMENT +ON +(?P<object>TABLE|VIEW|FUNCTION|INDEX|TYPE|DOMAIN|TRIGGER|SEQUENCE|COLUMN) +(?P<name>[\w.\"]+)[^']*?IS\s+E?'(?P<text>(?:[^']|'')+)'\s*;",
    re.IGNORECASE | re.MULTILINE,
)
CREATED = r"^CREATE +(?:OR +REPLACE +)?(?:UNLOGGED +|TEMP +)?{object} +(?:IF +NOT +EXISTS +)?{name}\b"
DOLLAR = re.compile(r"\$\w*\$")
LONGEST_RULED = 1_000
MOST_A_FILE = 80
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)


def sql(project: str, text: str, tested: bool = False) -> Iterator[Pair]:
    """Yield the statements of one file that have something to say, documented ones first.

    Args:
        project: Where it comes from.
        text: Of the file.
        tested: Whether it is a test, whose comments say what happens and not what the statement is for.
    """
    if len(text) > 3_000_000:
        return
    taken = 0
    documented: set[str] = set()
    for name, code, plain, documentation, at in () if tested else (*_commented(text), *_comment_on(text)):
        pair = found(project, "sql", "statement", name, code, plain, documentation, at)
        if pair is not None and taken < MOST_A_FILE:
            documented.add(code)
            taken += 1
            yield pair
    ruled = 0
    for statement in statements(text):
        sentence = rule(statement) if len(statement) <= LONGEST_RULED and statement not in documented else None
        pair = stated(project, "sql", "statement", statement, sentence) if sentence else None
        if pair is not None and ruled < MOST_A_FILE // 2:
            ruled += 1
            yield pair


def statements(text: str) -> Iterator[str]:
    """Each statement of a file, without comments before it; a body between dollar signs stays whole."""
    begin = 0
    for match in re.finditer(r";[ \t]*(?:\n|\Z)", text):
        part = text[begin : match.end()]
        if len(DOLLAR.findall(part)) % 2 == 0 and part.count("'") % 2 == 0:
            begin = match.end()
            yield re.sub(r"\A(?:\s|--[^\n]*\n|/\*(?:(?!\*/).)*\*/)+", "", part, flags=re.DOTALL)


def _commented(text: str) -> Iterator[tuple[str, str, str, str, int]]:
    for match in COMMENTED.finditer(text):
        statement = next(statements(text[match.end() : match.end() + 8_000]), "")
        plain = re.sub(r"^(?:--+|/\*+|\s*\*+/?)[ \t]*", "", match["comment"], flags=re.MULTILINE)
        plain = re.sub(r"[-=*# ]{4,}|\*/", "", plain).strip()
        if statement and not re.search(
            r"regress|copyright|should (?:fail|work|succeed|be)|\bfail", plain, re.IGNORECASE
        ):
            yield "", statement, plain, match["comment"], 0


def _comment_on(text: str) -> Iterator[tuple[str, str, str, str, int]]:
    for match in COMMENT_ON.finditer(text):
        name = match["name"]
        created = re.search(
            CREATED.format(object=match["object"], name=re.escape(name)), text, re.IGNORECASE | re.MULTILINE
        )
        statement = next(statements(text[created.start() : created.start() + 8_000]), "") if created else ""
        if statement:
            yield name, statement, match["text"].replace("''", "'"), f"\n{match[0]}\n", len(statement)


def rule(statement: str) -> str | None:
    """What one statement does, by its tree, or None where that can't be said in a sentence."""
    try:
        tree = sqlglot.parse_one(statement, read="postgres")
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        return None
    try:
        return _said(tree)
    except (AttributeError, IndexError, TypeError):
        return None


def _said(tree: exp.Expression) -> str | None:
    if isinstance(tree, exp.Create):
        return _create(tree)
    if isinstance(tree, exp.Drop):
        return f"Drops the {tree.args['kind'].lower()} {tree.this.name}." if tree.this.name else None
    if isinstance(tree, exp.Insert):
        target = tree.this
        columns = [column.name for column in target.expressions] if isinstance(target, exp.Schema) else []
        name = target.this.name if isinstance(target, exp.Schema) else target.name
        return f"Inserts rows into the table {name}" + (f" with the columns {listed(columns)}." if columns else ".")
    if isinstance(tree, exp.Update):
        return f"Updates {_columns([e.this.name for e in tree.expressions])} of the table {tree.this.name}."
    if isinstance(tree, exp.Delete):
        by = [column.name for column in tree.find(exp.Where).find_all(exp.Column)] if tree.find(exp.Where) else []
        return f"Deletes rows from the table {tree.this.name}" + (
            f", selected by {listed(list(dict.fromkeys(by)))}." if by else "."
        )
    if isinstance(tree, exp.Alter):
        action = tree.args["actions"][0]
        if isinstance(action, exp.ColumnDef):
            return f"Adds the column {action.name} to the table {tree.this.name}."
        return None
    return _select(tree) if isinstance(tree, exp.Select) else None


def _create(tree: exp.Create) -> str | None:
    kind = tree.args["kind"].upper()
    if kind == "TABLE" and isinstance(tree.this, exp.Schema):
        columns = [column.name for column in tree.this.expressions if isinstance(column, exp.ColumnDef)]
        return f"Creates the table {tree.this.this.name} with {_columns(columns)}." if columns else None
    if kind == "INDEX":
        index = tree.this
        columns = [column.name for column in index.find_all(exp.Column)]
        unique = "a unique" if tree.args.get("unique") else "an"
        return (
            f"Creates {unique} index on {_columns(columns)} of the table {index.args['table'].name}."
            if columns
            else None
        )
    if kind == "VIEW" and tree.expression:
        view = tree.this.this.name if isinstance(tree.this, exp.Schema) else tree.this.name
        return f"Creates the view {view} from {_tables(tree.expression)}."
    return None


def _select(tree: exp.Select) -> str | None:
    names = [_column(expression) for expression in tree.expressions]
    if not all(names) or not tree.find(exp.Table):
        return None
    group = tree.args.get("group")
    grouped = [e.name for e in group.expressions if e.name] if group else []
    return f"Selects {listed(names, 4)} from {_tables(tree)}" + (
        f", grouped by {listed(grouped, 3)}." if grouped else "."
    )


def _column(expression: exp.Expression) -> str:
    if expression.alias:
        return str(expression.alias)
    if isinstance(expression, exp.Count):
        return "the number of rows"
    return "all columns" if expression.is_star else str(expression.name if isinstance(expression, exp.Column) else "")


def _columns(names: list[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {listed(names)}"


def _tables(tree: exp.Expression) -> str:
    defined = {cte.alias for cte in tree.find_all(exp.CTE)}
    names = [
        name for name in dict.fromkeys(table.name for table in tree.find_all(exp.Table)) if name not in defined and name
    ]
    return f"the table{'s' if len(names) > 1 else ''} {listed(names, 4)}"
