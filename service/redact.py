"""Redaction: what a message to a caller must not name. The log has the whole text."""

import re

from errata.errors import ErrataError, InvalidEvidence, InvalidSetting, ModelNotFound, PermanentError, Unavailable

ADDRESS, PATH, SCRIPT = "[address]", "[path]", "[script]"
_INTERNAL = (Unavailable, PermanentError, ModelNotFound, InvalidEvidence, InvalidSetting)
_HOST = r"[A-Za-z0-9_](?:[\w.-]*[\w])?"
_PATTERNS = tuple(
    (re.compile(pattern), placeholder)
    for pattern, placeholder in (
        (r"(?<![\w:])(?!models:)[a-z][a-z0-9+.-]*://[^\s'\",;)\]}>]+", ADDRESS),  # mlflow:models:// is a model's name
        (r"host='[^']*', port=\d+", ADDRESS),  # as urllib3 says it
        (r"(?<=resolve ')[^']+", ADDRESS),
        (r"@?\b(?:user_script|[\w-]+\.lua)(?::\d+)?\b", SCRIPT),
        (r"\bf_[0-9a-f]{40}\b", SCRIPT),  # what Redis calls a script
        (r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\](?::\d+)?", ADDRESS),
        (r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b", ADDRESS),
        (rf"(?<![\w.:/#@-])(?=[\w.-]*[A-Za-z]){_HOST}:\d{{2,5}}(?![\w:/]|\.\w)", ADDRESS),
        (r"\blocalhost\b", ADDRESS),
        (r"(?<=')~?/[^'\n]*(?=')", PATH),  # quoted, it may have blanks
        (r"(?<![\w.:/~*\])-])~?/[\w.@+~=-]+(?:/[\w.@+~=-]*)*", PATH),
    )
)


def redact(text: str) -> str:
    """Return a text without addresses, absolute paths, and names of scripts."""
    for pattern, placeholder in _PATTERNS:
        text = pattern.sub(placeholder, text)
    return text


def public_text(error: ErrataError, text: str) -> str:
    """Return one of an error's texts as a caller may read it.

    An error about the service's own machines is redacted. One about the caller's input quotes what the caller sent, and
    stays as it is.
    """
    return redact(text) if isinstance(error, _INTERNAL) else text


def public_message(error: ErrataError) -> str:
    """Return an error's message as a caller may read it."""
    return public_text(error, error.message)


def log_fields(error: ErrataError) -> dict[str, str]:
    """Return what the log has of an error about the service's own machines, and its caller does not read."""
    if not isinstance(error, Unavailable | PermanentError):
        return {}
    cause = {} if error.__cause__ is None else {"cause": f"{error.__cause__!r:.300}"}
    return {"error": str(error)} | cause
