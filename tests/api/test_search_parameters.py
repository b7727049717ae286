"""What a search by URL does not take: always a 400 that names the parameter."""

import httpx
import pytest

from tests.api.answers import assert_problem
from tests.api.speaking import PATH, Speaker

NAIVE = "2024-05-01T10:00:00"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("top_k", "0"),
        ("top_k", "101"),
        ("top_k", "-1"),
        ("top_k", "five"),
        ("top_k", ""),
        ("top_k", "5.5"),
        ("importance_min", "-0.1"),
        ("importance_min", "1.1"),
        ("importance_min", "nan"),
        ("importance_min", "inf"),
        ("query", ""),
        ("query", "a\0b"),
        ("query", "x" * 5_001),
        ("tenant_id", ""),
        ("tenant_id", "a,b"),
        ("tenant_id", "acme\n"),
        ("tenant_id", "x" * 65),
        ("conversation_id", ""),
        ("conversation_id", "\0"),
        ("conversation_id", "x" * 129),
        ("mode", "foo"),
        ("mode", ""),
        ("mode", "Hybrid"),
        ("context", "-1"),
        ("context", "11"),
        ("context", "one"),
        ("explain", "perhaps"),
        ("include_archived", "perhaps"),
        ("role", "admin"),
        ("role", ""),
        ("created_after", "yesterday"),
        ("created_after", NAIVE),
        ("created_after", ""),
        ("created_after", "nan"),
        ("created_after", "6.1e-05"),
        ("created_before", "1700000000"),
        ("created_before", "2024-13-01T00:00:00Z"),
        ("created_before", NAIVE),
        ("created_before", "99999-01-01T00:00:00Z"),
        ("rerank", "foo"),
        ("rerank", "cross_encoder"),
        ("w_relevance", "-1"),
        ("w_relevance", "1001"),
        ("w_importance", "nan"),
        ("w_importance", "much"),
        ("w_recency", "inf"),
        ("half_life_days", "0"),
        ("half_life_days", "-1"),
        ("half_life_days", "nan"),
        ("half_life_days", "100001"),
    ],
)
def test_a_bad_parameter_is_named(shared: httpx.Client, parameter: str, value: str) -> None:
    parameters = {"tenant_id": "acme", "query": "bees", parameter: value}
    answer = shared.get(PATH, params=parameters)
    assert_problem(answer, 400, "invalid-request", parameter)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata.a", "x\0"),
        ("metadata.a\0", "x"),
        ("metadata.a", "9" * 30),
        ("metadata.a", "x" * 20_000),
        ("metadata." + "a." * 8 + "a", "x"),
        ("metadata." + "a." * 5_000 + "a", "x"),
    ],
    ids=["nul", "nul in name", "huge number", "long", "deep", "deeper"],
)
def test_bad_metadata_is_named(shared: httpx.Client, name: str, value: str) -> None:
    answer = shared.get(PATH, params={"tenant_id": "acme", "query": "bees", name: value})
    assert_problem(answer, 400, "invalid-request", "metadata")


@pytest.mark.parametrize(
    "name", ["metadata.", "metadata..", "metadata.a.", "metadata._", "metadata. "]
)
def test_odd_names_of_metadata_break_nothing(speaker: Speaker, name: str) -> None:
    assert speaker.get("bees", **{name: "x"}).status_code == 200


@pytest.mark.parametrize("missing", ["query", "tenant_id"])
def test_a_missing_parameter_is_named_and_the_query_not_repeated(
    shared: httpx.Client, missing: str
) -> None:
    parameters = {"tenant_id": "acme", "query": "bees", "conversation_id": "secret"}
    del parameters[missing]
    answer = shared.get(PATH, params=parameters)
    assert_problem(answer, 400, "invalid-request", missing)
    assert "secret" not in answer.text


def test_a_parameter_that_is_not_utf_8(shared: httpx.Client) -> None:
    for junk in ("%ff", "%ed%a0%80"):
        answer = shared.get(f"{PATH}?tenant_id=acme&query={junk}")
        assert_problem(answer, 400, "invalid-request", "query")
        answer = shared.get(f"{PATH}?tenant_id=acme&query=x&metadata.{junk}={junk}")
        assert_problem(answer, 400, "invalid-request")


def test_a_per_cent_sign_that_begins_no_code_is_one(shared: httpx.Client) -> None:
    for sign in ("%", "%zz"):
        for asked in (f"query={sign}", f"query=x&metadata.{sign}={sign}"):
            assert shared.get(f"{PATH}?tenant_id=acme&{asked}").status_code == 200


def test_all_weights_of_zero_leave_nothing_to_rank_by(speaker: Speaker) -> None:
    zeros = {"w_relevance": 0, "w_importance": 0, "w_recency": 0}
    assert_problem(speaker.get("bees", **zeros), 400, "invalid-request", "w_relevance")
    assert speaker.get("bees", **zeros | {"w_recency": 0.1}).status_code == 200


@pytest.mark.parametrize("name", ["w_relevance", "w_importance", "w_recency", "half_life_days"])
def test_the_semantic_mode_has_its_weights_and_takes_no_others(speaker: Speaker, name: str) -> None:
    answer = speaker.get("bees", mode="semantic", **{name: 1})
    assert_problem(answer, 400, "invalid-request", name)
    assert speaker.get("bees", mode="lexical", **{name: 1}).status_code == 200
