"""Secrets: what they may be, where they go, and that they are written nowhere."""

import base64
import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dobby_dagster.definitions import build_definitions
from dobby_dagster.domain.addresses import is_loopback, mask_credentials, same_address
from dobby_dagster.domain.errors import DobbyError, SettingsError
from dobby_dagster.domain.keyring import Keyring
from dobby_dagster.domain.secrets import detach_secrets, learn, redact
from dobby_dagster.domain.settings import DatabaseSettings, SourceSettings
from dobby_dagster.domain.settings_loader import is_secret, load_settings, setting_names
from dobby_dagster.pipeline.planning.planner import plan
from dobby_dagster.store.cozo_store import CozoStore
from dobby_dagster_tests.helpers.command import PROCESS, Dobby
from dobby_dagster_tests.helpers.cozo_server import running_server
from dobby_dagster_tests.helpers.model_server import Reply, Scripted, said
from dobby_dagster_tests.helpers.records import put

SERVED = {"model.served_name": "m"}


def shown_settings(**named: object) -> str:
    arguments = SERVED | {name.replace("__", "."): value for name, value in named.items()}
    return str(load_settings(arguments, environment={}).rows())


@pytest.mark.parametrize("value", ["sk-LEAKED\nKEY", "sk-LEAKED\0KEY", "sk-LEAKED-KÉY", "sk-LEAKED\x1bKEY"])
@pytest.mark.parametrize("name", ["model.api_key", "database.auth"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=r"= \*\*\* is invalid: must be printable ASCII") as caught:
        load_settings({name: value}, environment={})
    assert "LEAKED" not in str(caught.value)


def test_a_line_end_of_a_file_is_no_part_of_a_key_and_an_empty_one_is_none() -> None:
    environment = {"DOBBY_MODEL_API_KEY": "sk-from-a-file\n", "DOBBY_DATABASE_AUTH": " "}
    settings = load_settings(environment=environment).settings
    assert settings.model.api_key is not None
    assert settings.model.api_key.get_secret_value() == "sk-from-a-file"
    assert settings.database.auth is None


@pytest.mark.parametrize("section", ["model", "database"])
def test_credentials_leave_the_url(section: str) -> None:
    url = {f"{section}.url": "http://user:p%40ss-HIDDEN@127.0.0.1:9061/v1"}
    loaded = load_settings(SERVED | url, environment={})
    found = getattr(loaded.settings, section)
    assert found.url == "http://127.0.0.1:9061/v1"
    assert found.credentials.get_secret_value() == "user:p@ss-HIDDEN"
    assert "HIDDEN" not in str(loaded.rows()) + repr(loaded.settings) + loaded.settings.model_dump_json()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:HIDDEN#@host/v1",
        "http://user:HIDDEN/x@host/v1",
        "http://user:HIDDEN@host:70000",
        "http://user:HIDDEN@[::1",
        "http://host/v1?key=HIDDEN",
        "http://user:HIDDEN@host/v1#x",
        "ftp://user:HIDDEN@host",
        "user:HIDDEN@host",
    ],
)
@pytest.mark.parametrize("name", ["model.url", "database.url"])
def test_a_url_that_is_refused_is_shown_without_what_is_secret_in_it(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} = .* is invalid") as caught:
        load_settings(SERVED | {name: url}, environment={})
    assert "HIDDEN" not in str(caught.value)


def test_an_error_about_a_whole_section_shows_none_of_it() -> None:
    with pytest.raises(SettingsError, match="^model: served_name must say") as caught:
        load_settings({"model.url": "http://h/v1", "model.api_key": "HIDDEN-1"}, environment={})
    assert "HIDDEN" not in str(caught.value)


def test_every_secret_is_masked_where_settings_are_shown() -> None:
    shown = shown_settings(
        model__api_key="HIDDEN-KEY",
        database__auth="HIDDEN-TOKEN",
        automation__alert_webhook="https://hooks.example/HIDDEN-PATH",
        automation__alert_command=("curl", "-H", "Authorization: Bearer HIDDEN-ARGUMENT"),
        automation__alert_urls=("tgram://HIDDEN-TOKEN/HIDDEN-CHAT", "mailto://user:HIDDEN-WORD@example.com"),
    )
    assert "HIDDEN" not in shown
    assert {name for name in setting_names() if is_secret(name)} == {
        *("model.api_key", "model.credentials", "database.auth", "database.credentials"),
        *("automation.alert_webhook", "automation.alert_command", "automation.alert_urls", "monitor.token"),
        *("mcp.token", "search.api_key", "search.credentials"),
    }


