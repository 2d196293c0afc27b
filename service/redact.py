"""Redaction of error messages: callers see no addresses, paths, or script names. Logs have the complete text."""

import re
from collections.abc import Iterable

from errata.errors import ErrataError, InvalidEvidence, InvalidSetting, ModelNotFound, PermanentError, Unavailable

ADDRESS, PATH, SCRIPT, CREDENTIALS = "[address]", "[path]", "[script]", "[credentials]"
_INTERNAL = (Unavailable, PermanentError, ModelNotFound, InvalidEvidence, InvalidSetting)
_HOST = r"[A-Za-z0-9_](?:[\w.-]*[\w])?"
_PATTERNS = tuple(
    (re.compile(pattern), placeholder)
    for pattern, placeholder in (
        # mlflow:models:// and wandb:// begin names of models.
        (r"(?<![\w:])(?!models:|wandb:)[a-z][a-z0-9+.-]*://[^\s'\",;)\]}>]+(?<!\.)", ADDRESS),
        (r"host='[^']*', port=\d+", ADDRESS),  # urllib3
        (r"(?<=resolve ')[^']+", ADDRESS),
        (r"@?\b(?:user_script|[\w-]+\.lua)(?::\d+)?\b", SCRIPT),
        (r"\bf_[0-9a-f]{40}\b", SCRIPT),  # the name that Redis gives a script
        (r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\](?::\d+)?", ADDRESS),
        (r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b", ADDRESS),
        (rf"(?<![\w.:/#@-])(?=[\w.-]*[A-Za-z]){_HOST}:\d{{2,5}}(?![\w:/]|\.\w)", ADDRESS),
        (r"\blocalhost\b", ADDRESS),
        (r"(?<=')~?/[^'\n]*(?=')", PATH),  # a quoted path may have spaces
        (r"(?<![\w.:/~*\])-])~?/[\w.@+~=-]+(?:/[\w.@+~=-]*)*(?<!\.)", PATH),
    )
)
_CREDENTIALS = re.compile(r"(?<!\S)\S+@|(?<=\?)\S+")  # user information and query of a URL, maybe without a scheme
# The text before the first `/`, `?`, or `#`, after user information, of a URL in which an `@` follows.
_CUT_USER_INFO = re.compile(r".*?://(?:[^/?#]*@)?([^/?#]+)[/?#].*@", re.DOTALL)


def redact(text: str) -> str:
    """Replace addresses, absolute paths, and script names in a text by placeholders."""
    for pattern, placeholder in _PATTERNS:
        text = pattern.sub(placeholder, text)
    return text


def mask_credentials(text: str, urls: Iterable[str] = ()) -> str:
    """Replace the user information and the queries of URLs in a text by a placeholder.

    Args:
        text: The text.
        urls: URLs that the text may quote. Libraries cut a URL at the first `/`, `?`, or `#`, also in a password, and
            name the part before it as the host. Therefore, this part is replaced if an `@` follows anywhere.
    """
    for url in urls:
        if cut := _CUT_USER_INFO.match(url):
            name = rf"(?<![\w.-]){re.escape(cut[1])}(?![\w-]|\.\w)"
            text = re.sub(name, CREDENTIALS, text, flags=re.IGNORECASE)  # urllib3 changes hosts to lower case
    return _CREDENTIALS.sub(CREDENTIALS, text)


def public_text(error: ErrataError, text: str) -> str:
    """Return a text of an error in the form that callers may see.

    Texts about the service's own machines are redacted. Texts about the caller's input only quote that input, so they
    stay unchanged.
    """
    return redact(text) if isinstance(error, _INTERNAL) else text


def public_message(error: ErrataError) -> str:
    """Return the message of an error in the form that callers may see."""
    return public_text(error, error.message)


def log_fields(error: ErrataError) -> dict[str, str]:
    """Return the log fields with the parts of an error that callers do not see; empty for errors of callers."""
    if not isinstance(error, Unavailable | PermanentError):
        return {}
    cause = {} if error.__cause__ is None else {"cause": f"{error.__cause__!r:.300}"}
    return {"error": str(error)} | cause
