"""How well search finds what a LoCoMo question is about, over REST.

    python -m bench.locomo --dataset PATH --url http://127.0.0.1:8000

Posts each conversation as a tenant of its own, one message a turn, waits until all is embedded,
asks every question of categories 1 to 4 that names its evidence, and prints hit@k (a gold turn
is among the first k) and recall@k (the share of the gold turns among the first k).
"""

import json
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

CUTOFFS = (1, 3, 5, 10)
CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open", 4: "single-hop"}
ATTEMPTS = 60
WAIT_SECONDS = 1800


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation, as the message that is posted for it."""

    dia_id: str
    conversation_id: str
    role: str
    content: str
    created_at: datetime


@dataclass(frozen=True)
class Question:
    """A question with the turns that hold its answer."""

    text: str
    category: int
    evidence: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    """A long conversation and what is asked about it."""

    name: str
    turns: Sequence[Turn]
    questions: Sequence[Question]


def read_locomo(path: Path) -> list[Conversation]:
    """The conversations of a LoCoMo file."""
    return [
        Conversation(sample["sample_id"], list(_turns(sample["conversation"])), _questions(sample))
        for sample in json.loads(path.read_text())
    ]


def _turns(conversation: dict[str, Any]) -> Iterator[Turn]:
    sessions = [key for key in conversation if re.fullmatch(r"session_\d+", key)]
    for session in sorted(sessions, key=lambda key: int(key.split("_")[1])):
        stated = conversation[f"{session}_date_time"]
        start = datetime.strptime(stated, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for place, turn in enumerate(conversation[session]):
            caption = turn.get("blip_caption")
            photo = f" [shares a photo: {caption}]" if caption else ""
            yield Turn(
                dia_id=turn["dia_id"],
                conversation_id=session,
                role="user" if turn["speaker"] == conversation["speaker_a"] else "assistant",
                content=f"{turn['speaker']}: {turn['text']}{photo}",
                created_at=start + timedelta(seconds=place),
            )


def _questions(sample: dict[str, Any]) -> list[Question]:
    known = {turn.dia_id for turn in _turns(sample["conversation"])}
    questions = [
        Question(
            text=entry["question"],
            category=entry["category"],
            evidence=frozenset(re.findall(r"D\d+:\d+", " ".join(entry["evidence"]))) & known,
        )
        for entry in sample["qa"]
        if entry["category"] in CATEGORIES
    ]
    return [question for question in questions if question.evidence]


def request(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """The JSON of an answer; asks again while the service is away or limits the rate."""
    for _ in range(ATTEMPTS):
        try:
            response = client.request(method, path, **options)
        except httpx.TransportError:
            time.sleep(0.5)
            continue
        if response.status_code not in (429, 503):
            response.raise_for_status()
            return response.json()
        time.sleep(float(response.headers.get("retry-after", 1)))
    raise click.ClickException(f"{method} {path}: no answer after {ATTEMPTS} tries")


def post_turns(
    client: httpx.Client, tenant: str, turns: Sequence[Turn], progress: Progress
) -> dict[str, str]:
    """Post `turns` in order; gives the turn of each message id."""
    turn_of: dict[str, str] = {}
    for turn in progress.track(turns, description=f"posting {tenant}"):
        body = {
            "tenant_id": tenant,
            "conversation_id": turn.conversation_id,
            "role": turn.role,
            "content": turn.content,
            "created_at": turn.created_at.isoformat(),
        }
        # The key makes asking again after a lost answer harmless.
        headers = {"Idempotency-Key": turn.dia_id}
        stored = request(client, "POST", "/v1/messages", json=body, headers=headers)
        turn_of[stored["id"]] = turn.dia_id
    return turn_of


def wait_until_embedded(
    client: httpx.Client, tenant: str, ids: Sequence[str], progress: Progress
) -> dict[str, int]:
    """Wait for the vector of every message; gives how many ended in which status."""
    statuses: dict[str, int] = {}
    deadline = time.monotonic() + WAIT_SECONDS
    for message_id in progress.track(ids, description=f"embedding {tenant}"):
        status = "pending"
        while status == "pending" and time.monotonic() < deadline:
            found = request(
                client, "GET", f"/v1/messages/{message_id}", params={"tenant_id": tenant}
            )
            status = found["embedding_status"]
            if status == "pending":
                time.sleep(0.1)
        statuses[status] = statuses.get(status, 0) + 1
    return statuses


def ask(
    client: httpx.Client,
    tenant: str,
    questions: Sequence[Question],
    turn_of: dict[str, str],
    progress: Progress,
) -> list[tuple[Question, list[str]]]:
    """Each question with the turns that search answers, best first."""
    answers = []
    for question in progress.track(questions, description=f"asking {tenant}"):
        params: dict[str, str | int] = {
            "tenant_id": tenant,
            "query": question.text,
            "top_k": max(CUTOFFS),
        }
        found = request(client, "GET", "/v1/memory/search", params=params)
        answers.append((question, [turn_of[item["message_id"]] for item in found["items"]]))
    return answers


def figures(answers: Sequence[tuple[Question, list[str]]]) -> dict[str, float]:
    """hit@k and recall@k, averaged over the questions."""
    found: dict[str, float] = {}
    for k in CUTOFFS:
        gold = [
            (question.evidence, question.evidence & set(turns[:k])) for question, turns in answers
        ]
        found[f"hit@{k}"] = sum(bool(hit) for _, hit in gold) / len(gold)
        found[f"recall@{k}"] = sum(len(hit) / len(every) for every, hit in gold) / len(gold)
    return found


def report(answers: dict[str, list[tuple[Question, list[str]]]]) -> Table:
    """The figures by conversation, by category and for all."""
    every = [answer for of_one in answers.values() for answer in of_one]
    groups = {**answers}
    for category, name in CATEGORIES.items():
        groups[name] = [answer for answer in every if answer[0].category == category]
    groups["all"] = every
    table = Table("", "questions", *figures(every))
    for name, group in groups.items():
        if group:
            shown = [f"{value:.3f}" for value in figures(group).values()]
            table.add_row(
                name, str(len(group)), *shown, end_section=name in (list(answers)[-1], "single-hop")
            )
    return table


@click.command()
@click.option("--dataset", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True)
@click.option("--key", envvar="MEMORY_API_KEY", help="Sent as x-api-key.")
def main(dataset: Path, url: str, key: str | None) -> None:
    """Post a LoCoMo file, wait until it is embedded, ask its questions, print the figures."""
    run = uuid.uuid4().hex[:6]
    conversations = read_locomo(dataset)
    headers = {"x-api-key": key} if key else {}
    answers: dict[str, list[tuple[Question, list[str]]]] = {}
    console = Console()
    # Wide enough for the table where there is no terminal to ask.
    console.width = max(console.width, 110)
    with (
        httpx.Client(base_url=url, headers=headers, timeout=30) as client,
        Progress(console=console) as progress,
    ):
        turns_of = {}
        for each in conversations:
            turns_of[each.name] = post_turns(client, f"{each.name}.{run}", each.turns, progress)
        for each in conversations:
            tenant = f"{each.name}.{run}"
            statuses = wait_until_embedded(client, tenant, list(turns_of[each.name]), progress)
            progress.console.print(f"{tenant}: {statuses}")
        for each in conversations:
            tenant = f"{each.name}.{run}"
            answers[each.name] = ask(client, tenant, each.questions, turns_of[each.name], progress)
    console.print(report(answers))


if __name__ == "__main__":
    main()
