"""Validation of text prompts."""

import unicodedata

from choreo.errors import InvalidInput

MAX_CHARS = 1000


def check_text(text: object, field: str = "text_prompt", max_chars: int = MAX_CHARS) -> str:
    """The prompt without surrounding white space.

    Line breaks and tabs are allowed; other control characters and lone surrogates are not.

    Raises:
        InvalidInput: not a string, empty, too long, or with a character that is not allowed.
    """
    if not isinstance(text, str):
        raise InvalidInput(field, f"must be text, got {type(text).__name__}")
    # Length first: a huge string is refused before it is stripped and scanned.
    if len(text) > max_chars:
        raise InvalidInput(field, f"must have at most {max_chars} characters, got {len(text)}")
    stripped = text.strip()
    if not stripped:
        raise InvalidInput(field, "must not be empty")
    for character in stripped:
        if character not in "\n\r\t" and unicodedata.category(character) in ("Cc", "Cs"):
            raise InvalidInput(field, f"must not hold control characters, got U+{ord(character):04X}")
    return stripped
