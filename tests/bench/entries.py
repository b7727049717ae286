"""Made-up data sets, one small entry of each format; tests change what they are about."""

import json
from pathlib import Path
from typing import Any


def written(path: Path, content: Any) -> Path:
    """The file with `content` as JSON."""
    path.write_text(json.dumps(content))
    return path


def asked(question: str, evidence: list[str], category: int | str = 4) -> dict[str, Any]:
    """An entry of `qa`."""
    return {"question": question, "answer": "-", "evidence": evidence, "category": category}


def locomo_sample(name: str = "trip", **changes: Any) -> dict[str, Any]:
    """Two sessions of two people, and one question about the second."""
    conversation = {
        "speaker_a": "Ada",
        "speaker_b": "Bo",
        # As in the files, where session 10 stands before session 2 when sorted as text.
        "session_10_date_time": "12:05 am on 3 March, 2024",
        "session_10": [{"speaker": "Bo", "dia_id": "D10:1", "text": "The kayak is blue."}],
        "session_2_date_time": "1:56 pm on 8 May, 2023",
        "session_2": [
            {"speaker": "Ada", "dia_id": "D2:1", "text": "I bought a kayak."},
            {"speaker": "Bo", "dia_id": "D2:2", "text": "Look!", "blip_caption": "a red canoe"},
        ],
    }
    questions = [asked("What colour has the kayak?", ["D10:1"])]
    return {"sample_id": name, "conversation": conversation, "qa": questions, **changes}


def realtalk_chat(**changes: Any) -> dict[str, Any]:
    """One session of two people, with two turns of one second."""
    return {
        "name": {"speaker_1": "Cy", "speaker_2": "Di"},
        "session_1_date_time": "29.12.2023, 08:00:00",
        "session_1": [
            said("Di", "D1:1", "Did the parcel come?", "29.12.2023, 08:00:00"),
            said("Cy", "D1:2", "Yes, by bike.", "29.12.2023, 08:00:07"),
            said("Cy", "D1:3", "It was wet.", "29.12.2023, 08:00:07"),
        ],
        "events_session_1": {"agent_a": []},
        "qa": [asked("How did the parcel come?", ["D1:2"], 1)],
        **changes,
    }


def said(speaker: str, turn: str, text: str, date: str) -> dict[str, Any]:
    """A turn of a REALTALK chat."""
    return {"speaker": speaker, "dia_id": turn, "clean_text": text, "date_time": date}


def longmemeval_instance(name: str = "q1", **changes: Any) -> dict[str, Any]:
    """Two chats, of which the second has the answer."""
    return {
        "question_id": name,
        "question_type": "single-session-user",
        "question": "Which tea do I drink?",
        "answer": "mint",
        "question_date": "2023/06/01 (Thu) 10:00",
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 14:05"],
        "haystack_session_ids": ["noise", "answer"],
        "haystack_sessions": [
            [
                {"role": "user", "content": "Name a lake."},
                {"role": "assistant", "content": "Como."},
            ],
            [
                {"role": "user", "content": "I only drink mint tea.", "has_answer": True},
                {"role": "assistant", "content": ""},
                {"role": "assistant", "content": "Noted.", "has_answer": False},
            ],
        ],
        "answer_session_ids": ["answer"],
        **changes,
    }
