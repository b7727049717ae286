"""What a task says of itself in the end."""

import pytest

from memory.errors import NotEmbeddedError
from tasks.outcome import Failure, Outcome

AWAY = Failure("OpenAI answered 503", "put off")


def test_it_tells_whose_and_how_many() -> None:
    outcome = Outcome()
    for tenant_id, messages in [("acme", 64), ("globex", 3), ("acme", 10)]:
        outcome.note(tenant_id, messages, None)
    assert outcome.told() == "acme: 74, globex: 3 embedded"


def test_what_another_did_is_nothing_left_to_do() -> None:
    outcome = Outcome()
    outcome.note("acme", 0, None)
    assert outcome.told() == "nothing left to do"


def test_a_failure_tells_what_failed_and_what_did_not() -> None:
    outcome = Outcome()
    outcome.note("acme", 64, None)
    outcome.note("globex", 64, AWAY)
    outcome.note("globex", 5, AWAY)
    outcome.note("globex", 1, Failure("OpenAI answered 400", "given up"))
    with pytest.raises(NotEmbeddedError) as raised:
        outcome.told()
    assert str(raised.value) == (
        "globex: 69 put off: OpenAI answered 503; globex: 1 given up: OpenAI answered 400;"
        " acme: 64 embedded"
    )


def test_many_tenants_are_no_wall_of_names() -> None:
    outcome = Outcome()
    for number in range(50):
        outcome.note(f"t{number}", 1, None)
    assert outcome.told() == "t0: 1, t1: 1, t2: 1 and 47 more embedded"
    for number in range(50):
        outcome.note(f"t{number}", 1, AWAY)
    with pytest.raises(NotEmbeddedError, match=r"503 and 47 more; t0: 1, .* and 47 more embedded$"):
        outcome.told()
