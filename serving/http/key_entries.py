"""API keys as a file, or a variable, lists them."""

import hashlib
import stat
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from choreo.errors import InvalidInput
from serving.settings import Settings

FILE, VARIABLE = "api_keys_file", "api_keys"
"""The settings that keys are given in."""
MAX_BYTES: Final = 1 << 20
MAX_KEYS: Final = 10_000
MIN_CHARS: Final = 16
"""Shorter keys can be guessed."""

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ApiKey(BaseModel):
    """One entry of the file: a name, the key or its SHA-256 in hexadecimal, and limits that may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    key: str | None = Field(None, min_length=MIN_CHARS, max_length=4096, repr=False)
    sha256: _Digest | None = Field(None, repr=False)
    max_requests: int | None = Field(None, ge=1)
    """Requests at a time."""
    requests_per_minute: float | None = Field(None, gt=0, le=1e6)
    motion_seconds_per_minute: float | None = Field(None, gt=0, le=1e6)
    """Seconds of motion that are made, in requests and in jobs."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "ApiKey":
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("must have either key or sha256")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the key."""
        return bytes.fromhex(self.sha256) if self.sha256 else hashlib.sha256((self.key or "").encode()).digest()


class _KeysFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[ApiKey] = Field(min_length=1, max_length=MAX_KEYS)


def read_keys(path: Path) -> list[ApiKey]:
    """The keys of a file.

    Raises:
        InvalidInput: it cannot be read, others than its owner and group may read it, it is not what it should be, or
            two keys or names are equal. The message has no key in it.
    """
    try:
        if path.stat().st_mode & stat.S_IROTH:
            raise InvalidInput(FILE, f"{path} can be read by everybody; run chmod o-r on it")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(FILE, f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(FILE, f"{path} is larger than {MAX_BYTES} bytes")
    return parse_keys(data, FILE, f"{path}: ")


def given_keys(settings: Settings) -> list[ApiKey]:
    """The keys that the settings give; none where everybody may ask.

    Raises:
        InvalidInput: as `read_keys`, or they are given twice.
    """
    text = settings.api_keys.get_secret_value()
    if text and settings.api_keys_file is not None:
        raise InvalidInput(VARIABLE, f"gives keys, and so does {FILE}; only one of both may")
    if settings.api_keys_file is not None:
        return read_keys(settings.api_keys_file)
    return parse_keys(text.encode(), VARIABLE) if text else []


def parse_keys(data: bytes, field: str, prefix: str = "") -> list[ApiKey]:
    """The keys of a JSON document.

    Args:
        field: the setting at fault where it is wrong.
        prefix: of the message.

    Raises:
        InvalidInput: it is not what it should be, or two keys or names are equal. The message has no key in it.
    """
    try:
        keys = _KeysFile.model_validate_json(data).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise InvalidInput(field, f"{prefix}{where}: {first['msg']}") from None  # the cause quotes the keys
    for what, values in (("name", [key.name for key in keys]), ("key", [key.digest for key in keys])):
        if len(set(values)) < len(keys):
            raise InvalidInput(field, f"{prefix}the same {what} twice")
    return keys
