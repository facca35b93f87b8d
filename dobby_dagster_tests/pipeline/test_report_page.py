"""The report as a page: complete, self-contained, and harmless whatever the records hold."""

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dobby_dagster.domain.errors import InferenceError
from dobby_dagster.domain.owner import new_owner, retire
from dobby_dagster.domain.scope import BatchId, OwnerId, RunId, Scope
from dobby_dagster.domain.settings import SourceSettings
from dobby_dagster.domain.stall import StallKind
from dobby_dagster.inference.models.reliability import Reliability
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.pipeline.reporting import report_page
from dobby_dagster.pipeline.reporting.model_evidence import ModelEvidence
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster.store.ledger.report_pages import Extent
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.hostile_text import HOSTILE, invisible
from dobby_dagster_tests.helpers.ledger import batch_of, commit, done
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, RUN, run
from dobby_dagster_tests.helpers.records import put
from dobby_dagster_tests.helpers.report_html import Parts, page_of

ATTACKS = {
    "script": "<script>fetch('http://evil.test')</script>",
    "closing": "</pre></td></table></main></style></title><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" \'><a href=javascript:alert(1)>x</a>',
    "template": "{{ 7 * 191 }} {% raw %} ${7*7} &lt;b&gt; &#60;",
    "comment": "<!-- --><![CDATA[ ]]> <?xml?>",
    "nul": "a\x00b\x1b[31m\u202egnp.exe\u2066",
    "line": "x" * 200_000,
    "rtl": "\u05e9\u05dc\u05d5\u05dd = def(\u0645\u0631\u062d\u0628\u0627)",
}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "dl", "dt", "dd", "div",
    "nav", "ul", "li", "main", "section", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure",
    "figcaption", "article", "pre", "br", "span", "footer", "svg", "g", "path", "defs", "use", "text", "clippath", "rect",
}  # fmt: skip


