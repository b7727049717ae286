"""Importance over REST: what a message begins with, and a rescoring by hand."""

from typing import Any

import httpx
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.markers import markers
from tests.api.answers import assert_problem, row
from tests.api.speaking import Speaker
from tests.conftest import message
from tests.processes import wait_until

PATH = "/v1/admin/importance/run"
FACT = "Remember that my daughter Anna was born on 3 May 2019"
SCORE = text("select importance_score from messages where id = cast(:id as uuid)")


def run(api: httpx.Client, **body: Any) -> dict[str, Any]:
    """Start a rescoring; its job when it has ended."""
    answer = api.post(PATH, json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["tenant_id"]) == ("rescore", body.get("tenant_id"))

    def state() -> Any:
        return api.get(f"/v1/jobs/{job['id']}").json()["state"]

    wait_until(lambda: state() == "completed", "the run has ended")
    return dict(api.get(f"/v1/jobs/{job['id']}").json())


def test_a_message_begins_with_what_its_text_and_its_age_say(
    api: httpx.Client, owner: Connection
) -> None:
    speaker = Speaker(api, "acme")
    fact, talk = speaker.say(FACT), speaker.say("ok thanks")
    old = speaker.say("ok thanks", created_at="2020-01-01T00:00:00Z")
    reply = speaker.say(FACT, role="assistant")
    stored = {id_: row(owner, id_) for id_ in (fact, talk, old, reply)}
    score = {id_: each["importance_score"] for id_, each in stored.items()}
    assert score[fact] > score[reply] > score[talk] > score[old]
    assert score[talk] - score[old] == pytest.approx(0.25)
    assert stored[fact]["markers"] == pytest.approx(markers(FACT))
    assert stored[talk]["markers"] == 0
    assert {each["rarity"] for each in stored.values()} == {None}


def test_a_tenant_may_weigh_the_parts_itself(api: httpx.Client) -> None:
    own = {"importance_w_content": 0, "importance_w_recency": 0, "importance_w_use": 0}
    api.put("/v1/admin/tenants/acme/settings", json=own)
    batch = [message(role="system"), message(tenant_id="globex", role="system")]
    items = api.post("/v1/messages/batch", json={"messages": batch}).json()["items"]
    assert items[0]["importance_score"] == pytest.approx(0.3)
    assert items[1]["importance_score"] > 0.3


def test_long_contents_are_read_like_short_ones(api: httpx.Client) -> None:
    short = api.post("/v1/messages", json=message(content=FACT)).json()
    padded = FACT + "\nwell, and so on" * 1_000
    long = api.post("/v1/messages", json=message(content=padded)).json()
    assert long["importance_score"] == pytest.approx(short["importance_score"], abs=1e-6)


def test_a_run_is_done_by_the_workers(
    api: httpx.Client, worker: CeleryTestWorker, owner: Connection
) -> None:
    speaker = Speaker(api, "acme")
    id_ = speaker.say("ok thanks")
    before = owner.scalar(SCORE, {"id": id_})
    owner.execute(text("update messages set created_at = created_at - interval '60 days'"))
    job = run(api)
    assert job["result"] == {"messages": 1, "changed": 1, "tenants": 1}
    assert job["started_by"] == "local"
    assert owner.scalar(SCORE, {"id": id_}) < before - 0.15
    assert run(api, tenant_id="acme")["result"]["changed"] == 0


def test_what_was_used_is_worth_more_after_it(inline: httpx.Client, owner: Connection) -> None:
    speaker = Speaker(inline, "acme")
    used = speaker.say("bees make honey", conversation_id="a")
    unused = speaker.say("wax makes candles", conversation_id="b")
    for _ in range(3):
        assert speaker.finds("honey", top_k=1, mode="lexical")
    counted = text("select uses from message_uses")
    wait_until(lambda: owner.scalar(counted) == pytest.approx(3, rel=1e-3), "it is counted")
    job = run(inline, tenant_id="acme")
    assert job["result"]["changed"] == 2
    scores = [owner.scalar(SCORE, {"id": id_}) for id_ in (used, unused)]
    assert scores[0] - scores[1] == pytest.approx(0.15 * 3 / 8, abs=1e-3)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"tenant_id": "a,b"}, "tenant_id"), ({"tenant": "a"}, "tenant"), ([], "")],
)
def test_a_bad_request_starts_nothing(
    shared: httpx.Client, body: dict[str, Any], field: str
) -> None:
    assert_problem(shared.post(PATH, json=body), 400, "invalid-request", field)
    assert_problem(shared.post(PATH, content="{}"), 415, "unsupported-media-type")
