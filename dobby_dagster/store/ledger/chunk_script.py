"""The blocks of the script that commits a chunk; :class:`~dobby_dagster.store.ledger.chunks.Chunks` has the parameters."""

from __future__ import annotations

from dobby_dagster.domain.states import State
from dobby_dagster.store.cozoscript.script import unpack
from dobby_dagster.store.ledger.relations import CHUNK

# True if the chunk is stored already: the request was sent again, since its answer was lost.
COUNTED = f"*{CHUNK.name}{{batch: $batch, recipe: $recipe, chunk: $chunk}}"
# The records whose state is still the one that the run saw: claimed by `owner`, and `since` where that is said; none in
# a request that is sent again, for their states are those that the first one stored.
HELD = f"""{{ wanted[source, key, content_hash, owner, since] :=
    {unpack(["source", "key", "content_hash", "owner", "since"], "held")}
current[key, o, t] := wanted[source, key, content_hash, _, _],
    *dobby_state{{source, key, content_hash, recipe: $recipe, owner: o, since: t @ 'END'}}
done[yes] := {COUNTED}, yes = true
?[key] := wanted[_, key, _, owner, _], is_null(owner), yes = true, not done[yes]
?[key] := wanted[_, key, _, owner, since], current[key, o, t], o == owner, is_null(since) || t == since
?[key] := wanted[_, key, _, owner, since], not current[key, _, _], since == 0.0
:create _held {{key}} }}"""
# What each outcome came to: it is superseded where the content of what was made of it is not that of the source.
ENDED = f"""{{ ended[place, key, state, code, inferred, confidence, made] :=
    {unpack(["place", "key", "state", "code", "inferred", "confidence", "made"], "ended")}, *_held{{key}}
?[place, state, code, inferred, confidence] := ended[place, key, state, code, inferred, confidence, made],
    not made
?[place, state, code, inferred, confidence] := ended[place, key, state, code, inferred, confidence, made], made,
    *_unchanged{{key}}
?[place, state, code, inferred, confidence] := ended[place, key, _, _, inferred, confidence, made], made,
    not *_unchanged{{key}}, state = 'skipped', code = ''
:create _ended {{place => state, code, inferred, confidence}} }}"""

_COUNTS = ("completed", "failed", "skipped")
_SUMMED = (*_COUNTS, "inferred")
PUT_CHUNKS = f"""{{ count[state, sum(n)] := *_ended{{place, state}}, n = 1
count[state, sum(n)] := *_ended{{place, inferred: n}}, state = 'inferred'
count[state, sum(n)] := state in {list(_SUMMED)}, n = 0
done[yes] := {COUNTED}, yes = true
{CHUNK.head} := {unpack([f"{c}_before" if c in _SUMMED else c for c in CHUNK.columns], "chunks")},
    {", ".join(f"count['{c}', {c}_now], {c} = to_int({c}_before + {c}_now)" for c in _SUMMED)},
    yes = true, not done[yes]
{CHUNK.into} }}"""
# What the records came to that this run has stored, now or by a request whose answer was lost.
STORED = f"""{{ ?[key, state] := {unpack(["source", "key", "content_hash"], "held")},
    *dobby_state{{source, key, content_hash, recipe: $recipe, state, run @ 'END'}}, run == $run,
    is_in(state, {[State.COMPLETED.value, State.FAILED.value, State.SKIPPED.value]}) }}"""
