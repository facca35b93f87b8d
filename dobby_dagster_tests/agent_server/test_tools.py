"""What the tools answer an agent."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dobby_dagster.domain.code_graph import Edge, EdgeKind, FoundBy
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.agent_server.conftest import URL
from dobby_dagster_tests.helpers.agent_client import Agent, in_process
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.fake_engine import FakeEngine
from dobby_dagster_tests.helpers.pipeline_run import RECIPE, run
from dobby_dagster_tests.helpers.records import put

pytestmark = pytest.mark.usefixtures("tree")


def test_the_tools_only_read_and_say_what_they_take() -> None:
    async def talk(agent: Agent) -> None:
        tools = (await agent.session.list_tools()).tools
        assert {tool.name for tool in tools} >= {"show", "outline", "changes_since", "status"}
        for tool in tools:
            assert tool.annotations is not None
            assert tool.annotations.readOnlyHint
            assert tool.title
            assert tool.description
            assert tool.outputSchema is not None
            assert tool.inputSchema["additionalProperties"] is False
            assert all("description" in field for field in tool.inputSchema.get("properties", {}).values())

    in_process(URL, talk)


def test_an_outline_goes_from_folders_to_methods() -> None:
    async def talk(agent: Agent) -> None:
        def shown(answer: dict) -> list[tuple[str, str, int, int]]:
            return [(entry["key"], entry["kind"], entry["depth"], entry["records"]) for entry in answer["entries"]]

        assert shown(await agent.call("outline")) == [("src", "folder", 1, 6)]
        assert shown(await agent.call("outline", path="src/")) == [
            ("src/a.py", "file", 1, 3),
            ("src/inner", "folder", 1, 2),
            ("src/notes.md", "file", 1, 1),
        ]
        below = await agent.call("outline", path="src/a.py", depth=2)
        assert shown(below) == [
            ("src/a.py::Two", "class", 1, 2),
            ("src/a.py::Two.three", "method", 2, 1),
            ("src/a.py::one", "function", 1, 1),
        ]
        assert shown(await agent.call("outline", path="src/a.py::Two")) == [("src/a.py::Two.three", "method", 1, 1)]
        assert shown(await agent.call("outline", path="src/notes.md"))[0][0] == "src/notes.md::Version 1.2"
        assert shown(await agent.call("outline", path="src/a.py::one")) == []
        assert (
            await agent.pages("outline", path="src", depth=9, limit=1)
            == (await agent.call("outline", path="src", depth=9))["entries"]
        )
        assert "there is nothing at 'src/b.py' (did you mean 'src/a.py'?)" in await agent.refused(
            "outline", path="src/b.py"
        )

    in_process(URL, talk)


def test_a_summary_says_how_sure_it_is_and_whether_it_is_current() -> None:
    async def talk(agent: Agent) -> None:
        entries = {entry["key"]: entry for entry in await agent.pages("outline", depth=9)}
        outdated, current = entries["src/a.py::Two.three"], entries["src/a.py::one"]
        failed, folder = entries["src/inner/b.js::five"], entries["src/inner"]
        assert (current["current"], current["confidence"], current["state"]) == (True, 0.6065, "completed")
        assert outdated["current"] is False
        assert outdated["summary"]
        assert (failed["summary"], failed["confidence"], failed["state"]) == (None, None, "failed")
        assert failed["reason"]
        assert (folder["summary"], folder["state"]) == (None, None)
        text = await agent.text("outline", path="src", depth=9)
        assert "[confidence 0.61]" in text
        assert "[outdated, the content has changed since; confidence 0.61]" in text
        assert "Note: 1 record new or changed since the last run; dobby summarize continues" in text

    in_process(URL, talk)


def test_a_record_is_shown_by_a_part_of_its_key() -> None:
    async def talk(agent: Agent) -> None:
        answer = await agent.call("show", key="b.js::fo")
        assert answer["record"]["key"] == "src/inner/b.js::four"
        assert answer["content"] == "function four() { return 4 }"
        assert answer["model"] == "fake"
        assert "is part of the keys of 3 records (choose one: src/a.py::Two, " in await agent.refused(
            "show", key="a.py"
        )
        assert "did you mean 'src/a.py::one'?" in await agent.refused("show", key="src/a.py::onne")

    in_process(URL, talk)


def test_a_long_content_is_shown_in_parts(tree: CozoStore) -> None:
    content = "".join(f'line {i} é\\"\t\x1b[31m\u202e\n' for i in range(5_000))
    put(tree, {"long": content})

    async def talk(agent: Agent) -> None:
        parts, cursor = [], ""
        while cursor is not None:
            answer = await agent.call("show", key="long", cursor=cursor)
            parts.append(answer["content"])
            cursor = answer["next"]
        assert len(parts) > 5
        assert all(part.endswith("\n") for part in parts)
        assert "".join(parts) == content.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
        first = await agent.call("show", key="long")
        put(tree, {"long": content + "more"})
        assert "the cursor is not one of this call" in await agent.refused("show", key="long", cursor=first["next"])
        put(tree, {"binary": b"\x00\xff", "deep": '{"a": 1}'})
        assert (await agent.call("show", key="binary"))["content"] is None

    in_process(URL, talk)


def test_an_overload_says_which_records_have_its_name(dobby: Dobby, tree: CozoStore) -> None:
    Path("src/o.py").write_text(
        "@overload\ndef f(x: int): ...\n@overload\ndef f(x: str): ...\ndef f(x): pass\ndef g(): f(1)\n"
    )
    assert dobby("ingest", "src", "--database", URL).code == 0

    async def talk(agent: Agent) -> None:
        stub = await agent.call("callers", key="src/o.py::f")
        assert stub["entries"] == []
        assert "there are others of the same name: src/o.py::f#2, src/o.py::f#3" in stub["notes"]
        run_one = await agent.call("callers", key="src/o.py::f#3")
        assert [entry["key"] for entry in run_one["entries"]] == ["src/o.py::g"]

    in_process(URL, talk)


def test_an_agent_learns_what_has_changed(tree: CozoStore) -> None:
    async def talk(agent: Agent) -> None:
        everything = await agent.call("changes_since", since="1h")
        *planned, unplanned = everything["entries"]
        assert {(entry["change"], entry["planned"]) for entry in planned} == {("new", True)}
        assert len(planned) == 6
        assert (unplanned["key"], unplanned["change"], unplanned["planned"]) == (
            "src/a.py::Two.three",
            "changed",
            False,
        )
        nothing = await agent.call("changes_since", since=everything["until"])
        assert [entry for entry in nothing["entries"] if entry["planned"]] == []
        tree.connection.run("?[key] <- [['src/a.py::one']] :rm record {key}", write=True)
        put(tree, {f"new{i}": f"word{i}" for i in range(5)})
        run(tree, FakeEngine())
        found = await agent.pages("changes_since", since=everything["until"], limit=2)
        changes = {entry["key"]: (entry["change"], entry["summarized"]) for entry in found}
        assert changes == {
            **{f"new{i}": ("new", True) for i in range(5)},
            "src/a.py::Two.three": ("changed", True),
            "src/a.py::one": ("deleted", False),
        }
        assert len(found) == len(changes)
        for wrong in ("yesterday", "", "999999d"):
            assert "is no time" in await agent.refused("changes_since", since=wrong)

    in_process(URL, talk)


def test_an_agent_learns_what_no_plan_has_seen_yet(tree: CozoStore) -> None:
    run(tree, FakeEngine())
    contents = {"src/new.py::f": "a new one", "src/a.py::one": "edited", "src/notes.md::Version 1.2": "", "src/ü": "u"}

    async def talk(agent: Agent) -> None:
        moment = (await agent.call("changes_since", since="1h"))["until"]
        assert (await agent.call("changes_since", since=moment))["entries"] == []
        put(tree, contents)
        tree.connection.run("?[key] <- [['src/inner/b.js::five'], ['src/ü']] :rm record {key}", write=True)
        told = await agent.pages("changes_since", since=moment, limit=1)
        assert [(entry["key"], entry["change"], entry["summarized"], entry["planned"]) for entry in told] == [
            ("src/a.py::one", "changed", False, False),
            ("src/inner/b.js::five", "deleted", False, False),
            ("src/new.py::f", "new", False, False),
            ("src/notes.md::Version 1.2", "changed", False, False),
        ]
        assert "new, not planned yet: src/new.py::f" in await agent.text("changes_since", since=moment)
        stamp = "?[key, content, updated_at] <- [['src/a.py::one', 'edited', 1.0]] :update record {key => content, updated_at}"
        tree.connection.run(stamp, write=True)
        assert "changed, not planned yet: src/a.py::one" in await agent.text("changes_since", since=moment)
        put(tree, {"": "of an empty key"})
        told = await agent.pages("changes_since", since=moment, limit=1)
        assert [entry["key"] for entry in told][:2] == ["", "src/a.py::one"]
        put(tree, dict.fromkeys(contents, "again"))
        run(tree, FakeEngine())
        told = await agent.pages("changes_since", since=moment, limit=2)
        assert {entry["planned"] for entry in told} == {True}

    in_process(URL, talk)


def test_the_pages_of_one_answer_stay_those_of_its_moment(tree: CozoStore) -> None:
    async def talk(agent: Agent) -> None:
        first = await agent.call("changes_since", since="1h", limit=2)
        put(tree, {f"new{i}": f"word{i}" for i in range(5)})
        run(tree, FakeEngine())
        rest = await agent.pages("changes_since", since="1h", cursor=first["next"])
        keys = [entry["key"] for entry in first["entries"] + rest]
        assert len(keys) == len(set(keys)) == 6
        outline = await agent.call("outline", depth=9, limit=2)
        put(tree, {"src/a.py::A": "new before the cursor", "src/z.py::z": "new after it"})
        rest = await agent.pages("outline", depth=9, cursor=outline["next"])
        keys = [entry["key"] for entry in outline["entries"] + rest]
        assert len(keys) == len(set(keys))
        assert "src/z.py::z" in keys

    in_process(URL, talk)


def test_a_cursor_ends_where_changes_are_no_longer_noted(tree: CozoStore) -> None:
    async def talk(agent: Agent) -> None:
        since = (await agent.call("changes_since", since="1h"))["until"]
        put(tree, {f"new{i}": f"word{i}" for i in range(5)})
        run(tree, FakeEngine())
        first = await agent.call("changes_since", since=since, limit=2)
        tree.upkeep.forget_changes(tree.counts.now() / 1e6 + 60)
        assert "changes after the cursor are no longer noted (call again without a cursor)" in await agent.refused(
            "changes_since", since=since, cursor=first["next"]
        )
        assert len((await agent.call("changes_since", since=since))["entries"]) == 6

    in_process(URL, talk)


def test_the_status_counts() -> None:
    async def talk(agent: Agent) -> None:
        answer = await agent.call("status")
        assert (answer["records"]["rows"], answer["records"]["failed"], answer["model"]) == (6, 1, "fake")
        assert answer["database"] == URL

    in_process(URL, talk)


def test_a_cursor_is_of_its_own_query_only() -> None:
    async def talk(agent: Agent) -> None:
        cursor = (await agent.call("outline", depth=9, limit=1))["next"]
        assert (await agent.call("outline", depth=9, limit=7, cursor=cursor))["entries"]
        for arguments in ({"depth": 8}, {"path": "src"}):
            assert "not one of this call" in await agent.refused("outline", cursor=cursor, **arguments)
        for wrong in (cursor[:-3], cursor + "AAAA", cursor.swapcase(), "☃", "=", "a" * 1_700):
            assert "not one of this call" in await agent.refused("outline", depth=9, cursor=wrong)

    in_process(URL, talk)


def test_time_does_not_run_for_a_recipe_that_was_purged(tree: CozoStore) -> None:
    moment = tree.counts.now()
    time.sleep(0.01)
    tree.upkeep.purge(RECIPE.id)

    async def talk(agent: Agent) -> None:
        assert (await agent.call("changes_since", since="1h"))["notes"][-1].startswith("the history before 20")
        assert "has been summarised yet (run dobby summarize)" in await agent.refused("outline")
        assert (await agent.call("status"))["model"] is None

    assert moment < tree.counts.now()
    in_process(URL, talk)


def test_search_finds_what_fits_page_by_page(tree: CozoStore) -> None:
    async def talk(agent: Agent) -> None:
        answer = await agent.call("search", text="four", kind="function", language="JavaScript")
        [hit] = answer["entries"]
        assert (hit["key"], hit["ways"][0], hit["current"], hit["confidence"]) == (
            "src/inner/b.js::four", "text", True, 0.6065,
        )  # fmt: skip
        put(tree, {f"many/{i:03d}.py::f": f"rhubarb{i} pie" for i in range(160)})
        run(tree, FakeEngine())
        first = await agent.call("search", text="pie rhubarb7", limit=7, prefix="many/")
        assert first["entries"][0]["key"] == "many/007.py::f"
        shown = [entry["key"] for entry in first["entries"]]
        tree.connection.run("?[key] <- [[$key]] :rm record {key}", {"key": shown[0]}, write=True)
        cursor = first["next"]
        while len(shown) < 140:
            answer = await agent.call("search", text="pie rhubarb7", limit=50, prefix="many/", cursor=cursor)
            shown += [entry["key"] for entry in answer["entries"]]
            cursor = answer["next"]
        assert len(set(shown)) == len(shown) == 140
        ended = await agent.refused("search", text="pie rhubarb7", prefix="many/", cursor=cursor)
        assert ended.startswith("an answer ends after 140 hits (")
        assert (await agent.call("search", text="zzzunknown"))["entries"] == []
        assert (await agent.text("search", text="zzzunknown")) == "nothing was found", "a deleted row is no work left"
        assert "no key begins with 'nowhere'" in await agent.refused("search", text="pie", prefix="nowhere")
        assert "there is no word to search for in '\"*\"'" in await agent.refused("search", text='"*"')

    in_process(URL, talk, search__embedding="none")


def test_who_calls_whom(tree: CozoStore) -> None:
    one, four = "src/a.py::one", "src/inner/b.js::four"
    edges = [
        Edge(one, EdgeKind.CALLS, four, FoundBy.NAME, 0.4),
        Edge("src/a.py::Two", EdgeKind.CALLS, four, FoundBy.IMPORT, 0.9),
        Edge("src/a.py", EdgeKind.IMPORTS, four, FoundBy.IMPORT, 0.9),
        Edge("src/a.py", EdgeKind.IMPORTS, "numpy", FoundBy.IMPORT, 0.9),
        Edge("src/a.py", EdgeKind.CONTAINS, one, FoundBy.GRAMMAR, 1.0),
    ]
    tree.graph.replace("/tree", edges)

    async def talk(agent: Agent) -> None:
        found = await agent.pages("callers", key="b.js::fo", limit=1)
        assert [(entry["key"], entry["relation"], entry["certainty"], entry["found_by"]) for entry in found] == [
            ("src/a.py::Two", "calls", 0.9, "import"),
            ("src/a.py", "imports", 0.9, "import"),
            (one, "calls", 0.4, "name"),
        ]
        assert found[0]["summary"]
        [called] = (await agent.call("callees", key=one))["entries"]
        assert called["key"] == four
        imported = (await agent.call("callees", key="src/a.py"))["entries"]
        assert [entry["key"] for entry in imported] == ["numpy", four]
        assert (await agent.call("callees", key=four))["entries"] == []
        cursor = (await agent.call("callers", key=four, limit=1))["next"]
        assert "not one of this call" in await agent.refused("callees", key=four, cursor=cursor)
        text = await agent.text("callers", key=four)
        assert text.startswith("calls (import, certainty 0.90): src/a.py::Two (class, python, line 5): It says")
        assert (await agent.text("callers", key=one)).startswith(f"none is known of {one}\n")
        for origin in ("/tree", str(Path("src").resolve())):
            tree.graph.replace(origin, [])
        assert "run dobby ingest again" in await agent.refused("callers", key=four)

    in_process(URL, talk)
