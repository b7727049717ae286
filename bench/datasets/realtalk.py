"""REALTALK: real chats of two people over three weeks, a file a chat, asked about as in LoCoMo."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from bench.conversations import Conversation, DatasetError, Turn
from bench.datasets.dates import read_date
from bench.datasets.evidence import AskedQuestion, evidence_questions
from bench.datasets.sessions import session_number, sessions, stated_date

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "commonsense", 4: "single-hop"}
# Two turns of one second keep their order.
STEP = timedelta(milliseconds=1)


class Said(msgspec.Struct):
    """A turn; some have their own time, and some no cleaned text."""

    speaker: str
    clean_text: str | None = None
    text: str | None = None
    date_time: str | None = None
    dia_id: str | None = None
    blip_caption: Any = None


def read_chat(name: str, chat: Mapping[str, Any]) -> Conversation:
    """The conversation of one REALTALK file; `name` is the chat's, from its file."""
    turns = list(_turns(chat))
    try:
        asked = msgspec.convert(chat.get("qa", []), list[AskedQuestion])
    except msgspec.ValidationError as error:
        raise DatasetError(f"qa: {error}") from None
    known = [turn.id for turn in turns]
    return Conversation(name, turns, evidence_questions(asked, known, CATEGORIES))


def _turns(chat: Mapping[str, Any]) -> Iterator[Turn]:
    spoken = list(sessions(chat, Said))
    user = _user(chat.get("name"), [turn.speaker for _, said in spoken for turn in said])
    for session, said in spoken:
        latest: datetime | None = None
        for place, turn in enumerate(said, start=1):
            stated = _moment(chat, session, turn, place)
            latest = stated if latest is None else max(stated, latest + STEP)
            yield Turn(
                id=turn.dia_id or f"D{session_number(session)}:{place}",
                conversation_id=session,
                role="user" if turn.speaker.strip() == user else "assistant",
                content=f"{turn.speaker}: {_text(turn)}",
                created_at=latest,
            )


def _user(names: Any, speakers: list[str]) -> str:
    """The first of the chat's names, or who speaks first where nobody speaks under that name."""
    listed = list(names.values()) if isinstance(names, dict) else names
    present = [speaker.strip() for speaker in speakers]
    if isinstance(listed, list) and listed and str(listed[0]).strip() in present:
        return str(listed[0]).strip()
    return next(iter(present), "")


def _moment(chat: Mapping[str, Any], session: str, turn: Said, place: int) -> datetime:
    if not turn.date_time:
        return stated_date(chat, session) + timedelta(seconds=place - 1)
    try:
        return read_date(turn.date_time)
    except DatasetError as error:
        raise DatasetError(f"{session}, turn {place}: date_time: {error}") from None


def _text(turn: Said) -> str:
    text = turn.clean_text if turn.clean_text is not None else turn.text or ""
    caption = turn.blip_caption
    photo = f" [shares a photo: {caption}]" if isinstance(caption, str) and caption else ""
    return f"{text}{photo}"
