"""How likely an edge is right, by how it was found: rounded down from what was measured, see docs/code-graph.md."""

from __future__ import annotations

from dataclasses import dataclass

from dobby_dagster.domain.code_graph import FoundBy

# A name alone that more definitions have says nothing.
MAX_CANDIDATES = 3
# Methods of the built-in types of most languages: which object they are called on is seldom one of the tree.
_COMMON_WORDS = """
    abs acquire add all any append apply as_bytes as_ref as_str bind build call cancel cast catch cleanup clear
    clone close collect concat connect contains copy count create data debug decode default delete dict dispose drop
    each emit empty encode end endswith equals error every exec execute exists exit expect extend extract fail fetch
    fill filter find findall first flatMap flat_map flush fmt forEach foreach format from get getattr group handle
    has hash hashCode id index indexOf info init insert intersection into isEmpty isNull is_empty items iter
    iterator join key keys last len length list listen load lock log lower map match max merge min name new next
    notify of ok on open parse pop println process push put read readline reduce register release remove render
    replace request reset resolve result reverse run save search seek send set setUp setdefault shutdown size sleep
    slice some sort split start startswith stop strip sub submit sum tell test then title toString to_s trim type
    union unlock unwrap update upper value valueOf values wait warn warning with write writelines zip
"""
COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True)
class Way:
    """A way in which a definition is found, and the share of such edges that is right."""

    found_by: FoundBy
    certainty: float


CONTAINED = Way(FoundBy.GRAMMAR, 1.0)
OWN_METHOD = Way(FoundBy.GRAMMAR, 0.95)
SAME_FILE = Way(FoundBy.GRAMMAR, 0.98)
INHERITED = Way(FoundBy.IMPORT, 0.9)
IMPORTED = Way(FoundBy.IMPORT, 0.98)
OF_TYPE = Way(FoundBy.IMPORT, 0.95)
SAME_FOLDER = Way(FoundBy.IMPORT, 0.9)
STAR = Way(FoundBy.IMPORT, 0.9)
BY_NAME = Way(FoundBy.NAME, 0.85)
# Of several definitions of one name; divided by their number.
SEVERAL_BY_NAME = Way(FoundBy.NAME, 0.5)
METHOD_BY_NAME = Way(FoundBy.NAME, 0.7)
EXTERNAL = Way(FoundBy.IMPORT, 0.9)
