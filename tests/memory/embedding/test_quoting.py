"""A provider's words without a message's."""

import pytest

from memory.embedding.quoting import WITHHELD, without_quotes

SAID = "I fear peanuts in the dark,\nand my sister knows it"


@pytest.mark.parametrize(
    "reason",
    [
        "OpenAI answered 503: The server is overloaded, try again later",
        "OpenAI answered 400: This model's maximum context length is 8192 tokens",
        "OpenAI gave no answer (ReadTimeout)",
        "",
    ],
)
def test_what_quotes_nothing_stays(reason: str) -> None:
    assert without_quotes(reason, [SAID, "", "  ", "no", "a", "server of a friend"]) == reason


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        (f"answered 422: too long: '{SAID}'", "answered 422: too long: '"),
        (f"answered 422: {[SAID]!r}", "answered 422: ['"),
        (f"answered 422: in '...{SAID[7:30]}...'", "answered 422: in '..."),
        (f"answered 422: cut off, '{SAID[:9]}", "answered 422: cut off, '"),
    ],
    ids=["whole", "escaped", "a piece", "cut off"],
)
def test_a_quotation_and_what_follows_is_withheld(reason: str, left: str) -> None:
    shown = without_quotes(reason, ["another message of the batch", SAID])
    assert shown.endswith(WITHHELD)
    assert shown.removesuffix(WITHHELD).rstrip().startswith(left.rstrip(" '[."))
    for piece in ("peanuts", "fear", "sister"):
        assert piece not in shown


def test_a_short_message_is_found_where_it_is_quoted() -> None:
    assert without_quotes("400: input='HIV' is short", ["HIV"]) == f"400: input= {WITHHELD}"
    assert without_quotes("400: is no HIV text", ["no", "HIV"]) == "400: is no HIV text"
