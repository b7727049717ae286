"""A short attack by generated requests, and that the attack would tell if there were a fault."""

from pathlib import Path

from bench.fuzz import attack, fuzzed
from bench.fuzz_exceptions import EXCEPTIONS, is_excepted
from memory.settings import Settings
from tests.conftest import serving

EXAMPLES = 5
SECONDS = 100


def test_every_answer_is_as_documented(settings: Settings, tmp_path: Path) -> None:
    with serving(fuzzed(settings)) as api:
        outcome = attack(str(api.base_url), tmp_path, EXAMPLES, seed=1, patience=SECONDS)
    assert not outcome.failed, outcome.report
    assert outcome.requests > 1_000
    assert not [status for status in outcome.statuses if status >= "5"]
    # Or it would not have come past the door, or would have asked for nothing that there is.
    assert outcome.statuses["200"] > 100
    assert outcome.statuses["202"] > 20


def test_each_exception_has_a_reason_and_excuses_no_more_than_it_says() -> None:
    assert all(reason for _, _, reason in EXCEPTIONS)
    absent_reranker = "rerank: cross_encoder is not set up here: no setting names its model"
    assert is_excepted("GET /v1/memory/search", absent_reranker)
    assert not is_excepted("GET /v1/messages", absent_reranker)
    assert not is_excepted("GET /v1/memory/search", "rerank: is no word of ours")
