"""LoCoMo: long two-person conversations in sessions, with questions that name their evidence."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from bench.conversations import Conversation, Turn
from bench.datasets.evidence import AskedQuestion, evidence_questions
from bench.datasets.sessions import sessions, stated_date

# 5 is adversarial: its evidence does not hold an answer.
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open", 4: "single-hop"}


class Said(msgspec.Struct):
    """A turn; `blip_caption` says what its photo shows."""

    speaker: str
    dia_id: str
    text: str
    blip_caption: str | None = None


class Sample(msgspec.Struct):
    """An entry of the file."""

    sample_id: str
    conversation: dict[str, Any]
    qa: list[AskedQuestion]


def read_sample(sample: Sample) -> Conversation:
    """The conversation of one entry of a LoCoMo file."""
    turns = list(_turns(sample.conversation))
    known = [turn.id for turn in turns]
    return Conversation(sample.sample_id, turns, evidence_questions(sample.qa, known, CATEGORIES))


def _turns(conversation: dict[str, Any]) -> Iterator[Turn]:
    for session, said in sessions(conversation, Said):
        start = stated_date(conversation, session)
        for place, turn in enumerate(said):
            photo = f" [shares a photo: {turn.blip_caption}]" if turn.blip_caption else ""
            yield Turn(
                id=turn.dia_id,
                conversation_id=session,
                role="user" if turn.speaker == conversation.get("speaker_a") else "assistant",
                content=f"{turn.speaker}: {turn.text}{photo}",
                created_at=start + timedelta(seconds=place),
            )
