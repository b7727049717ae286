"""Retention runs: what goes, what stays, and what is left of what went."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from sqlalchemy import Connection, text

from db.queries.audit import record_from_row, records_page
from memory.retention import chained
from memory.retention_runs import Run
from memory.settings import Settings
from tasks import due, expiring
from tasks.archive_files import read_file
from tasks.embedding import claim, embed_claimed
from tasks.jobs import take
from tasks.resources import Resources
from tasks.retention import expire_step, scheduled_run
from tests.api.speaking import Speaker, contents
from tests.contexts import at, contexts
from tests.tasks.ageing import archived, begin, expire, go_on, grow_old, live, matter

PUT_POLICY = "insert into retention_policies (tenant_id, {column}) values ('acme', :value)"


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    """A tenant of a service of which no worker runs."""
    return Speaker(api, "acme")


def run(**changes: Any) -> Run:
    return Run(as_of=datetime.now(UTC), **changes)


def embed(resources: Resources, tenant_id: str = "acme") -> None:
    while claimed := claim(resources, tenant_id, [], False):
        embed_claimed(resources, tenant_id, claimed)
    resources.answers.changed(tenant_id)


def policy(owner: Connection, column: str, value: object) -> None:
    owner.execute(text(PUT_POLICY.format(column=column)), {"value": value})


def say(speaker: Speaker, owner: Connection, **importance: float) -> dict[str, str]:
    """Say each name with that importance; the ids by name."""
    ids = {name: speaker.say(name) for name in importance}
    for name, score in importance.items():
        matter(owner, score, [ids[name]])
    return ids


def test_what_is_old_and_matters_little_is_archived(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    ids = say(speaker, owner, trifle=0.3, matter=0.5, threshold=0.35)
    grow_old(owner, 31)
    say(speaker, owner, news=0.3)
    assert expire(resources, run()) == {
        "archived": 1,
        "deleted": 0,
        "dry_run": False,
        "tenants": 1,
    }
    assert archived(owner) == ["trifle"]
    answer = speaker.api.get(f"/v1/messages/{ids['trifle']}").json()
    assert answer["embedding_status"] == "archived"
    assert answer["archived_at"]


def test_an_archived_message_is_found_only_when_the_archive_is_asked(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    speaker.say("The spare key lies under the geranium.", metadata={"where": "garden"})
    embed(resources)
    matter(owner, 0.1, ids := [speaker.finds("geranium")[0]["message_id"]])
    grow_old(owner, 31)
    expire(resources, run())
    for mode in ("hybrid", "semantic", "lexical"):
        assert speaker.finds("geranium", mode=mode) == []
    for mode in ("hybrid", "lexical"):
        found = speaker.finds("geranium", mode=mode, include_archived=True)
        assert [item["message_id"] for item in found] == ids
    by_metadata = {"metadata.where": "garden", "include_archived": True}
    assert len(speaker.finds("geranium", **by_metadata)) == 1
    assert speaker.finds("geranium", **{"metadata.where": "garden"}) == []
    for table in ("message_embeddings", "message_terms"):
        assert owner.scalar(text(f"select count(*) from {table}")) == 0


def test_a_kept_answer_does_not_outlive_the_archiving(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    ids = say(speaker, owner, geranium=0.1)
    embed(resources)
    grow_old(owner, 31)
    assert speaker.finds("geranium")
    assert speaker.answer("geranium")["cached"]
    # Told to nobody, as by a worker that is killed after its commit.
    resources.answers = Silent()  # type: ignore[assignment]
    expire(resources, run())
    assert speaker.finds("geranium") == []
    assert archived(owner) == ["geranium"]
    assert ids


class Silent:
    """In the place of what tells of changes, tells nothing."""

    def changed(self, tenant_id: str) -> None:
        """Say nothing."""


def test_what_followed_an_archived_message_follows_the_one_before_that(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    ids = [speaker.say(f"said{n}", created_at=at(n)) for n in range(5)]
    embed(resources)
    matter(owner, 0.1, [ids[1], ids[2]])
    grow_old(owner, 31)
    expire(resources, run())
    assert contexts(owner) == {"said3": "said0", "said4": "said3"}
    # Words of the archived are nobody's any more.
    assert contents(speaker.finds("said2", mode="lexical")) == []


@pytest.mark.parametrize("phases", [1, 2, 500])
def test_a_run_is_the_same_in_slices_of_any_size(
    speaker: Speaker,
    owner: Connection,
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    phases: int,
) -> None:
    monkeypatch.setattr(expiring, "SLICE_MESSAGES", phases)
    monkeypatch.setattr(due, "WINDOW_MESSAGES", phases + 1)
    ids = say(speaker, owner, a=0.1, b=0.5, c=0.1, d=0.6, e=0.7, f=0.2)
    grow_old(owner, 31)
    policy(owner, "max_messages", 2)
    expire(resources, run())
    assert live(owner) == ["d", "e"]
    (record,) = records(owner, "acme")
    gone = [UUID(ids[name]) for name in "acfb"]
    assert record["counts"]["archived_digest"] == chained("", gone)


def records(owner: Connection, tenant_id: str) -> list[dict[str, Any]]:
    """The details of a tenant's audit records."""
    rows = owner.execute(records_page([tenant_id], "retention", None, 100))
    return [record_from_row(row).details for row in rows]


