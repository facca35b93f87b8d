"""All tools: their names, what they take and answer, and the function of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dobby_dagster.agent_server.answer import Answer
from dobby_dagster.agent_server.arguments import Arguments, parsed
from dobby_dagster.agent_server.call_graph import CalleesArguments, CallersArguments, Neighbours, callees, callers
from dobby_dagster.agent_server.changes_since import Changes, ChangesArguments, changes_since
from dobby_dagster.agent_server.database_status import DatabaseStatus, StatusArguments, status
from dobby_dagster.agent_server.outline import Outline, OutlineArguments, outline
from dobby_dagster.agent_server.reading import Database, Reading
from dobby_dagster.agent_server.search_summaries import Hits, SearchArguments, search_summaries
from dobby_dagster.agent_server.show_record import ShowArguments, ShownRecord, show


@dataclass(frozen=True)
class Tool:
    """A tool.

    Attributes:
        title: For people.
        description: For the agent, when to use it.
        arguments: What it takes.
        answer: What it answers.
        function: What it does.
    """

    title: str
    description: str
    arguments: type[Arguments]
    answer: type[Answer]
    function: Callable[[Reading, Any], Answer]

    def call(self, database: Database, given: Mapping[str, Any]) -> Answer:
        """Answer one call.

        Raises:
            DobbyError: The arguments are wrong, or the database can't be read.
        """
        arguments = parsed(self.arguments, given)
        reading = database.read()
        with reading.session():
            return self.function(reading, arguments)


TOOLS = {
    "search": Tool(
        "Search",
        "Records that do what a text says, or have its identifiers, the best first. Begin here to find something.",
        SearchArguments,
        Hits,
        search_summaries,
    ),
    "show": Tool(
        "Show a record",
        "One record: its summary, its state, and its content, a part at a time.",
        ShowArguments,
        ShownRecord,
        show,
    ),
    "outline": Tool(
        "Outline a path",
        "What a folder, a file or a class consists of, with the summary of each part. Begin here to get an overview.",
        OutlineArguments,
        Outline,
        outline,
    ),
    "callers": Tool(
        "Callers",
        "What calls or imports a record, with the summary of each caller, the most certain first.",
        CallersArguments,
        Neighbours,
        callers,
    ),
    "callees": Tool(
        "Callees",
        "What a record calls or imports, with the summary of each, the most certain first.",
        CalleesArguments,
        Neighbours,
        callees,
    ),
    "changes_since": Tool(
        "Changes since a time",
        "Records that are new, changed or deleted since a time, and those whose summary is new.",
        ChangesArguments,
        Changes,
        changes_since,
    ),
    "status": Tool(
        "Status",
        "How many records there are, how many of them are summarised, by which model, and when it last changed.",
        StatusArguments,
        DatabaseStatus,
        status,
    ),
}
