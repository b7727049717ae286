"""A short run of faults of several kinds; and one in which something is lost, which it finds."""

from pathlib import Path

import psycopg
import pytest

from bench.chaos.playing import KINDS, Plan, play
from bench.chaos.scene import WORK, End, Fault, Scene, over
from tests.processes import wait_until

SEED = 8
SHORT = {
    "api killed",
    "embedding process killed",
    "valkey emptied",
    "broker refuses",
    "postgres backend killed",
    "provider answers 500",
    "tasks sent twice, shuffled",
}

pytestmark = pytest.mark.timeout(300)  # the seven processes of a whole service start


@pytest.fixture
def place(folder: Path, request: pytest.FixtureRequest) -> Path:
    """A folder that the database's user can reach."""
    made = folder / request.node.name
    made.mkdir(mode=0o755)
    return made


def lose(scene: Scene) -> End:
    """What no fault may do."""
    wait_until(lambda: scene.ledger.said, "something is acknowledged")
    with psycopg.connect(scene.stage.database, autocommit=True) as connection:
        said = next(iter(scene.ledger.said.values()))
        connection.execute("delete from messages where id = %s", [said.id])
    return over


def test_a_service_survives_faults_of_several_kinds(place: Path) -> None:
    kinds = [each for each in KINDS if each.kind in SHORT]
    assert len(kinds) == len(SHORT)
    outcome = play(Plan(SEED, len(kinds), 60, 120, kinds, jobs=False), place)
    assert outcome.ledger.wrong == []
    assert {kind for each in outcome.rounds for kind in each.kinds} == SHORT
    assert len(outcome.ledger.said) > 20


def test_a_message_that_is_lost_is_found_out(place: Path) -> None:
    outcome = play(Plan(SEED, 1, 60, 60, [Fault("lost", WORK, lose)], jobs=False), place)
    assert any(" lost: " in each for each in outcome.ledger.wrong)
