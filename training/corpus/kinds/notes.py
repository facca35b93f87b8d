"""Plain text that people write: meeting notes, reports of faults, mails and lists, with a sentence that says what they are of."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from training.corpus.kinds import words
from training.corpus.kinds.found import listed, stated
from training.corpus.pair import Pair

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
TOPICS = [
    "the release",
    "the budget",
    "hiring",
    "the new office",
    "the data migration",
    "test coverage",
    "the website",
    "the roadmap",
    "customer feedback",
    "the security audit",
    "the move to the cloud",
    "the mobile app",
    "documentation",
    "the outage",
    "performance",
    "the database upgrade",
    "training",
    "the contract",
    "support tickets",
    "the conference",
    "the search page",
    "backups",
    "monitoring",
    "the login page",
    "accessibility",
    "the warehouse",
    "the price list",
    "the newsletter",
    "the annual report",
    "shipping",
]
TASKS = [
    "write the summary",
    "update the tickets",
    "call the supplier",
    "book the room",
    "fix the build",
    "review the draft",
    "send the invoice",
    "prepare the slides",
    "test the backup",
    "order new laptops",
    "rename the service",
    "clean up the wiki",
    "check the licences",
    "plan the rollout",
    "answer the customer",
    "measure the load time",
]
FAULTS = [
    "the page stays blank after login",
    "the export stops after 1,000 rows",
    "the search finds nothing with umlauts",
    "uploads over 10 MB fail",
    "the app crashes when rotated",
    "the total is shown twice",
    "dates are off by one day",
    "the sort order is lost on reload",
    "the password mail never arrives",
    "the chart has no legend",
    "the import ignores the last line",
    "the button does nothing in Firefox",
    "the server returns 500 for empty names",
    "the menu hides the title",
    "sessions end after a minute",
]
STEPS = [
    "Open the settings",
    "Log in as a guest",
    "Upload a file",
    "Press Save",
    "Reload the page",
    "Choose a date",
    "Sort by name",
    "Enter an empty name",
    "Switch to dark mode",
    "Open the second tab",
]


def notes(project: str, rng: random.Random, count: int) -> Iterator[Pair]:
    """Yield up to ``count`` texts."""
    makers: tuple[Callable[[random.Random], tuple[str, str]], ...] = (_meeting, _meeting, _report, _mail, _list)
    for _ in range(count):
        content, sentence = rng.choice(makers)(rng)
        pair = stated(project, "text", "notes", content, sentence)
        if pair is not None:
            yield pair


def _date(rng: random.Random) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)}"


def _meeting(rng: random.Random) -> tuple[str, str]:
    date, topics = _date(rng), rng.sample(TOPICS, rng.randint(2, 4))
    people = [name.capitalize() for name in rng.sample(words.NAMES, rng.randint(2, 4))]
    bullet = rng.choice(("- ", "* ", "", "1. "))
    lines = [
        f"{bullet}{topic.capitalize()}: {rng.choice(people)} {rng.choice(('will', 'wants to', 'is going to'))} {rng.choice(TASKS)}."
        for topic in topics
    ]
    title = rng.choice(
        ("Meeting notes, {}", "Notes of the meeting on {}", "Team meeting {}", "Minutes, {}", "Weekly sync, {}")
    ).format(date)
    content = (
        f"{title}{rng.choice(('.', ''))}\n{rng.choice(('Present', 'Attendees', 'With'))}: {', '.join(people)}\n\n"
        + "\n".join(lines)
        + "\n"
    )
    return content, f"Notes of a meeting on {date} about {listed(topics)}."


def _report(rng: random.Random) -> tuple[str, str]:
    fault, steps = rng.choice(FAULTS), rng.sample(STEPS, 3)
    numbered = "\n".join(f"{index}. {step}." for index, step in enumerate(steps, 1))
    expected = rng.choice(("It works as before.", "A message is shown.", "The page loads."))
    parts = [f"Steps to reproduce:\n{numbered}\n", f"Actual: {fault}.\n", f"Expected: {expected}\n"]
    if rng.random() < 0.4:
        parts.insert(0, parts.pop(1))
    return "\n".join(parts), f"A report that {fault}."


def _mail(rng: random.Random) -> tuple[str, str]:
    sender, receiver = (name.capitalize() for name in rng.sample(words.NAMES, 2))
    topic, task = rng.choice(TOPICS), rng.choice(TASKS)
    content = f"{rng.choice(('Hi', 'Hello', 'Dear'))} {receiver},\n\n{rng.choice(('about', 'regarding', 'a word on'))} {topic}: could you {task} by {_date(rng)}?\n{rng.choice(('Thanks a lot.', 'Let me know if that works.', 'Call me with any questions.'))}\n\n{rng.choice(('Best', 'Regards', 'Cheers'))},\n{sender}\n"
    return content, f"A mail from {sender} that asks {receiver} to {task}."


def _list(rng: random.Random) -> tuple[str, str]:
    tasks = rng.sample(TASKS, rng.randint(3, 5))
    mark = rng.choice(("- [ ] ", "- ", "* ", "[ ] "))
    content = (
        f"{rng.choice(('TODO', 'To do', 'Tasks for today', 'Open points'))}\n"
        + "\n".join(f"{mark}{task.capitalize()}" for task in tasks)
        + "\n"
    )
    return content, f"A list of tasks such as to {tasks[0]} and to {tasks[1]}."
