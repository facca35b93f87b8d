"""Where alerts go: a malformed address is one clear line, without its secret."""

import pytest

from dobby_dagster.domain.errors import SettingsError
from dobby_dagster.domain.secrets import redact
from dobby_dagster.domain.settings_loader import load_settings


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alert_webhook", "hooks.example/secret-part", "must be an http"),
        ("alert_webhook", "http://secret-part@host:99999", "must be a URL with a valid host and port"),
        ("alert_urls", ("slack.example/secret-part",), "each must be SERVICE://…"),
        ("alert_urls", ("json://ok/", "tgram://secret-part with spaces"), "each must be SERVICE://…"),
    ],
)
def test_an_address_that_can_not_be_one_is_refused_unseen(name: str, value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"automation.{name} = \*\*\* is invalid: {message}") as caught:
        load_settings({f"automation.{name}": value}, environment={})
    assert "secret-part" not in str(caught.value)


def test_addresses_are_shown_nowhere() -> None:
    given = {
        "automation.alert_webhook": "https://hooks.example/secret-part-0",
        "automation.alert_urls": (
            "tgram://123456:secret-part-1/@channel-of-ours",
            "mailto://me:secret-part-2@example.com",
        ),
    }
    loaded = load_settings(given, environment={})
    assert "secret-part" not in str(loaded.rows()) + repr(loaded.settings) + loaded.settings.model_dump_json()
    told = redact("bot123456:secret-part-1 of channel-of-ours, me:secret-part-2 at example.com")
    assert "secret-part" not in told
    assert "example.com" in told, "the name of a host is no secret"


def test_urls_come_from_the_environment_by_commas() -> None:
    environment = {"DOBBY_AUTOMATION_ALERT_URLS": "json://a/, slack://b/c/d"}
    urls = load_settings(environment=environment).settings.automation.alert_urls
    assert [url.get_secret_value() for url in urls] == ["json://a/", "slack://b/c/d"]