def test_errors_and_logs_of_any_library_are_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    load_settings({"model.api_key": 'sk-"quoted"/HIDDEN+1'}, environment={})
    for form in ('sk-"quoted"/HIDDEN+1', 'sk-\\"quoted\\"/HIDDEN+1', "sk-%22quoted%22%2FHIDDEN%2B1"):
        assert "HIDDEN" not in str(DobbyError(f"the server says: {form}.", hint=form))
        logging.getLogger("httpx").warning("HTTP Request: %s", form)
        try:
            raise ValueError(form)
        except ValueError:
            logging.getLogger("another").exception("failed")
    assert "HTTP Request: ***" in caplog.text
    assert "HIDDEN" not in caplog.text


def test_a_short_secret_is_a_whole_word_and_a_shorter_one_none() -> None:
    learn("tokens")
    learn("none")
    assert redact("tokens, tokenstream, none") == "***, tokenstream, none"


def test_causes_that_hold_a_secret_are_detached() -> None:
    learn("HIDDEN-CAUSE-1")
    plain, secret = ValueError("plain"), ValueError("HIDDEN-CAUSE-1")
    plain.__cause__ = secret
    error = DobbyError("told")
    error.__cause__ = plain
    assert detach_secrets(error) is error
    assert error.__cause__ is plain
    assert plain.__cause__ is None


def test_a_secret_goes_to_the_address_that_it_stands_beside_only(caplog: pytest.LogCaptureFixture) -> None:
    arguments = {
        **SERVED,
        "model.url": "http://Model.example:80/v1/",
        "model.api_key": "key-of-the-model",
        "database.url": "https://user:word-of-it@db.example",
        "database.auth": "token-of-the-database",
    }
    keyring = Keyring(load_settings(arguments, environment={}).settings)
    assert keyring.for_model("http://model.example/v1").keys() == {"api_key"}
    assert keyring.for_database("https://db.example:443/").keys() == {"auth", "credentials"}
    assert not caplog.records
    for url in (
        "http://evil.example/v1",
        "https://model.example/v1",
        "http://model.example:81/v1",
        "http://model.example",
    ):
        assert keyring.for_model(url) == {}
    assert keyring.for_database("sqlite:///x.db") == keyring.for_database("http://db.example") == {}
    assert len(caplog.records) == 6
    assert "word-of-it" not in caplog.text


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"MODEL_PATH": ""}, "model.path"),
        ({"MODEL_PATH": "  "}, "model.path"),
        ({"DOBBY_PROMPT_ID": ""}, "prompt.id"),
        ({"DOBBY_DAGSTER_HOME": ""}, "dagster.home"),
        ({"DATABASE_URL": ""}, "database.url"),
    ],
)
def test_an_empty_name_is_refused(environment: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} = ''|{name} = '  '"):
        load_settings(environment=environment)


@pytest.mark.parametrize("variable", ["DOBBY_AUTOMATION_BACKUP_FOLDER", "DOBBY_PROMPT_FILE", "DOBBY_SOURCE_LANGUAGE"])
def test_an_empty_variable_of_what_may_be_unset_is_unset(variable: str) -> None:
    assert load_settings(environment={variable: ""}).settings == load_settings(environment={}).settings


def test_addresses() -> None:
    assert same_address("http://[::1]:80/v1", "http://[::1]/v1/")
    assert not same_address("http://a/v1", "http://a/v2")
    assert is_loopback("http://127.8.0.1:1")
    assert is_loopback("http://0.0.0.0:1")
    assert not is_loopback("http://localhost.example")
    assert mask_credentials("sqlite:///a@b.db") == "sqlite:///a@b.db"


KEY = "sk-SECRET-KEY-0123456789"
HOOK = "/services/SECRET-HOOK-0123456789"
ARGUMENT = "SECRET-ARGUMENT-0123456789"
PASSWORD = "SECRET-PASSWORD-0123456789"
SERVICE = "SECRET-SERVICE-0123456789"


def echoing(number: int, body: dict[str, Any], key: str = KEY) -> Reply:
    """A server that writes the key into whatever it says."""
    content = body["messages"][-1]["content"]
    if "+ 1" in content:
        return 400, {}, {"error": {"message": f"{'x' * 170} Incorrect API key provided: {key}"}}
    if "+ 2" in content:
        return 200, {}, {"error": {"message": f"no such key {key}", "code": 400}}
    if "+ 3" in content:
        return 200, {}, {"choices": [{"message": {"content": 7}, key: key}], "usage": key}
    return said(f"Returns the sum of its arguments {key} here.")


