"""What a text is marked by as worth remembering, and what adds nothing to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory import phrases
from memory.markers import WORTH, Kind, kinds_of, markers, spoken

SMALL_TALK = [
    "ok thanks",
    "haha yes",
    "Thank You So Much",
    "Hi Anna",
    "Sounds good!",
    "I like it!",
    "I love you",
    "I'm a bit tired",
    "oh my god",
    "lol :3 <3",
    "I remember that day",
    "Do you remember that?",
    "Can you help me write an email?",
    "What is the weather like today?",
    "Danke, das ist sehr nett von dir",
    "Das ist ein schöner Hund",
    "I got it",
    "that is SO good of them",
    "well yes that is good Haha",
    "Do you think they don't remember that?",
    "vale, gracias",
    "D'accord, merci",
    "va bene, grazie mille",
    "tudo bem, obrigada",
    "oké, dank je wel",
    "好的 谢谢",
    "спасибо, хорошо",
    "",
]
# One filler sentence a line: what has no markers of its own.
LINES = st.lists(st.sampled_from(SMALL_TALK), min_size=1).map("\n".join)
WORDS = sorted(
    phrases.listed(phrases.FACTS)
    | phrases.listed(phrases.REQUESTS)
    | phrases.listed(phrases.STANDING)
    | phrases.listed(phrases.EVENTS)
    | phrases.listed(phrases.TIMES)
    | phrases.listed(phrases.OPENERS)
    | phrases.listed(phrases.RELATIONS)
    | phrases.listed(phrases.OWN)
    | {"Anna", "Bo", "named", "3", "May", "kg", ":", ".", "it", "a@b.c", "important", "well", "ß"}
)
TEXTS = st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("My daughter Anna was born on 3 May 2019", {"fact", "name", "exact"}),
        ("remember that I'm allergic to nuts", {"request", "fact"}),
        ("Please remember that I am allergic to nuts.", {"request", "fact"}),
        ("dont forget the milk", {"request"}),
        ("Don’t forget: the milk", {"request"}),
        ("Important: the door sticks", {"request"}),
        ("From now on answer in one sentence", {"request"}),
        ("i cant stand olives", {"fact"}),
        ("We've decided to rewrite the parser", {"fact"}),
        ("My two younger sisters came by", {"fact"}),
        ("my dog's leash is red", {"fact"}),
        ("Hey Claude, remember that it is red", {"request", "name"}),
        ("Could you remember that it is red?", {"request"}),
        ("Das Brot nicht vergessen!", {"request"}),
        ("We went hiking", {"event"}),
        ("the roof leaked two weeks ago", {"time"}),
        ("I met her last week", {"event", "time"}),
        ("Ich habe gestern einen Hund gesehen", {"event", "time"}),
        ("Nous avons acheté un piano la semaine dernière", {"event", "time"}),
        ("Ayer estuvimos en la playa", {"event", "time"}),
        ("Ieri abbiamo visto il mare", {"event", "time"}),
        ("Ontem fizemos pão", {"event", "time"}),
        ("Gisteren waren we thuis", {"time"}),
        ("she saw McDonald in New York", {"name"}),
        ("we use PostgreSQL", {"name"}),
        ("Dr. Smith will call", {"name"}),
        ("Это Анна, я встретил Ивана вчера", {"name"}),
        ("that was 5 of them", {"number"}),
        ("the 2nd time", {"number"}),
        ("dinner at 9:30", {"exact"}),
        ("it weighs 5 kg", {"exact"}),
        ("it was $5", {"exact"}),
        ("ask a.b@example.org", {"exact"}),
        ("see https://example.org/x", {"exact"}),
        ("the code is hunter2", {"exact"}),
        ("call 5550199", {"exact"}),
        ("call 5550199 for 5 tips", {"exact"}),
        ("5\nkg", {"number"}),
        ("a dog named\nAnna", set()),
        ("I love New York", {"fact", "name"}),
        ("we talked about d'Annunzio", {"name"}),
        ("我女儿2019年出生", {"exact"}),
        ("我有3个苹果", {"number"}),
        ("Meine Tochter Anna wurde am 3. Mai 2019 geboren", {"fact", "exact"}),
        ("Merk dir: ich bin allergisch gegen Nüsse", {"request", "fact"}),
        ("Mein Hund heißt Bello", {"fact", "name"}),
        ("Recuerda que soy alérgica a los frutos secos", {"request", "fact"}),
        ("Mi hermana vive en el sur", {"fact"}),
        ("N’oublie pas le pain", {"request"}),
        ("Je m'appelle Zoé", {"fact", "name"}),
        ("Ricordati che mi piace il caffè", {"request", "fact"}),
        ("Não esqueças: o meu nome é João", {"request", "fact", "name"}),
        ("Vergeet niet dat ik van kaas hou, ik woon in Utrecht", {"request", "fact", "name"}),
    ],
)
def test_what_marks_a_text(text: str, kinds: set[Kind]) -> None:
    assert kinds_of(text) == kinds


@pytest.mark.parametrize("text", SMALL_TALK)
def test_small_talk_has_none(text: str) -> None:
    assert kinds_of(text) == set()
    assert markers(text) == 0


def test_several_kinds_make_it_more_sure_and_never_quite() -> None:
    assert markers("the 2nd time") == pytest.approx(WORTH["number"])
    assert markers("My daughter came") == pytest.approx(WORTH["fact"])
    both = 1 - (1 - WORTH["fact"]) * (1 - WORTH["name"])
    assert markers("My daughter Anna came") == pytest.approx(both)
    everything = "Remember that my daughter Anna was born on 3 May 2019"
    assert markers("the 2nd time") < both < markers(everything) < 1


@given(TEXTS)
def test_they_are_a_share(text: str) -> None:
    assert 0 <= markers(text) < 1


@given(TEXTS, st.integers(2, 5))
def test_to_say_it_again_adds_nothing(text: str, times: int) -> None:
    assert markers("\n".join([text] * times)) == markers(text)


@given(TEXTS, LINES, LINES)
def test_words_around_it_add_nothing(text: str, before: str, after: str) -> None:
    assert markers(f"{before}\n{text}\n{after}") <= markers(text)


@given(st.sampled_from(["i like", "remember that", "my daughter", "Anna said"]))
def test_what_a_line_breaks_was_not_said(phrase: str) -> None:
    assert markers(phrase.replace(" ", "\n")) == 0


class Counted(str):
    """A word that counts how often it is looked at."""

    __slots__ = ()
    looks = 0

    def __eq__(self, other: object) -> bool:
        Counted.looks += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("unit", ["I don't ", "my my daughter ", "remember ", "ik heb ", "sono "])
def test_the_work_grows_as_the_text_does(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the words are looked at twice as often, however many of them begin a phrase."""

    def looks(times: int) -> int:
        Counted.looks = 0
        words = [Counted(word) for word in (unit * times).lower().split()]
        list(spoken(words))
        return Counted.looks

    assert looks(2_000) <= 2.1 * looks(1_000)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        "é",
        "\u0301",
        "'",
        "a'",
        "a-",
        "1-",
        "\n",
        ". ",
        "<",
        "@",
        "a@",
        "://",
        "1:",
        "Aa ",
    ],
)
def test_no_text_makes_it_try_again_and_again(unit: str) -> None:
    """Patterns that backtrack would be at this until the suite's timeout ends them."""
    hostile = unit * (100_000 // len(unit))
    assert 0 <= markers(hostile) < 1
    assert 0 <= markers(f"{hostile}\n!") < 1
