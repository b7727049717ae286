"""The pages that Prometheus reads, as a bench asks for them."""

from bench.pages import Page, readable


def test_only_what_answers_get_is_asked_with_a_number_for_each_id() -> None:
    paths = {"/v1/jobs/{job_id}": {"get": {}}, "/v1/a/{x}/b/{y}": {"post": {}, "get": {}}}
    assert list(readable({"paths": {**paths, "/v1/runs": {"post": {}}}})) == [
        "/v1/jobs/0",
        "/v1/a/0/b/0",
    ]


def test_a_page_is_a_row() -> None:
    assert Page("API", 1_442, 39_799, 27.24, 22.46).row() == [
        "API",
        "1,442",
        "39,799",
        "27.2",
        "22.5",
    ]
