"""Terms made anew: after a change of language, whoever writes or dies meanwhile."""

import httpx
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from api.search_answers import ANSWER_SECONDS
from memory.settings import Settings
from tasks.indexing import REINDEX_MESSAGES, reindex_slice
from tasks.resources import Resources
from tests.api.speaking import Speaker, contents
from tests.conftest import message, serving
from tests.contexts import as_it_was, contexts
from tests.processes import ProcessContainer, wait_until

PATH = "/v1/admin/tenants/acme/settings"
DUE = text("update term_reindexing set not_before = now() - interval '1 s'")
ANALYSERS = text("select analyser, count(*) from message_terms group by 1")
JOBS = text("select count(*) from term_reindexing")
MANY = 2 * REINDEX_MESSAGES + 50


@pytest.fixture
def speaker(api: httpx.Client) -> Speaker:
    return Speaker(api, "acme")


def speak_german(speaker: Speaker, owner: Connection) -> None:
    """The tenant's language changes, and what that sets off need not be waited for."""
    assert speaker.api.put(PATH, json={"language": "german"}).status_code == 200
    owner.execute(DUE)


def analysers(owner: Connection) -> dict[str, int]:
    """How many entries each analyser has made."""
    return {analyser: count for analyser, count in owner.execute(ANALYSERS)}  # noqa: C416


def houses(speaker: Speaker, **parameters: object) -> list[str]:
    return contents(speaker.finds("Haus", mode="lexical", **parameters))


def all_slices(resources: Resources) -> int:
    """Do what there is to do; the number of slices."""
    done = 0
    while reindex_slice(resources):
        done += 1
    return done


def test_what_was_said_before_is_found_in_the_new_language(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    speaker.say("Die Häuser sind alt.")
    speaker.say("Ja, sehr.")
    other = Speaker(speaker.api, "globex")
    other.say("Die Häuser sind alt.")
    assert houses(speaker) == []
    speak_german(speaker, owner)
    assert houses(speaker) == []
    all_slices(resources)
    resources.answers.changed("acme")
    assert houses(speaker) == ["Die Häuser sind alt.", "Ja, sehr."]
    assert analysers(owner) == {"german/1": 3, "english/1": 1}
    assert owner.scalar(JOBS) == 0
    assert houses(other) == []
    assert speaker.api.delete(PATH).status_code == 200
    owner.execute(DUE)
    all_slices(resources)
    assert houses(speaker) == []


def test_a_worker_does_it_when_its_time_has_come(
    speaker: Speaker, worker: CeleryTestWorker, beat: ProcessContainer, owner: Connection
) -> None:
    speaker.say_all([message(content=f"Die Häuser sind alt {n}") for n in range(MANY)])
    speak_german(speaker, owner)
    wait_until(lambda: owner.scalar(JOBS) == 0, "the terms are made anew")
    assert set(analysers(owner)) == {"german/1"}
    assert len(houses(speaker, top_k=100)) == 100


def test_the_answers_of_before_are_not_given_after(
    speaker: Speaker, worker: CeleryTestWorker, beat: ProcessContainer, owner: Connection
) -> None:
    speaker.say("Die Häuser sind alt.")
    embedded = text("select count(*) from messages where embedding_status = 'completed'")
    wait_until(lambda: owner.scalar(embedded) == 1, "it is embedded")
    assert speaker.api.put(PATH, json={"language": "german"}).status_code == 200
    assert houses(speaker) == []
    assert speaker.answer("Haus", mode="lexical")["cached"]
    owner.execute(DUE)
    wait_until(lambda: owner.scalar(JOBS) == 0, "the terms are made anew")
    soon = ANSWER_SECONDS / 3
    wait_until(lambda: houses(speaker), "the new answer is given, not the one of before", soon)


def test_it_waits_for_those_who_know_the_old_language(
    settings: Settings, speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    with serving(settings) as elsewhere:
        late = Speaker(elsewhere, "acme")
        late.say("Die Gärten sind groß.", conversation_id="a")
        assert speaker.api.put(PATH, json={"language": "german"}).status_code == 200
        late.say("Die Häuser sind alt.", conversation_id="b")
        assert analysers(owner) == {"english/1": 2}
        assert not reindex_slice(resources)
        owner.execute(DUE)
        all_slices(resources)
        assert houses(speaker) == ["Die Häuser sind alt."]
        assert analysers(owner) == {"german/1": 2}
        speaker.say("Der Baum ist grün.", conversation_id="c")
        assert analysers(owner) == {"german/1": 3}


def test_what_was_begun_is_taken_up_again(
    speaker: Speaker, resources: Resources, settings: Settings, owner: Connection
) -> None:
    speaker.say_all([message(content=f"Die Häuser sind alt {n}") for n in range(MANY)])
    speak_german(speaker, owner)
    assert reindex_slice(resources)
    resources.engine.dispose()
    made = analysers(owner)
    assert made["german/1"] > 0
    assert made["english/1"] > 0
    next_process = Resources(settings)
    # Two slices more and the end.
    assert all_slices(next_process) == 3
    next_process.engine.dispose()
    assert set(analysers(owner)) == {"german/1"}
    assert contexts(owner) == as_it_was(owner)


def test_a_slice_that_is_killed_leaves_nothing_half_done(
    speaker: Speaker, resources: Resources, owner: Connection
) -> None:
    speaker.say_all([message(content=f"Die Häuser sind alt {n}") for n in range(MANY)])
    speak_german(speaker, owner)
    assert reindex_slice(resources)
    made = analysers(owner)
    owner.execute(
        text("""
create function die() returns trigger language plpgsql security definer as
  'begin perform pg_terminate_backend(pg_backend_pid()); return new; end';
create trigger die before update on term_reindexing for each row execute function die();
""")
    )
    with pytest.raises(OperationalError):
        reindex_slice(resources)
    assert analysers(owner) == made
    owner.execute(text("drop trigger die on term_reindexing"))
    all_slices(resources)
    assert set(analysers(owner)) == {"german/1"}


def test_two_workers_take_a_tenant_each(
    api: httpx.Client, resources: Resources, owner: Connection
) -> None:
    for tenant_id in ("acme", "globex"):
        Speaker(api, tenant_id).say("Die Häuser sind alt.")
        path = PATH.replace("acme", tenant_id)
        assert api.put(path, json={"language": "german"}).status_code == 200
    owner.execute(DUE)
    with owner.engine.connect().execution_options(isolation_level="READ COMMITTED") as another:
        another.execute(text("select * from term_reindexing where tenant_id = 'acme' for update"))
        assert all_slices(resources) == 2
        assert analysers(owner) == {"english/1": 1, "german/1": 1}
    all_slices(resources)
    assert analysers(owner) == {"german/1": 2}
