"""Texts that UTF-8 cannot encode, so that they can be neither sent nor stored."""


def surrogate_problem(text: str) -> str:
    """Return the problem and the remedy if a text has a lone surrogate; otherwise an empty text.

    JSON can escape a lone surrogate, and Python reads one for each byte of a file name that is not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        start = error.start
        return (
            f"The text {text[max(0, start - 20) : start + 20]!r:.80} has the lone surrogate U+{ord(text[start]):04X}, "
            "which is half of a character. Write the whole character, or remove the surrogate."
        )
    return ""
