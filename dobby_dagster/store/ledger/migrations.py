"""From each version of the schema to the next.

A migration is frozen once it was released: its scripts name columns as they were then. Each script may run again after
a migration that was cut short. Append only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


def create_ledger() -> Iterator[str]:
    """Sources, versions, batches, states, recipes, summaries, chunks and metrics, and the relation ``record``."""
    yield """:create record {key: String => content: Any?, source: String default '', content_type: String default 'text',
        language: String default '', size: Int default 0, priority: Int default 0, metadata: Json default {},
        created_at: Float default now(), updated_at: Float default now()}"""
    yield ":create dobby_source {relation: String => tracking: String, watermark: Any?, compared_at: Float?}"
    yield """:create dobby_version {source: String, key: String, at: Validity =>
        content_hash: String, priority: Int, size: Int, deleted: Bool}"""
    yield """:create dobby_waiting {source: String, rank: Int, key: String =>
        content_hash: String, priority: Int, size: Int}"""
    yield ":create dobby_batch {batch: String => source: String, members: Int, created_at: Float}"
    yield """:create dobby_member {batch: String, position: Int =>
        source: String, key: String, content_hash: String, priority: Int, size: Int}"""
    yield """:create dobby_state {source: String, key: String, content_hash: String, recipe: String, at: Validity =>
        state: String, error: String, error_code: String, retry: String, retry_count: Int,
        reason: String, owner: String, batch: String, run: String, since: Float}"""
    yield """:create dobby_recipe {recipe: String => prompt: String, prompt_text: String, model: String,
        model_revision: String, settings: Json, used_at: Float}"""
    yield """:create dobby_summary {source: String, key: String, fingerprint: String =>
        content_hash: String, text: String, confidence: Float, mean_logprob: Float, min_logprob: Float,
        finish_reason: String, prompt_tokens: Int, output_tokens: Int, truncated: Bool,
        model: String, prompt: String, recipe: String, batch: String, run: String,
        inference_seconds: Float, created_at: Float}"""
    yield "::index create dobby_summary:by_fingerprint {fingerprint}"
    yield """:create dobby_chunk {batch: String, recipe: String, chunk: String => run: String,
        started_at: Float, finished_at: Float, completed: Int, inferred: Int, failed: Int, skipped: Int,
        latencies: Json, rss_bytes: Int, cpu_share: Float, slots: Int, slots_in_use: Float, last_error: String}"""
    yield ":create dobby_metric {batch: String, recipe: String => stored_at: Float, values: Json}"


def add_clock_owners_and_attempts() -> Iterator[str]:
    """A clock that never runs backwards, who works on what, and which batches were started."""
    yield ":create dobby_clock {name: String => at: Int}"
    yield "?[name, at] := name = 'clock', at = 0, not *dobby_clock{name} :put dobby_clock {name => at}"
    yield ":create dobby_owner {owner: String, batch: String, recipe: String => run: String, since: Float}"
    yield ":create dobby_attempt {batch: String, recipe: String, run: String => begun_at: Float}"
    yield "::index create dobby_chunk:by_run {run}"


def make_unknown_null() -> Iterator[str]:
    """What is unknown is null: a server without log-probabilities gave 0 for all three."""
    yield "::index drop dobby_summary:by_fingerprint"
    yield """?[source, key, fingerprint, content_hash, text, confidence, mean_logprob, min_logprob, finish_reason,
        prompt_tokens, output_tokens, truncated, model, prompt, recipe, batch, run, inference_seconds, created_at] :=
        *dobby_summary{source, key, fingerprint, content_hash, text, confidence: c, mean_logprob: m,
            min_logprob: l, finish_reason, prompt_tokens: p, output_tokens: o, truncated, model, prompt, recipe,
            batch, run, inference_seconds, created_at},
        unknown = is_null(c) || c == 0.0, confidence = if(unknown, null, c),
        mean_logprob = if(unknown, null, m), min_logprob = if(unknown, null, l),
        prompt_tokens = if(p == 0, null, p), output_tokens = if(o == 0, null, o)
    :replace dobby_summary {source: String, key: String, fingerprint: String =>
        content_hash: String, text: String, confidence: Float?, mean_logprob: Float?, min_logprob: Float?,
        finish_reason: String, prompt_tokens: Int?, output_tokens: Int?, truncated: Bool,
        model: String, prompt: String, recipe: String, batch: String, run: String,
        inference_seconds: Float, created_at: Float}"""
    yield "::index create dobby_summary:by_fingerprint {fingerprint}"


def give_requests_a_column() -> Iterator[str]:
    """Whether an attempt is a request is a column; before, the run of a request was named ``asked``."""
    yield """?[batch, recipe, run, requested, begun_at] := *dobby_attempt{batch, recipe, run: former, begun_at},
        requested = is_in(former, ['asked', '']), run = if(requested, '', former)
    :replace dobby_attempt {batch: String, recipe: String, run: String => requested: Bool, begun_at: Float}"""


def count_tokens_and_totals() -> Iterator[str]:
    """Tokens of a chunk, and counters that only grow, filled from the chunks and the history of states."""
    yield "::index drop dobby_chunk:by_run"
    yield """?[batch, recipe, chunk, run, started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes,
        cpu_share, slots, slots_in_use, last_error, prompt_tokens, output_tokens] := *dobby_chunk{batch, recipe, chunk, run,
            started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes, cpu_share, slots,
            slots_in_use, last_error}, prompt_tokens = null, output_tokens = null
    :replace dobby_chunk {batch: String, recipe: String, chunk: String => run: String,
        started_at: Float, finished_at: Float, completed: Int, inferred: Int, failed: Int, skipped: Int,
        latencies: Json, rss_bytes: Int, cpu_share: Float, slots: Int, slots_in_use: Float, last_error: String,
        prompt_tokens: Int?, output_tokens: Int?}"""
    yield "::index create dobby_chunk:by_run {run}"
    yield ":create dobby_total {name: String, label: String => value: Float}"
    # One sum at a time: a rule that joins them would hold every row in memory.
    chunk, summary = "*dobby_chunk{batch, recipe, chunk, ", "*dobby_summary{source, key, fingerprint, "
    for name, label, rows in (
        *(("records", state, f"{chunk}{state}: n}}") for state in ("completed", "failed", "skipped")),
        ("inferred", "", f"{chunk}inferred: n}}"),
        ("busy_seconds", "", f"{chunk}started_at, finished_at}}, n = finished_at - started_at"),
        *(("tokens", kind, f"{summary}{kind}_tokens: n}}, is_num(n)") for kind in ("prompt", "output")),
    ):
        yield f"""total[sum(n)] := {rows}
        ?[name, label, value] := total[value], value > 0, name = '{name}', label = '{label}'
        :put dobby_total {{name, label => value}}"""
    yield """total[label, count(key)] := *dobby_state{source, key, content_hash, recipe, at, state, error_code: label},
            state == 'failed', label != ''
    ?[name, label, value] := total[label, value], name = 'errors' :put dobby_total {name, label => value}"""


def add_stalls() -> Iterator[str]:
    """Runs that were ended because they made no progress, and the records that were in progress then."""
    yield """:create dobby_stall {run: String, recipe: String =>
        batches: Json, at: Float, kind: String, seconds: Float, keys: Json}"""
    yield """:create dobby_suspect {recipe: String, batch: String, source: String, key: String, content_hash: String =>
        stalls: Int}"""


def add_performance_of_classes() -> Iterator[str]:
    """The device of a chunk; the figures of the first and the latest batches of each class of model, device and prompts."""
    yield "::index drop dobby_chunk:by_run"
    yield """?[batch, recipe, chunk, run, started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes,
        cpu_share, slots, slots_in_use, last_error, prompt_tokens, output_tokens, device] := *dobby_chunk{batch, recipe,
            chunk, run, started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes, cpu_share,
            slots, slots_in_use, last_error, prompt_tokens, output_tokens}, device = null
    :replace dobby_chunk {batch: String, recipe: String, chunk: String => run: String,
        started_at: Float, finished_at: Float, completed: Int, inferred: Int, failed: Int, skipped: Int,
        latencies: Json, rss_bytes: Int, cpu_share: Float, slots: Int, slots_in_use: Float, last_error: String,
        prompt_tokens: Int?, output_tokens: Int?, device: String?}"""
    yield "::index create dobby_chunk:by_run {run}"
    yield ":create dobby_performance {model: String, device: String, prompt_length: String => first: Json, latest: Json}"


def note_changes() -> Iterator[str]:
    """Triggers note the keys that each transaction changes, so that records can be counted without a full scan."""
    # The clock may never have run; whatever was written so far is not later than now.
    yield """?[name, at] := name = 'clock', *dobby_clock{name, at: before}, at = max(to_int(now() * 1000000), before + 1)
        :put dobby_clock {name => at}"""
    yield ":create dobby_change {at: Int, source: String => keys: [String]}"
    yield """?[at, source, keys] := *dobby_clock{name: 'clock', at}, source = '', keys = []
        :put dobby_change {at, source => keys}"""
    states = "_new[source, key, _h, _r, v, _st, _e, _c, _re, _n, _rs, _o, _b, _ru, _si]"
    for relation, new in (("state", states), ("version", "_new[source, key, v, _h, _p, _s, _d]")):
        yield f"""::set_triggers dobby_{relation} on put {{
            put[at, source, key] := {new}, at = to_int(v)
            moment[at, source] := put[at, source, _]
            changed[at, source, key] := put[at, source, key]
            changed[at, source, key] := moment[at, source], *dobby_change{{at, source, keys: before}}, key in before
            merged[at, source, collect(key)] := changed[at, source, key]
            ?[at, source, keys] := merged[at, source, keys] :put dobby_change {{at, source => keys}} }}"""
    yield ":create dobby_waiting_count {source: String => count: Int}"
    yield """waiting[source, count(key)] := *dobby_waiting{source, rank, key}
        ?[source, count] := waiting[source, count] :put dobby_waiting_count {source => count}"""
    gone = "row[source, rank, key, n] := _old[source, rank, key, _h, _p, _s], n = -1"
    came = "row[source, rank, key, n] := _new[source, rank, key, _h, _p, _s], n = 1"
    counted = """source_of[source] := row[source, _, _, _]
        part[row, source, rank, key, n] := row[source, rank, key, n], row = true
        part[row, source, rank, key, n] := source_of[source], *dobby_waiting_count{source, count: n},
            row = false, rank = 0, key = ''
        total[source, sum(n)] := part[row, source, rank, key, n]
        ?[source, count] := total[source, n], count = to_int(n) :put dobby_waiting_count {source => count}"""
    yield f"::set_triggers dobby_waiting on put {{ {came} {gone} {counted} }} on rm {{ {gone} {counted} }}"


def add_queue_time() -> Iterator[str]:
    """How long the requests of a chunk waited for a slot, on average; unknown of what was committed before."""
    yield "::index drop dobby_chunk:by_run"
    yield """?[batch, recipe, chunk, run, started_at, finished_at, completed, inferred, failed, skipped, latencies, rss_bytes,
        cpu_share, slots, slots_in_use, last_error, prompt_tokens, output_tokens, device, queue_seconds] :=
            *dobby_chunk{batch, recipe, chunk, run, started_at, finished_at, completed, inferred, failed, skipped,
            latencies, rss_bytes, cpu_share, slots, slots_in_use, last_error, prompt_tokens, output_tokens, device},
            queue_seconds = null
    :replace dobby_chunk {batch: String, recipe: String, chunk: String => run: String,
        started_at: Float, finished_at: Float, completed: Int, inferred: Int, failed: Int, skipped: Int,
        latencies: Json, rss_bytes: Int, cpu_share: Float, slots: Int, slots_in_use: Float, last_error: String,
        prompt_tokens: Int?, output_tokens: Int?, device: String?, queue_seconds: Float?}"""
    yield "::index create dobby_chunk:by_run {run}"


def name_former_defaults() -> Iterator[str]:
    """What were the defaults, where summaries were made with them: the defaults changed."""
    yield """former[value] := *dobby_meta{name: 'in_use', value}
        former[value] := not *dobby_meta{name: 'in_use'}, value = json_object()
        used[count(recipe)] := *dobby_recipe{recipe}
        ?[name, value] := used[recipes], recipes > 0, former[before], name = 'in_use', value = concat(
            json_object('in_use', json_object('model.path', 'dobby-code-11m', 'model.quantization', 'none',
                'inference.second_try', 'never')), before)
        :put dobby_meta {name => value}"""


def add_device_waits() -> Iterator[str]:
    """How long each run waited until the device was free."""
    yield ":create dobby_device_wait {run: String => seconds: Float, at: Float}"


def add_renewals() -> Iterator[str]:
    """When each owner of claims last said that it still works, by the database's clock."""
    yield ":create dobby_renewal {owner: String => at: Float, seconds: Float}"


