"""Rescoring: importance follows age, use and the words of others, and nothing else is touched."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, text

from memory.importance import Grounds, importance, rarity
from memory.lexical.analysis import analyser
from memory.markers import markers
from memory.settings import Settings
from memory.tenants import TenantSettings, effective
from tasks.embedding import claim, embed_claimed
from tasks.indexing import COUNTED_FROM, refresh
from tasks.rescoring import FIRST, Slice, rescore_slice
from tasks.resources import Resources
from tests.api.speaking import Speaker
from tests.conftest import message
from tests.processes import wait_until
from tests.tasks.crowds import say_many

DAY = timedelta(days=1)
DEFAULTS = effective(Settings(), TenantSettings())
THRESHOLD = Settings().retention_importance_threshold
ROW = text("select * from messages where id = cast(:id as uuid)")
SCORES = text("select content, importance_score from messages order by id")
VERSIONS = text("""
select 'message' as kind, id::text, xmin::text, updated_at::text from messages
union all select 'vector', message_id::text, xmin::text, '' from message_embeddings
union all select 'terms', message_id::text || kind, xmin::text, '' from message_terms
union all select 'uses', message_id::text, xmin::text, '' from message_uses
""")
USE = text("""
insert into message_uses (tenant_id, message_id, uses, counted_at)
values ('acme', cast(:id as uuid), :uses, :counted_at)
""")
SMALL_TALK, FACT = "ok thanks", "My daughter Anna was born on 3 May 2019"


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    """A tenant of a service of which no worker runs."""
    return Speaker(api, "acme")


@pytest.fixture
def now() -> datetime:
    """The moment at which a test begins."""
    return datetime.now(UTC)


def rescore(
    resources: Resources, as_of: datetime, tenant_id: str = "acme", **changes: Any
) -> list[Slice]:
    """Rescore a whole tenant; what was done in each slice."""
    done = [Slice(FIRST, 0, 0)]
    while (after := done[-1].last) is not None:
        with resources.engine.begin() as connection:
            settings = resources.settings
            done.append(rescore_slice(connection, settings, tenant_id, after, as_of, **changes))
    return done[1:]


def row(owner: Connection, id_: str) -> Any:
    return owner.execute(ROW, {"id": id_}).one()


def scores(owner: Connection) -> dict[str, float]:
    return {content: score for content, score in owner.execute(SCORES)}  # noqa: C416


def versions(owner: Connection) -> dict[tuple[str, str], tuple[str, str]]:
    return {(kind, id_): (xmin, at) for kind, id_, xmin, at in owner.execute(VERSIONS)}


def embed(resources: Resources) -> None:
    while claimed := claim(resources, "acme", [], False):
        embed_claimed(resources, "acme", claimed)


def test_a_score_is_what_the_definition_says(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    said = ["Bees make honey in Brazil", "bees", "bees again", "", "honey bees"]
    ids = [
        speaker.say(content or "!", role="assistant", metadata={"n": number})
        for number, content in enumerate(said)
    ]
    owner.execute(USE, {"id": ids[0], "uses": 8.0, "counted_at": now - 30 * DAY})
    as_of = now + 45 * DAY
    assert rescore(resources, as_of) == [Slice(None, 5, 5)]
    # Of five messages four have bees, two honey; "make" and "Brazil" stand in one. "in" is none.
    expected = Grounds(
        "assistant",
        row(owner, ids[0]).created_at,
        markers=markers(said[0]),
        rarity=rarity([4, 2, 1, 1], 5),
        uses=8 * 0.5 ** (75 / 30),
    )
    kept = row(owner, ids[0])
    assert kept.rarity == pytest.approx(expected.rarity)
    assert kept.markers == pytest.approx(expected.markers)
    assert kept.importance_score == pytest.approx(importance(expected, DEFAULTS, as_of), abs=1e-6)
    assert row(owner, ids[3]).rarity == 0


def test_small_talk_sinks_and_a_fact_stays(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    speaker.say(SMALL_TALK)
    speaker.say(FACT)
    at_first = scores(owner)
    assert at_first[FACT] > at_first[SMALL_TALK] > THRESHOLD
    rescore(resources, now + 35 * DAY)
    aged = scores(owner)
    assert aged[FACT] > THRESHOLD > aged[SMALL_TALK]
    rescore(resources, now + 3_650 * DAY)
    assert scores(owner)[FACT] > THRESHOLD


def test_what_search_returns_stays_longer(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    used, unused = speaker.say(SMALL_TALK), speaker.say(SMALL_TALK)
    owner.execute(USE, {"id": used, "uses": 5.0, "counted_at": now + 35 * DAY})
    rescore(resources, now + 35 * DAY)
    gain = row(owner, used).importance_score - row(owner, unused).importance_score
    assert gain == pytest.approx(0.15 / 2)


def test_a_tenant_weighs_the_parts_itself(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    path = "/v1/admin/tenants/acme/settings"
    weights = {f"importance_w_{part}": 0 for part in ("role", "content", "use")}
    assert speaker.api.put(path, json={**weights, "importance_half_life_days": 10}).is_success
    speaker.say(FACT)
    assert scores(owner)[FACT] == pytest.approx(1)
    rescore(resources, now + 20 * DAY)
    assert scores(owner)[FACT] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("override", [0, 0.123456789012345, 1])
def test_an_override_stays_exact(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime, override: float
) -> None:
    id_ = speaker.say(FACT, importance_override=override)
    embed(resources)
    owner.execute(USE, {"id": id_, "uses": 50.0, "counted_at": now})
    for days in (0, 400):
        rescore(resources, now + days * DAY)
        assert row(owner, id_).embedding_status == "completed"
        assert row(owner, id_).importance_score == override
    owner.execute(text("update messages set importance_score = abs(importance_score - 0.001)"))
    rescore(resources, now + 400 * DAY)
    assert row(owner, id_).importance_score == override


def test_an_override_that_is_set_meanwhile_wins(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    id_ = speaker.say(FACT)
    waiting = text(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database()"
    )
    rescoring = threading.Thread(target=rescore, args=(resources, now + 400 * DAY))
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as another:
        another.execute(
            text("update messages set importance_override = 0.9, importance_score = 0.9")
        )
        rescoring.start()
        wait_until(lambda: owner.scalar(waiting) == 1, "the rescoring waits for the row")
        another.commit()
    rescoring.join()
    assert row(owner, id_).importance_score == 0.9
    assert row(owner, id_).rarity is not None


def test_only_what_has_moved_is_written_and_nothing_beside_it(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    for number in range(4):
        speaker.say(f"note {number} of bees")
    old = (now - 700 * DAY).isoformat()
    ids = {speaker.say(f"old note {number}", created_at=old) for number in range(3)}
    embed(resources)
    before = versions(owner)
    assert rescore(resources, now) == [Slice(None, 7, 7)]  # The rarity of each was not known.
    after = versions(owner)
    changed = {key for key, version in before.items() if after[key] != version}
    assert {kind for kind, _ in changed} == {"message"}
    assert [at for _, at in before.values()] == [at for _, at in after.values()]
    assert rescore(resources, now + 0.3 * DAY) == [Slice(None, 7, 0)]
    assert versions(owner) == after
    # Of the old ones nothing is left that could sink.
    assert rescore(resources, now + 10 * DAY) == [Slice(None, 7, 4)]
    untouched = {id_ for kind, id_ in after if versions(owner)[kind, id_] == after[kind, id_]}
    assert ids <= untouched


def test_what_is_archived_is_left_alone(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    archived, live = speaker.say(FACT), speaker.say(SMALL_TALK)
    owner.execute(
        text(
            "update messages set archived_at = now(), embedding_status = 'archived' where id = :id"
        ),
        {"id": UUID(archived)},
    )
    before = row(owner, archived)
    assert rescore(resources, now + 400 * DAY) == [Slice(None, 1, 1)]
    assert row(owner, archived) == before
    assert row(owner, live).importance_score < THRESHOLD


def test_markers_of_another_time_are_read_from_the_content(
    speaker: Speaker,
    owner: Connection,
    resources: Resources,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    id_ = speaker.say(FACT)
    owner.execute(text("update messages set markers = null, importance_score = 0.1"))
    rescore(resources, now)
    assert row(owner, id_).markers == pytest.approx(markers(FACT))
    assert row(owner, id_).importance_score > 0.5
    # Known ones are not: a content is read once.
    monkeypatch.setattr("tasks.rescoring.markers", lambda _: pytest.fail("read again"))
    rescore(resources, now + 60 * DAY)


def test_slices_are_bounded_and_miss_nothing(
    speaker: Speaker,
    owner: Connection,
    resources: Resources,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.rescoring.SLICE_MESSAGES", 3)
    ids = [UUID(speaker.say(f"note {number}")) for number in range(6)]
    speaker.say("another's", tenant_id="globex")
    done = rescore(resources, now)
    assert done == [Slice(ids[2], 3, 3), Slice(ids[5], 3, 3), Slice(None, 0, 0)]
    speaker.say("one more")
    assert [each.looked_at for each in rescore(resources, now)] == [3, 3, 1]
    unknown = text("select tenant_id from messages where rarity is null")
    assert list(owner.scalars(unknown)) == ["globex"]


def test_slices_are_bounded_by_the_size_of_what_was_said_too(
    speaker: Speaker, resources: Resources, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.rescoring.SLICE_BYTES", 100)
    for size in (60, 40, 1, 500, 99, 2):
        speaker.say("ä" * (size // 2) + "a" * (size % 2))
    assert [each.looked_at for each in rescore(resources, now)] == [2, 1, 1, 1, 1]


@pytest.fixture
def large(speaker: Speaker) -> Speaker:
    """A tenant of so many messages that its terms are counted once for all."""
    say_many(speaker)
    return speaker


def test_kept_counts_say_what_live_counts_say(
    large: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:

    def rarities() -> dict[str, float]:
        rows = owner.execute(text("select content, rarity from messages"))
        return {content: value for content, value in rows}  # noqa: C416

    rescore(resources, now)
    live = rarities()
    owner.execute(text("update messages set rarity = null"))
    refresh(resources, "acme")
    rescore(resources, now)
    assert rarities() == pytest.approx(live)
    (first,) = [value for content, value in live.items() if content.endswith(" l8")]
    words = len(analyser("english").terms("bees n1 m8 k8 l8"))
    assert words == 5
    share = COUNTED_FROM // 7 + 1
    assert first == pytest.approx(rarity([1000, share, 20, 1, 1], COUNTED_FROM))


def test_words_are_counted_anew_where_the_counts_are_new(
    large: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    refresh(resources, "acme")
    rescore(resources, now)
    known = text("select avg(rarity) from messages where content like '%%bees%%'")
    before = owner.scalar(known)
    large.say_all([message(content=f"something else entirely {n}") for n in range(500)])
    refresh(resources, "acme")
    rescore(resources, now, counted_since=datetime.now(UTC) + DAY)
    assert owner.scalar(known) == before
    unknown = text("select count(*) from messages where rarity is null")
    assert owner.scalar(unknown) == 0
    rescore(resources, now + 60 * DAY, counted_since=now)
    assert owner.scalar(known) > before


def test_a_small_tenant_is_counted_each_time(
    speaker: Speaker, owner: Connection, resources: Resources, now: datetime
) -> None:
    id_ = speaker.say("bees make honey daily")
    rescore(resources, now, counted_since=now)
    assert row(owner, id_).rarity == 0
    for number in range(20):
        speaker.say(f"note {number}")
    rescore(resources, now + 60 * DAY, counted_since=datetime.now(UTC) + DAY)
    assert row(owner, id_).rarity == pytest.approx(rarity([1, 1, 1, 1], 21))


def test_a_small_tenant_is_counted_as_far_as_so_many_words_reach(
    speaker: Speaker,
    owner: Connection,
    resources: Resources,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(10):
        speaker.say(f"bees honey number{number}")
    last = speaker.say("bees honey wax")
    rescore(resources, now)
    assert row(owner, last).rarity == pytest.approx(rarity([11, 11, 1], 11))
    # Three words each: the first four messages.
    monkeypatch.setattr("tasks.rescoring.MOST_WORDS", 13)
    rescore(resources, now + 60 * DAY)
    assert row(owner, last).rarity == pytest.approx(rarity([4, 4, 1], 4))