@pytest.mark.slow
@pytest.mark.parametrize("refused", [False, True])
def test_no_secret_is_written_anywhere(tmp_path: Path, refused: bool) -> None:
    """A run with every kind of secret against a server that echoes them; then all that was written is searched."""
    database, home = f"sqlite:///{tmp_path}/records.db", tmp_path / "home"
    put(CozoStore.open(DatabaseSettings(url=database)), {f"k{i}": f"def f(a):\n    return a + {i}\n" for i in range(6)})

    def reply(number: int, body: dict[str, Any]) -> Reply:
        return (401, {}, {"error": f"bad credentials: user:{PASSWORD}"}) if refused else echoing(number, body)

    with Scripted(reply) as server:
        url = server.url.replace("http://", f"http://user:{PASSWORD}@") if refused else server.url
        environment = {
            **os.environ,
            "DATABASE_URL": database,
            "DAGSTER_HOME": str(home),
            "DOBBY_MODEL_URL": url,
            "DOBBY_MODEL_SERVED_NAME": "small",
            "DOBBY_AUTOMATION_ALERT_WEBHOOK": f"https://hooks.example{HOOK}",
            "DOBBY_AUTOMATION_ALERT_COMMAND": f"curl,-H,Authorization: Bearer {ARGUMENT}",
            "DOBBY_AUTOMATION_ALERT_URLS": f"json://user:{SERVICE}@127.0.0.1:9/{SERVICE}/,tgram://{SERVICE}",
            **({} if refused else {"DOBBY_MODEL_API_KEY": f"{KEY}\n"}),
        }
        said_by = [
            subprocess.run(
                [*PROCESS, *command],
                env=environment, capture_output=True, check=False, cwd=tmp_path, timeout=600,
            )
            for command in (
                ["-v", "summarize", "--show", "9"], ["config", "--json"], ["export", "--format", "jsonl"],
                ["-v", "alerts", "--test"], ["-v", "alerts"],
            )
        ]  # fmt: skip
        sent = set(server.keys)
    assert sent == (
        {"Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()} if refused else {f"Bearer {KEY}"}
    )
    written = {f"stdout of {i}": done.stdout for i, done in enumerate(said_by)}
    written |= {f"stderr of {i}": done.stderr for i, done in enumerate(said_by)}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(b"arguments *** here" in text for text in written.values()) is not refused
    for name, text in written.items():
        for secret in (KEY, HOOK, ARGUMENT, PASSWORD, SERVICE):
            assert secret.encode() not in text, f"{name} holds {secret}"
        for part in ("sk-SECRET", "SECRET-HOOK", "SECRET-ARG", "SECRET-PASS", "SECRET-SERV"):
            assert part.encode() not in text, f"{name} holds a part of a secret"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["summarize", "backfill"])
def test_secrets_that_stand_only_in_a_named_file_are_used(
    dobby: Dobby, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(token="token-of-the-server") as database, Scripted(lambda n, body: said()) as server:
        Path("mine.toml").write_text(
            f"""[database]
url = "{database.url}"
auth = "token-of-the-server"
[model]
url = "{server.url}"
served_name = "small"
api_key = "key-of-the-model"
"""
        )
        store = CozoStore.open(load_settings(file=Path("mine.toml"), environment={}).settings.database)
        put(store, {"a": "def f(a):\n    return a\n"})
        plan(store, store.source(SourceSettings()), 5)
        Path("dobby.toml").write_text("this is no TOML")
        everything = ["--all"] if command == "backfill" else ["--show", "0"]
        answer = dobby(command, *everything, "--config", "mine.toml")
        assert answer.code == 0, answer.err
        assert set(server.keys) == {"Bearer key-of-the-model"}
        assert store.reports.status("record", store.recipes.latest())["completed"] == 1


@pytest.mark.slow
def test_a_launchpad_that_names_other_servers_gets_no_secret(tmp_path: Path) -> None:
    """What a web page could launch, if the guard before the UI were not there."""
    url = f"sqlite:///{tmp_path}/records.db"
    mine = {"database.url": url, "model.url": "http://127.0.0.1:9/v1", "model.api_key": "key-of-the-model", **SERVED}
    settings = load_settings(mine, environment={}).settings
    store = CozoStore.open(settings.database)
    put(store, {"a": "def f(a):\n    return a\n"})
    plan(store, store.source(SourceSettings()), 5)
    definitions = build_definitions(settings)
    with Scripted(lambda n, body: said()) as evil, dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("record_batches", ["batch-000001"])
        model = {"url": evil.url, "served_name": "small"}
        config = {"resources": {"models": {"config": {"model": model, "inference": {}, "prompt": {}}}}}
        job = definitions.resolve_job_def("summarize_batches")
        job.execute_in_process(config, instance=instance, partition_key="batch-000001", raise_on_error=False)
        assert evil.asked, "the run did ask the other server"
        assert set(evil.keys) == {None}


def test_a_database_of_a_launchpads_gets_no_secret() -> None:
    mine = {"database.url": "http://user:word-of-mine@127.0.0.1:9", "database.auth": "token-of-mine"}
    definitions = build_definitions(load_settings(mine, environment={}).settings)
    with Scripted(lambda n, body: (401, {}, {})) as evil, dg.instance_for_test() as instance:
        config = {"resources": {"database": {"config": {"url": evil.url, "source": {}}}}}
        job = definitions.resolve_job_def("recover_from_crash")
        assert not job.execute_in_process(config, instance=instance, raise_on_error=False).success
        assert evil.asked
        assert set(evil.keys) == {None}
        assert set(evil.tokens) == {None}
