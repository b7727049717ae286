"""LongMemEval: one question an instance, over a haystack of chats with an assistant."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import msgspec

from bench.conversations import Conversation, DatasetError, Question, Turn
from bench.datasets.dates import read_date


class Said(msgspec.Struct):
    """A turn; `has_answer` marks those that hold the answer."""

    role: Literal["user", "assistant"]
    content: str
    has_answer: bool | None = None


class Instance(msgspec.Struct):
    """An entry of the file; the three haystack lists run in step."""

    question_id: str
    question_type: str
    question: str
    haystack_dates: list[str]
    haystack_session_ids: list[str]
    haystack_sessions: list[list[Said]]


def read_instance(instance: Instance) -> Conversation:
    """The haystack of one instance with its question; with none if no turn has the answer."""
    placed = list(_turns(instance))
    gold = frozenset(turn.id for turn, answers in placed if answers)
    # `_abs` questions ask for what was never said: nothing can be found for them.
    asked = gold and not instance.question_id.endswith("_abs")
    question = Question(instance.question, instance.question_type, gold)
    turns = [turn for turn, _ in placed]
    return Conversation(instance.question_id, turns, [question] if asked else [])


def _turns(instance: Instance) -> Iterator[tuple[Turn, bool]]:
    lengths = {
        len(instance.haystack_dates),
        len(instance.haystack_session_ids),
        len(instance.haystack_sessions),
    }
    if len(lengths) > 1:
        raise DatasetError("its haystack lists differ in length")
    seen: Counter[str] = Counter()
    chats = zip(
        instance.haystack_session_ids,
        instance.haystack_dates,
        instance.haystack_sessions,
        strict=True,
    )
    for number, (session, date, said) in enumerate(chats, start=1):
        seen[session] += 1
        start = read_date(date)
        for place, turn in enumerate(said):
            # The service takes no empty message.
            if turn.content:
                yield (
                    Turn(
                        id=f"{number}:{place}",
                        # A session may stand in a haystack twice; each is a chat of its own.
                        conversation_id=session if seen[session] == 1 else f"{session}#{number}",
                        role=turn.role,
                        content=turn.content,
                        created_at=start + timedelta(seconds=place),
                    ),
                    bool(turn.has_answer),
                )
