"""Which secrets go to which address: those that were configured with it, and nowhere else."""

from __future__ import annotations

import logging

from pydantic import SecretStr

from dobby_dagster.domain.addresses import same_address
from dobby_dagster.domain.settings import DatabaseSettings, ModelSettings, Settings

_log = logging.getLogger("dobby.secrets")
_log.setLevel(logging.WARNING)


class Keyring:
    """The secrets of the settings, each kept with the address that it stands beside.

    A run's configuration may name another address: whoever may launch runs would else have the secrets sent there.

    Args:
        settings: Where the secrets are; without, there are none.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._database = settings.database if settings else DatabaseSettings()
        self._model = settings.model if settings else ModelSettings()

    def for_database(self, url: str) -> dict[str, SecretStr]:
        """``auth`` and ``credentials`` for the database at ``url``."""
        mine = {"auth": self._database.auth, "credentials": self._database.credentials}
        return self._given(mine, "database", self._database.url, url)

    def for_model(self, url: str) -> dict[str, SecretStr]:
        """``api_key`` and ``credentials`` for the model server at ``url``."""
        mine = {"api_key": self._model.api_key, "credentials": self._model.credentials}
        return self._given(mine, "model", self._model.url, url)

    @staticmethod
    def _given(mine: dict[str, SecretStr | None], section: str, configured: str, asked: str) -> dict[str, SecretStr]:
        present = {name: secret for name, secret in mine.items() if secret is not None}
        if not present or same_address(configured, asked):
            return present
        _log.warning("%s.url of this run is not the one in the settings: it is asked without the %s of that one",
                     section, " and ".join(present))  # fmt: skip
        return {}