def add_code_graph() -> Iterator[str]:
    """The edges of ingested code, found by their start and by their end."""
    yield """:create dobby_edge {start: String, kind: String, end: String =>
        found_by: String, certainty: Float, origin: String}"""
    yield "::index create dobby_edge:by_end {end, kind, start}"


def add_documents() -> Iterator[str]:
    """The words of each record that has a summary, with a full-text index.

    The plain index is needed: without one, the full-text index keeps the words of a document that is replaced.
    """
    yield ":create dobby_document {source: String, key: String => recipe: String, content_hash: String, words: String}"
    yield "::index create dobby_document:by_recipe {recipe}"
    yield """::fts create dobby_document:text {extractor: words, tokenizer: Simple,
        filters: [Lowercase, Stemmer('english')]}"""


def add_outlines() -> Iterator[str]:
    """Files and folders of ingested trees: what contains what, and which contents are to be derived again."""
    yield """:create dobby_outline {key: String => origin: String, parent: String, kind: String, language: String,
        documentation: String, digest: String, recipe: String, due: String}"""
    yield "::index create dobby_outline:by_parent {parent}"


def add_vectors() -> Iterator[str]:
    """Vectors of the summaries of each batch, in pages, and how many chunks of the batch they are of."""
    yield """:create dobby_vector_batch {source: String, recipe: String, batch: String =>
        embedding: String, chunks: Int, pages: Int, stamp: String}"""
    yield """:create dobby_vector {source: String, recipe: String, batch: String, page: Int =>
        embedding: String, keys: [String], digests: Bytes, vectors: Bytes}"""


def list_unindexed_records() -> Iterator[str]:
    """The records whose summaries are from before there was a full-text index; each is taken off once it is indexed."""
    yield ":create dobby_unindexed {source: String, key: String}"
    yield """?[source, key] := *dobby_summary{source, key, fingerprint}, not *dobby_document{source, key}
        :put dobby_unindexed {source, key}"""


# Version n of the schema is what the first n of these make.
MIGRATIONS: tuple[Callable[[], Iterator[str]], ...] = (
    create_ledger,
    add_clock_owners_and_attempts,
    make_unknown_null,
    give_requests_a_column,
    count_tokens_and_totals,
    add_stalls,
    add_performance_of_classes,
    note_changes,
    add_queue_time,
    name_former_defaults,
    add_device_waits,
    add_renewals,
    add_code_graph,
    add_documents,
    add_outlines,
    add_vectors,
    list_unindexed_records,
)
