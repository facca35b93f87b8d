"""An embedding of an OpenAI-compatible server, by its ``/embeddings``; what it answers is not trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, NonNegativeInt
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from dobby_dagster.domain.errors import ModelError, ModelServerError
from dobby_dagster.domain.http_client import HttpClient
from dobby_dagster.domain.http_reply import Reply
from dobby_dagster.domain.secrets import basic_authorization
from dobby_dagster.domain.settings import SearchSettings
from dobby_dagster.inference.remote.completion import parsed, validated
from dobby_dagster.inference.remote.completion_attempt import AttemptError, attempt

if TYPE_CHECKING:
    import numpy as np

# Texts of one request, and characters of one text: more do not fit the context of common embeddings.
AT_ONCE = 32
READ_CHARACTERS = 6_000
ATTEMPTS = 3
LARGEST_SIZE = 8_192


class _Vector(BaseModel):
    index: NonNegativeInt
    embedding: Annotated[
        list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=LARGEST_SIZE)
    ]


class _Vectors(BaseModel):
    data: list[_Vector]


class ServerEmbedder:
    """Asks a server for vectors; nothing is sent before the first text.

    Args:
        settings: With ``url`` and ``served_name``.
    """

    def __init__(self, settings: SearchSettings) -> None:
        self._settings = settings
        self._http: HttpClient | None = None
        self._size: int | None = None

    @property
    def revision(self) -> str:
        """A stand-in: the server's files can't be read, so name and size stand for them, whatever the address.

        Raises:
            ModelError: The server had to be asked for the size, and does not answer; see :meth:`embed`.
        """
        if self._size is None:
            self.embed(["size"])
        return hashlib.sha256(f"served embedding\0{self._settings.served_name}\0{self._size}".encode()).hexdigest()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """See :meth:`~dobby_dagster.inference.embedding.embedder.Embedder.embed`.

        Raises:
            ModelServerError: The server does not answer.
            ModelError: It refuses, or its answer is malformed.
        """
        import numpy as np

        from dobby_dagster.inference.embedding.unit_rows import unit_rows

        parts = [self._part(texts[begin : begin + AT_ONCE]) for begin in range(0, len(texts), AT_ONCE)]
        if len({part.shape[1] for part in parts}) > 1:
            raise self._malformed("its vectors are of several sizes")
        if parts:
            self._require_size(parts[0].shape[1])
        return unit_rows(np.concatenate(parts) if parts else np.zeros((0, 1), np.float32))

    def _require_size(self, size: int) -> None:
        """Refuse vectors of another size than those before; the next ones may have the new size."""
        before, self._size = self._size, size
        if before not in (None, size):
            raise ModelError(
                f"the vectors of {self._settings.served_name} have {size:,} numbers now, and had {before:,} before",
                hint="make them again: dobby search --update",
            )

    def _part(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        # An empty text is an error on many servers.
        asked = [text[:READ_CHARACTERS].strip() or "-" for text in texts]
        body = {"model": self._settings.served_name, "input": asked, "encoding_format": "float"}
        reply = self._asked(body)
        try:
            data = sorted(validated(_Vectors, parsed(reply.body)).data, key=lambda each: each.index)
        except ValueError as error:
            raise self._malformed(str(error)) from None
        if [each.index for each in data] != list(range(len(texts))):
            raise self._malformed(f"{len(texts):,} texts have other vectors than one each")
        if len({len(each.embedding) for each in data}) != 1:
            raise self._malformed("its vectors are of several sizes")
        with np.errstate(over="ignore"):
            found = np.array([each.embedding for each in data], np.float32)
        if not np.isfinite(found).all():
            raise self._malformed("a number in a vector is too large")
        return found

    def _asked(self, body: Mapping[str, object]) -> Reply:
        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, AttemptError) and error.retryable),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(0.3, 5),
            reraise=True,
        )
        try:
            return retrying(attempt, self._client(), "POST", "/embeddings", body)
        except AttemptError as error:
            if error.retryable:
                raise ModelServerError(
                    f"the embedding server {self._settings.url} does not answer: {error}",
                    hint='start it, or set search.embedding = "built-in" and no search.url',
                ) from None
            raise ModelError(
                f"the embedding server {self._settings.url} answered {error}",
                hint="check search.url, search.served_name and search.api_key",
            ) from None

    def _client(self) -> HttpClient:
        if self._http is None:
            settings, headers = self._settings, {}
            if settings.api_key:
                headers = {"authorization": f"Bearer {settings.api_key.get_secret_value()}"}
            elif settings.credentials:
                headers = {"authorization": basic_authorization(settings.credentials)}
            self._http = HttpClient(settings.url, headers, settings.timeout_seconds, 1)
        return self._http

    def _malformed(self, why: str) -> ModelError:
        return ModelError(
            f"{self._settings.url} is not an OpenAI-compatible embedding server: {why}",
            hint="does search.url end in /v1?",
        )
