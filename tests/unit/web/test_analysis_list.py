"""The links of the list."""

from service import wire
from service.analyses.request import MAX_TEXT
from service.domain import Cursor
from service.web.analysis_list import MAX_TOKEN_LENGTH


def test_the_position_after_the_longest_title_fits_into_a_link() -> None:
    selection = {"state": "", "dataset": "", "search": "😀" * 256, "order": "display_name"}

    token = wire.cursor_token(Cursor("😀" * MAX_TEXT, "a" * 64), wire.fields_key(selection))

    assert 4096 < len(token) <= MAX_TOKEN_LENGTH