def assert_harmless(page: str) -> Parts:
    """No element, attribute or address that is not the template's own; every character visible."""
    page.encode()
    parts = Parts(page)
    assert parts.unclosed == []
    assert {tag for tag, _ in parts.elements} <= TAGS
    for tag, attributes in parts.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "style", "srcset", "action"), (tag, name)
            assert not name.endswith("href") or (value or "").startswith("#"), (tag, name, value)
            assert "url(" not in (value or "") or (value or "").startswith("url(#"), (tag, name, value)
    assert invisible(parts.text, allowed="\n\t") == set()
    ids = [attributes["id"] for _, attributes in parts.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    return parts


def test_the_page_forbids_everything_but_its_own_style_sheet(sqlite_store: CozoStore) -> None:
    page = page_of(sqlite_store)
    parts = assert_harmless(page)
    [policy] = [a["content"] for a in parts.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(parts.styles.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"(?i)https?:|@import|url\(", parts.styles)


def test_no_record(sqlite_store: CozoStore) -> None:
    text = assert_harmless(page_of(sqlite_store)).text
    for line in ("There is no record here yet.", "nothing was inferred here yet", "There is no summary yet."):
        assert line in text
    assert "nan" not in text.lower().split()


def test_one_record(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"only": "word1 word2"})
    run(sqlite_store, FakeEngine())
    parts = assert_harmless(page_of(sqlite_store))
    assert "It says word1 word2 indeed." in parts.text
    assert "100.0 % completed" in parts.text
    assert len([a for a in parts.all("svg") if a.get("role") == "img"]) == 5


def test_every_plot_and_table_is_named(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i}": f"word{i} {'FAIL' if i % 5 == 0 else ''}" for i in range(30)})
    run(sqlite_store, FakeEngine())
    parts = assert_harmless(page_of(sqlite_store))
    assert len(parts.all("table")) == len(parts.all("caption")) > 3
    ids = {attributes.get("id") for _, attributes in parts.elements}
    for attributes in parts.all("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes["aria-label"]
    wide = [attributes for attributes in parts.all("div") if "scroll" in (attributes.get("class") or "").split()]
    assert len(wide) == len(parts.all("table")) == sum(attributes["tabindex"] == "0" for attributes in wide)
    for attributes in (*parts.all("section"), *parts.all("figure"), *wide):
        assert attributes["aria-labelledby"] in ids
    for attributes in parts.all("a"):
        assert (attributes["href"] or "")[1:] in ids
    headings = [int(tag[1]) for tag, _ in parts.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_hostile_contents_keys_and_summaries(sqlite_store: CozoStore) -> None:
    hostile = {**ATTACKS, **HOSTILE}
    keys = {name: text.encode("utf-8", "replace").decode()[:500] for name, text in hostile.items()}
    contents = {key: keys[name] if name != "line" else ATTACKS["line"] for name, key in keys.items()}
    source, batch, members = batch_of(sqlite_store, contents)
    outcomes = [done(m, contents[m.version.key], batch, text=contents[m.version.key][:300]) for m in members]
    commit(sqlite_store, source, batch, outcomes)
    page = page_of(sqlite_store, Extent("record", "recipe"))
    parts = assert_harmless(page)
    assert "1337" not in parts.text
    assert "<script>fetch('http://evil.test')</script>" in parts.text
    assert "a\\x00b\\x1b[31m\\u202egnp.exe\\u2066" in parts.text
    assert "שלום" in parts.text
    assert len(page) < 300_000


def test_contents_that_are_no_text_or_are_not_there_any_more(sqlite_store: CozoStore) -> None:
    contents = {"a": "word1", "b": "word2", "c": b"\xff\xfe\x00"}
    source, batch, members = batch_of(sqlite_store, contents)
    commit(sqlite_store, source, batch, [done(m, contents[m.version.key], batch) for m in members])
    put(sqlite_store, {"a": "edited"})
    sqlite_store.connection.run("?[key] <- [['b']] :rm record {key}", write=True)
    text = assert_harmless(page_of(sqlite_store, Extent("record", "recipe"))).text
    for line in ("the content was edited since", "the record was deleted since", "the content is not text"):
        assert line in text


@settings(max_examples=60)
@given(st.text(st.characters(), max_size=200), st.text(st.characters(), min_size=1, max_size=80))
def test_any_text_is_shown_and_none_acts(content: str, name: str) -> None:
    template = report_page._environment().from_string('<p dir="{{ a }}">{{ b|short(150) }}</p>')
    page = template.render(a=name, b=content)
    parts = Parts(page)
    page.encode()
    assert [tag for tag, _ in parts.elements] == ["p"]
    assert list(parts.elements[0][1]) == ["dir"]
    assert invisible(parts.text, allowed="\n\t") == set()


def test_unknown_confidences_and_tokens_are_said_to_be_unknown(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i}": f"word{i} UNSURE" for i in range(3)})
    run(sqlite_store, FakeEngine())
    parts = assert_harmless(page_of(sqlite_store))
    assert "confidence unknown" in parts.text
    assert "The confidence of 3 summaries is unknown" in parts.text
    assert "No summary has a known confidence." in parts.text
    assert "Its reliability is unknown" in parts.text
    assert re.search(r"output( unknown){4} 3", " ".join(parts.text.split()))


def test_reliability_is_what_the_model_was_measured_with(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1"})
    run(sqlite_store, FakeEngine())
    bins = [{"confidence": 0.2, "agree": 0.1, "count": 30}, {"confidence": 0.9, "agree": 1.0, "count": 10}]
    measured = Reliability.model_validate({"measured_on": "40 functions", "bins": bins})
    page = page_of(sqlite_store, evidence=ModelEvidence(True, "the probability that it is right", measured))
    text = assert_harmless(page).text
    assert "The confidence is the probability that it is right." in text
    assert "expected calibration error of 0.100" in text
    assert "about 1 of 1 summary" in text


def test_a_run_in_progress(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(30)})
    source = sqlite_store.source(SourceSettings())
    plan(sqlite_store, source, 20)
    scope = Scope(RECIPE.id, BatchId("batch-000001"), RUN)
    dead = OwnerId("somebody")
    members = sqlite_store.states.members(scope)
    sqlite_store.claims.claim(members[:4], dead, scope)
    text = assert_harmless(page_of(sqlite_store)).text
    assert "4 records in progress, but no run is working: dobby recover returns them to pending." in text
    alive = new_owner()
    sqlite_store.claims.claim(members[4:], alive, scope)
    text = assert_harmless(page_of(sqlite_store)).text
    other = assert_harmless(page_of(sqlite_store, Extent("record", RECIPE.id, batch=BatchId("batch-000002")))).text
    assert "At work" not in other
    retire(alive)
    assert "At work: 1 run, with 20 records in progress; these figures will change." in text


def test_stalls(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i}": f"word{i}" for i in range(3)})
    plan(sqlite_store, sqlite_store.source(SourceSettings()), 20)
    scope = Scope(RECIPE.id, BatchId("batch-000001"), RunId("<b>stalled</b>"))
    sqlite_store.claims.claim(sqlite_store.states.members(scope), OwnerId("somebody"), scope)
    sqlite_store.stalls.record(scope.run, StallKind.PIPELINE, 75.0)
    text = " ".join(assert_harmless(page_of(sqlite_store)).text.split())
    assert "a commit 1 min 15 s 3" in text
    assert "No run has stalled." in page_of(sqlite_store, Extent("record", RECIPE.id, run=RunId("another")))


def test_one_batch_and_one_run(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i:02d}": f"word{i}" for i in range(30)})
    run(sqlite_store, FakeEngine())
    batch = assert_harmless(page_of(sqlite_store, Extent("record", RECIPE.id, batch=BatchId("batch-000002"))))
    assert "Batch batch-000002: 10 records" in batch.text
    whole = assert_harmless(page_of(sqlite_store, Extent("record", RECIPE.id, run=RUN)))
    assert "Run run: the records of 2 batches that it finished" in whole.text


def test_several_recipes_are_listed_and_one_is_reported(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {"a": "word1"})
    sqlite_store.recipes.remember(RECIPE)
    other = replace(RECIPE, model="<b>other</b>", model_revision="1")
    sqlite_store.recipes.remember(other)
    run(sqlite_store, FakeEngine())
    text = assert_harmless(page_of(sqlite_store)).text
    assert "Models and prompts that were used here" in text
    assert "<b>other</b>" in text
    none = assert_harmless(page_of(sqlite_store, Extent("record", other.id))).text
    assert "There is no summary yet." in none


def test_failures_and_broken_contracts(sqlite_store: CozoStore) -> None:
    put(sqlite_store, {f"k{i}": f"word{i} FAIL" for i in range(5)} | {"z": "word"})
    run(sqlite_store, FakeEngine())
    metrics = {"records_inferred": 6, "error_rate": 0.8, "memory_bytes": 2e9}
    sqlite_store.batch_reports.save_metrics(Scope(RECIPE.id, BatchId("batch-000001")), metrics)
    text = " ".join(assert_harmless(page_of(sqlite_store)).text.split())
    assert f"{InferenceError.code} 5" in text
    assert "told to fail" in text
    assert "0.8 of all records at most 0.01 of all records 1 of 1 batch" in text
    assert "2,000 MB unknown 0 of 1 batch" in text, "a model without limits has none before its first batches"


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_enough_contrast_in_both_schemes(sqlite_store: CozoStore) -> None:
    styles = Parts(page_of(sqlite_store)).styles
    schemes = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", styles, re.S)
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for name in ("text", "muted", "first", "second", "bad"):
            for ground in ("ground", "raised"):
                light, dark = sorted((luminance(scheme[name]), luminance(scheme[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
