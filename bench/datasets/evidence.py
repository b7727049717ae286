"""Questions that name the turns of their answer as `D2:7`: LoCoMo's way, and REALTALK's."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bench.conversations import Question


class AskedQuestion(msgspec.Struct):
    """An entry of `qa`. `evidence` has turn ids, at times several in one string."""

    question: str
    category: int | str
    evidence: list[Any] | str = []


def evidence_questions(
    asked: Iterable[AskedQuestion], known: Iterable[str], categories: Mapping[int, str]
) -> list[Question]:
    """The questions of `categories` that name a turn of `known`; gold is what is known."""
    turn_of = {_plain(turn): turn for turn in known}
    questions = []
    for each in asked:
        category = categories.get(int(each.category)) if str(each.category).isdigit() else None
        named = re.findall(r"D\d+:\d+", _joined(each.evidence))
        gold = frozenset(turn_of[_plain(turn)] for turn in named if _plain(turn) in turn_of)
        if category and gold and each.question.strip():
            questions.append(Question(each.question, category, gold))
    return questions


def _joined(evidence: list[Any] | str) -> str:
    return evidence if isinstance(evidence, str) else " ".join(map(str, evidence))


def _plain(turn: str) -> str:
    """`D30:05` and `D30:5` are one turn: the files write both."""
    return re.sub(r"(?<=\D)0+(?=\d)", "", turn)