def test_pinned_messages_exempt_roles_and_holds_are_left_alone(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    ids = say(speaker, owner, pinned=0.0, plain=0.0)
    tool = speaker.say("by a tool", role="tool")
    matter(owner, 0.0, [tool])
    owner.execute(text("update messages set pinned = true where content = 'pinned'"))
    grow_old(owner, 400)
    policy(owner, "legal_hold", True)
    assert expire(resources, run())["archived"] == 0
    owner.execute(text("update retention_policies set legal_hold = false, exempt_roles = '{tool}'"))
    assert expire(resources, run())["archived"] == 1
    assert archived(owner) == ["plain"]
    grow_old(owner, 400)
    owner.execute(text("update messages set pinned = true"))
    assert expire(resources, run())["deleted"] == 0
    owner.execute(text("update messages set pinned = false where content = 'plain'"))
    owner.execute(text("update retention_policies set legal_hold = true"))
    assert expire(resources, run())["deleted"] == 0
    owner.execute(text("update retention_policies set legal_hold = false"))
    assert expire(resources, run())["deleted"] == 1
    assert speaker.api.get(f"/v1/messages/{ids['plain']}").status_code == 404
    assert live(owner) == ["pinned", "by a tool"]


def test_a_hold_that_comes_halfway_stops_the_run(
    speaker: Speaker, owner: Connection, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiring, "SLICE_MESSAGES", 1)
    say(speaker, owner, a=0.1, b=0.1, c=0.1)
    grow_old(owner, 31)
    job = begin(resources, run())
    held = take(resources, "*", job)
    assert held
    for _ in range(2):
        assert expire_step(resources, held) is None
    assert archived(owner) == ["a"]
    policy(owner, "legal_hold", True)
    while expire_step(resources, held) is None:
        pass
    assert archived(owner) == ["a"]


def test_the_age_counts_from_what_the_policy_says(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    matter(owner, 0.1, [speaker.say("an old chat, imported today", created_at=at(0))])
    assert expire(resources, run())["archived"] == 0
    policy(owner, "age_from", "created")
    assert expire(resources, run())["archived"] == 1


def test_a_dry_run_counts_what_the_real_run_does(
    speaker: Speaker, owner: Connection, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "WINDOW_MESSAGES", 4)
    many = {f"n{n}": (n % 7) / 10 for n in range(30)}
    ids = say(speaker, owner, **many)
    grow_old(owner, 31)
    expire(resources, run())
    grow_old(owner, 95, list(ids.values())[:20])
    say(speaker, owner, **{f"m{n}": (n % 7) / 10 for n in range(12)})
    # Old ones that matter less by now, and then there are still too many.
    matter(owner, 0.2, [ids[name] for name in ("n4", "n6", "n11")])
    policy(owner, "max_messages", 15)
    owner.execute(text("update messages set pinned = true where content in ('n5', 'm3')"))
    wanted = run()
    before = live(owner), archived(owner)
    dry = expire(resources, msgspec.structs.replace(wanted, dry_run=True))
    assert (live(owner), archived(owner)) == before
    real = expire(resources, wanted)
    assert dry.pop("dry_run") is True
    assert real.pop("dry_run") is False
    assert dry == real
    assert real["archived"] > 5
    assert real["deleted"] > 5


def test_deleted_is_gone_from_every_table(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    ids = [speaker.say(f"said{n}", created_at=at(n)) for n in range(3)]
    embed(resources)
    matter(owner, 0.1, [ids[1]])
    owner.execute(
        text("insert into message_uses (tenant_id, message_id, uses) values ('acme', :id, 3)"),
        {"id": ids[1]},
    )
    grow_old(owner, 31)
    expire(resources, run())
    grow_old(owner, 90)
    expire(resources, run())
    tables = owner.execute(
        text("select table_name from information_schema.tables where table_schema = 'public'")
    ).scalars()
    holding = [
        table
        for table in tables
        if owner.scalar(
            text(f"select count(*) from {table} as t where t::text like :id or t::text like :word"),
            {"id": f"%{ids[1]}%", "word": "%said1%"},
        )
    ]
    assert holding == []
    assert contexts(owner) == {"said2": "said0"}
    assert speaker.finds("said1", mode="lexical", include_archived=True) == []


def test_each_run_leaves_a_record(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    ids = say(speaker, owner, a=0.1, b=0.1)
    Speaker(speaker.api, "globex").say("new")
    grow_old(owner, 31)
    expire(resources, run())
    (record,) = records(owner, "acme")
    assert record["counts"]["archived"] == 2
    assert record["counts"]["archived_digest"] == chained("", [UUID(ids["a"]), UUID(ids["b"])])
    assert record["policy"]["max_age_days"] == 30
    assert 0 < record["seconds"] < 60
    assert records(owner, "globex") == []
    (whole,) = records(owner, "*")
    assert whole["counts"] == {"archived": 2, "deleted": 0}


def test_the_actions_and_tenants_of_a_run_are_those_it_names(
    speaker: Speaker, owner: Connection, resources: Resources
) -> None:
    for tenant_id in ("acme", "globex", "initech"):
        matter(owner, 0.1, [Speaker(speaker.api, tenant_id).say(tenant_id)])
    grow_old(owner, 31)
    assert expire(resources, run(actions=("delete",)))["archived"] == 0
    assert expire(resources, run(tenants=["globex", "nobody"]))["archived"] == 1
    assert expire(resources, run(actions=("archive",)), "initech")["archived"] == 1
    assert live(owner) == ["acme"]


def test_the_schedule_runs_for_the_tenants_of_the_settings() -> None:
    now = datetime.now(UTC)
    assert scheduled_run(Settings(), now).arguments["tenants"] is None
    named = scheduled_run(Settings(retention_tenants="b, a"), now)
    assert named.arguments["tenants"] == ["a", "b"]
    assert named.unique_key


def test_what_is_deleted_lies_in_a_file_first(
    speaker: Speaker, owner: Connection, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    resources = Resources(msgspec.structs.replace(settings, archive_dir=str(folder)))
    tenant = Speaker(speaker.api, "..")
    id_ = tenant.say("Grüße", metadata={"a": [1, None]}, importance_override=0.25)
    grow_old(owner, 31)
    expire(resources, run())
    grow_old(owner, 90)
    assert expire(resources, run())["deleted"] == 1
    (file,) = [path for path in folder.rglob("*") if path.is_file()]
    assert file.parent.parent == folder
    (message,) = read_file(file)
    assert (str(message.id), message.content, message.metadata) == (id_, "Grüße", {"a": [1, None]})
    assert message.importance_override == 0.25
    resources.engine.dispose()


def test_what_cannot_be_filed_is_not_deleted(
    speaker: Speaker, owner: Connection, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("not a folder")
    changed = msgspec.structs.replace(settings, archive_dir=str(tmp_path / "archive"))
    resources = Resources(changed)
    say(speaker, owner, a=0.1)
    grow_old(owner, 31)
    expire(resources, run())
    grow_old(owner, 90)
    job = begin(resources, run())
    with pytest.raises(AssertionError, match="cannot be written"):
        go_on(resources, job)
    assert archived(owner) == ["a"]
    resources.engine.dispose()
