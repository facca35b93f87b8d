"""``dobby dev`` with wrong arguments: one line before anything is started."""

from pathlib import Path

import pytest

from dobby_dagster.cli.server.listening_address import listen
from dobby_dagster_tests.helpers.command import Dobby
from dobby_dagster_tests.helpers.records import fill

BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no database": (("-d", "sqlite:///typo.db"), "there is no database at sqlite:///typo.db"),
    "no relation": (("--relation", "code_dat"), "has no relation 'code_dat' (did you mean 'code_data'?)"),
    "no key": (("--relation", "code_data"), "has no column 'key'"),
    "no model": (
        (*(them := ("--relation", "code_data", "--key", "id")), "--model", "nope"),
        "there is no model 'nope'",
    ),
    "no address": ((*them, "--host", ""), "--host is empty"),
    "an unknown address": ((*them, "--host", "nosuch.invalid"), "--host 'nosuch.invalid' is unknown"),
    "no port": ((*them, "--port", "70000"), "--port 70000 is out of range (from 1 to 65535, or 0 for any free port)"),
    "no port of the monitor": (
        (*them, "--config", "bad.toml"),
        "monitor.port = 70000 is invalid: must be less than or",
    ),
    "a monitor's port that is taken": (
        (*them, "--port", "0", "--config", "taken.toml"),
        "can't be listened on: Address already in use (see monitor.host",
    ),
    "a monitor for others without a token": (
        (*them, "--port", "0", "--config", "open.toml"),
        "monitor.host 0.0.0.0 can be reached by others, and monitor.token is not set (set DOBBY_MONITOR_TOKEN",
    ),
    "a port that is taken": ((*them, "--port", "TAKEN"), "can't be listened on: Address already in use"),
}


@pytest.mark.parametrize("name", BAD)
def test_dev_says_what_is_wrong_before_it_starts_anything(dobby: Dobby, name: str) -> None:
    fill({"a": "def f(): pass"})
    arguments, message = BAD[name]
    [taken] = listen("127.0.0.1", 0)
    with taken:
        port = str(taken.getsockname()[1])
        for file, setting in (("bad", "port = 70000"), ("taken", f"port = {port}"), ("open", "host = '0.0.0.0'")):
            Path(f"{file}.toml").write_text(f"[monitor]\n{setting}\n")
        answer = dobby("dev", "-d", "sqlite:///code.db", *(port if value == "TAKEN" else value for value in arguments))
    assert answer.code != 0
    [line] = answer.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not Path("typo.db").exists()
    assert not Path(".dagster_home/served.json").exists()
