"""The words of a text, and what of addresses, numbers, names and code can be asked for."""

import pytest

from memory.lexical.tokens import COMPOUND_MAX_CHARS, Token, pieces, tokens
from tests.memory.lexical.finding import found_by

MAIL = "Write to anna.smith@example.com, please."
PAGE = "It is on https://shop.example.com/items/4711?size=xl#top now."
FILE = "Open /etc/nginx/sites-enabled/default.conf first."
CODE = "Then get_user_name() calls parseHTTPHeader2 and MAX_ROWS."


def words(text: str, *, query: bool = False) -> list[str]:
    return [
        token.text for piece, inside in pieces(text) for token in tokens(piece, inside, query=query)
    ]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("anna.smith@example.com", MAIL),
        ("Anna.Smith@Example.COM", MAIL),
        ("anna", MAIL),
        ("smith", MAIL),
        ("example.com", MAIL),
        ("https://shop.example.com/items/4711?size=xl#top", PAGE),
        ("shop.example.com/items/4711", PAGE),
        ("4711", PAGE),
        ("/etc/nginx/sites-enabled/default.conf", FILE),
        ("default.conf", FILE),
        ("sites-enabled", FILE),
        ("nginx", FILE),
        (r"C:\Users\anna\tax_2024.pdf", r"It lies in C:\Users\anna\tax_2024.pdf."),
        ("tax_2024.pdf", r"It lies in C:\Users\anna\tax_2024.pdf."),
        ("get_user_name", CODE),
        ("GET_USER_NAME", CODE),
        ("user name", CODE),
        ("parseHTTPHeader2", CODE),
        ("parsehttpheader2", CODE),
        ("HTTP", CODE),
        ("max_rows", CODE),
        ("rows", CODE),
        ("init", "def __init__(self): ..."),
        ("__init__", "def __init__(self): ..."),
        ("node.js", "We run Node.js there."),
        ("AT&T", "My phone is with AT&T."),
        ("v2.3.1", "Upgrade to v2.3.1."),
        ("2.3.1", "Upgrade to 2.3.1, then rest."),
        ("2024-01-15", "It was on 2024-01-15."),
        ("20240115", "It was on 2024-01-15."),
        ("2024", "It was on 2024-01-15."),
        ("iPhone15", "I got an iPhone15."),
        ("iphone15", "I got an iPhone15."),
        ("iPhone15", "i got an iphone15"),
        ("O'Brien", "I met O’Brien."),
        ("brien", "I met O'Brien."),
        ("well-known", "a well-known fact"),
        ("known", "a well-known fact"),
    ],
)
def test_the_whole_and_its_usual_parts_find_it(query: str, text: str) -> None:
    assert found_by(query, text)


@pytest.mark.parametrize("name", ["C++", "C#", "F#", "c++", "c#"])
def test_a_language_is_more_than_its_letter(name: str) -> None:
    assert found_by(name, f"I write {name.upper()} daily.")[0] == name.casefold()
    assert found_by(name, f"I write {name[0]} daily.") == [name[0].casefold()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234", "1234"),
        ("1,234,567", "1234567"),
        ("1'234", "1234"),
        ("1’234", "1234"),
        ("555-0199", "5550199"),
        ("2024-01-15", "20240115"),
    ],
)
def test_a_number_is_found_however_it_is_grouped(one: str, other: str) -> None:
    assert found_by(one, f"It is {other}.")
    assert found_by(other, f"It is {one}.")


@pytest.mark.parametrize("name", ["YouTube", "iPhone", "FaceTime", "GitHub", "userNames"])
@pytest.mark.parametrize("change", [str, str.lower, str.upper, str.title])
def test_a_name_is_found_whatever_its_capitals(name: str, change: type[str]) -> None:
    assert name.casefold() in found_by(change(name), f"We talked on {name} today.")
    assert name.casefold() in found_by(name, f"We talked on {change(name)} today.")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("1235", "It costs 1,234."),
        ("bob@example.org", "anna@test.com"),
        ("C++", "I write Java daily."),
        ("iPhone16", "my iPhone15"),
    ],
)
def test_another_one_is_not_found(query: str, text: str) -> None:
    assert not found_by(query, text)


def test_a_compound_stands_before_its_parts() -> None:
    assert words("mail a.b@c.de") == ["mail", "a.b@c.de", "a", "b", "c", "de"]
    assert words("getHTTPUrl_2") == ["gethttpurl_2", "get", "http", "url", "2"]


@pytest.mark.parametrize("text", ["a.", "(a)", '"a"', "a,", "a?!", "*a*", "_a_", "<a>", "a…"])
def test_what_stands_around_a_word_is_none_of_it(text: str) -> None:
    assert words(text) == ["a"]


@pytest.mark.parametrize("text", ["", " \n\t", "...", "🎉 👩‍👩‍👧 ❤️", "___", "\ud800\udfff", "-+#"])
def test_where_no_word_is_none_is_found(text: str) -> None:
    assert words(text) == []


def test_a_lone_surrogate_parts_words() -> None:
    assert words("tea\ud800time") == ["tea", "time"]


def test_what_is_too_long_to_be_asked_for_is_kept_by_its_parts_only() -> None:
    longest = "a/" * (COMPOUND_MAX_CHARS // 2 - 1) + "bc"
    assert len(longest) == COMPOUND_MAX_CHARS
    assert words(longest)[0] == longest
    assert words(longest + "d")[0] == "a"


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("Will came", [False, True]),
        ("He left. Will came", [False, True, False, True]),
        ("So? Will came!", [False, False, True]),
        ("Note: Will came", [False, False, True]),
        ("he – Will – came", [False, True, False, True, False]),
        ("行く。 Will", [False, False]),
    ],
)
def test_a_sentence_begins_after_an_end(text: str, inside: list[bool]) -> None:
    assert [within for _, within in pieces(text)] == inside


@pytest.mark.parametrize(
    ("piece", "inside", "token"),
    [
        ("Will", True, Token("will", name=True)),
        ("Will", False, Token("will")),
        ("will", True, Token("will")),
        ("IT", False, Token("it", name=True)),
        ("I", True, Token("i")),
        ("2nd", True, Token("2nd", whole=True)),
        ("(Will)", True, Token("will", name=True)),
        ("ЖД", False, Token("жд", name=True)),
    ],
)
def test_a_word_is_marked_as_it_is_written(piece: str, inside: bool, token: Token) -> None:
    assert list(tokens(piece, inside)) == [token]


def test_what_is_within_a_piece_is_within_the_sentence() -> None:
    assert list(tokens("a/Will", False))[-1] == Token("will", name=True)


@pytest.mark.parametrize(
    ("text", "message", "query"),
    [
        ("東", ["東"], ["東"]),
        ("東京", ["東", "京", "東京"], ["東京"]),
        ("東京都", ["東", "京", "都", "東京", "京都"], ["東京", "京都"]),
        ("JR東京駅2", ["jr", "東", "京", "駅", "東京", "京駅", "2"], ["jr", "東京", "京駅", "2"]),
    ],
)
def test_scripts_without_spaces_are_read_by_pairs(
    text: str, message: list[str], query: list[str]
) -> None:
    assert words(text) == message
    assert words(text, query=True) == query


def test_compatible_characters_are_one() -> None:
    assert words("\uff21\uff22\uff11\uff12 ﬁle ｶﾞ") == words("AB12 file ガ")
