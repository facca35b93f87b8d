"""The settings of a model that a server runs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from dobby_dagster.domain.addresses import move_credentials, web_address
from dobby_dagster.domain.secrets import OptionalCredentials, OptionalHeaderSecret
from dobby_dagster.domain.settings_section import Section


def _server_url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must be an http:// or https:// URL, such as http://127.0.0.1:8000/v1")
    return web_address(value) if value else ""


ServerUrl = Annotated[str, AfterValidator(_server_url)]


class ServedModelSettings(Section):
    """A section whose model may be run by a server that speaks OpenAI's API."""

    url: ServerUrl = Field("", description="URL of an OpenAI-compatible server to use instead of a local model.")
    served_name: str = Field("", description="Name of the model on that server; required with url.")
    api_key: OptionalHeaderSecret = Field(None, description="API key of that server.")
    credentials: OptionalCredentials = Field(
        None, description="USER:PASSWORD, instead of a key; taken from url if given there."
    )
    timeout_seconds: float = Field(120.0, gt=0, description="Timeout of one request to that server.")

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_url(cls, values: Any) -> Any:
        return move_credentials(values)

    @model_validator(mode="after")
    def _named(self) -> ServedModelSettings:
        if self.url and not self.served_name.strip():
            raise ValueError("served_name must say which model of the server is meant")
        return self
