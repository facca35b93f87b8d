"""All tools: their names, what they take and answer, and the function of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dobby_dagster.agent_server.answer import Answer
from dobby_dagster.agent_server.arguments import Arguments, parsed
from dobby_dagster.agent_server.changes_since import Changes, ChangesArguments, changes_since
from dobby_dagster.agent_server.database_status import DatabaseStatus, StatusArguments, status
from dobby_dagster.agent_server.outline import Outline, OutlineArguments, outline
from dobby_dagster.agent_server.reading import LoadSettings, Reading, reading
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

    def call(self, load: LoadSettings, given: Mapping[str, Any]) -> Answer:
        """Answer one call.

        Raises:
            DobbyError: The arguments are wrong, or the database can't be read.
        """
        arguments = parsed(self.arguments, given)
        with reading(load) as use:
            return self.function(use, arguments)


TOOLS = {
    "show": Tool(
        "Show a record",
        "One record: its summary, its state, and its content, a part at a time.",
        ShowArguments,
        ShownRecord,
        show,
    ),
    "outline": Tool(
        "Outline a path",
        "What a folder, a file or a class consists of, with the summary of each part. Begin here to find your way.",
        OutlineArguments,
        Outline,
        outline,
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
