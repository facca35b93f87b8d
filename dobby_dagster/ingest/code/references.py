"""What code refers to: calls, base classes, types of fields, imports; as it is written, not resolved."""

from __future__ import annotations

from dataclasses import dataclass

# Of one part of a file, or of the file itself; what is beyond is left out.
MAX_CALLS, MAX_BASES, MAX_FIELDS, MAX_IMPORTS = 400, 20, 200, 1_000
# All names of one file together.
MAX_REFERENCES = 20_000


@dataclass(frozen=True, slots=True)
class Import:
    """One import.

    Attributes:
        module: As it is written, such as ``..package.module``, ``./util`` or ``crate::store``; empty if the file gives
            something of its own another name.
        name: What is imported from it; empty for the module itself, ``*`` for everything.
        alias: The name by which the file uses it; empty if it has none.
    """

    module: str
    name: str = ""
    alias: str = ""


@dataclass(frozen=True, slots=True)
class References:
    """What one part of a file, or the file outside of its parts, refers to.

    Attributes:
        calls: Dotted names, such as ``run``, ``self.run`` or ``json.loads``; ``Table().find`` for the method of a
            variable whose type is known, ``.find`` where it is not.
        bases: The classes that a class extends.
        fields: Name and type of the fields of a class.
        imports: Of a file.
        stub: Whether the part is a definition that only a type checker reads, such as an overload.
    """

    calls: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    imports: tuple[Import, ...] = ()
    stub: bool = False


NOTHING = References()
