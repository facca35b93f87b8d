"""The settings of a process, whose secrets are sent only to the address that they were configured with."""

from __future__ import annotations

import logging

from pydantic import SecretStr

from dobby_dagster.domain.addresses import same_address
from dobby_dagster.domain.settings import Settings

_log = logging.getLogger("dobby.secrets")
_log.setLevel(logging.WARNING)


class Keyring:
    """The settings, with each secret bound to the address in the same section.

    A run's configuration may name another address; without this binding, anybody who may launch runs could have the
    secrets sent there.

    Args:
        settings: The settings with the secrets; without them there are none.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    def for_database(self, url: str) -> dict[str, SecretStr]:
        """``auth`` and ``credentials`` for the database at ``url``."""
        secrets = {"auth": self.settings.database.auth, "credentials": self.settings.database.credentials}
        return self._given(secrets, "database", self.settings.database.url, url)

    def for_model(self, url: str) -> dict[str, SecretStr]:
        """``api_key`` and ``credentials`` for the model server at ``url``."""
        secrets = {"api_key": self.settings.model.api_key, "credentials": self.settings.model.credentials}
        return self._given(secrets, "model", self.settings.model.url, url)

    @staticmethod
    def _given(secrets: dict[str, SecretStr | None], section: str, configured: str, url: str) -> dict[str, SecretStr]:
        present = {name: secret for name, secret in secrets.items() if secret is not None}
        if not present or same_address(configured, url):
            return present
        _log.warning("%s.url of this run differs from the settings: it gets no %s",
                     section, " and ".join(present))  # fmt: skip
        return {}
