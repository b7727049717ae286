"""The API's own description: whole, true, and without an asset from elsewhere."""

import re
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec
import pytest

from memory.messages import Message, MessageBatch, NewMessage
from memory.search import SearchRequest

METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = {
    ("post", "/v1/messages"),
    ("post", "/v1/messages/batch"),
    ("get", "/v1/messages"),
    ("post", "/v1/messages/{message_id}/pin"),
    ("post", "/v1/messages/{message_id}/unpin"),
    ("post", "/v1/admin/embeddings/retry"),
    ("get", "/v1/admin/embeddings"),
    ("post", "/v1/admin/embeddings/migrate"),
    ("post", "/v1/admin/embeddings/drop"),
    ("get", "/v1/messages/{message_id}"),
    ("post", "/v1/messages/{message_id}/restore"),
    ("get", "/v1/memory/search"),
    ("post", "/v1/memory/search"),
    ("get", "/v1/admin/tenants/{tenant_id}/settings"),
    ("put", "/v1/admin/tenants/{tenant_id}/settings"),
    ("delete", "/v1/admin/tenants/{tenant_id}/settings"),
    ("get", "/v1/admin/tenants/{tenant_id}/policy"),
    ("put", "/v1/admin/tenants/{tenant_id}/policy"),
    ("delete", "/v1/admin/tenants/{tenant_id}/policy"),
    ("post", "/v1/admin/tenants/{tenant_id}/export"),
    ("get", "/v1/admin/tenants/{tenant_id}/export"),
    ("post", "/v1/admin/tenants/{tenant_id}/import"),
    ("post", "/v1/admin/retention/run"),
    ("post", "/v1/admin/importance/run"),
    ("get", "/v1/admin/audit"),
    ("post", "/v1/admin/keys"),
    ("get", "/v1/admin/keys"),
    ("delete", "/v1/admin/keys/{key_id}"),
    ("post", "/v1/admin/keys/{key_id}/rotate"),
    ("get", "/v1/jobs"),
    ("get", "/v1/jobs/{job_id}"),
    ("post", "/v1/jobs/{job_id}/cancel"),
    ("post", "/v1/jobs/{job_id}/retry"),
    ("get", "/v1/jobs/{job_id}/events"),
    ("get", "/v1/admin/live"),
    ("get", "/v1/admin/health"),
    ("get", "/v1/admin/readiness"),
}


@pytest.fixture(scope="module")
def document(shared: httpx.Client) -> dict[str, Any]:
    answer = shared.get("/docs/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`schema`, or what it refers to in the document."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def test_the_page_and_its_assets_come_from_here(shared: httpx.Client) -> None:
    for path in ("/docs", "/docs/"):
        page = shared.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assets = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
        served = [asset for asset in assets if not asset.startswith("data:")]
        assert len(served) >= 2
        for asset in served:
            assert asset.startswith("/"), asset
            assert not asset.startswith("//"), asset
            answer = shared.get(urljoin(str(page.url), asset))
            assert answer.status_code == 200, asset
            assert len(answer.content) > 10_000
    assert not re.search(r"""["'(]https?://""", page.text)


def test_the_style_sheet_fetches_nothing(shared: httpx.Client) -> None:
    css = shared.get("/docs/assets/swagger-ui.css").text
    assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", css)


def test_it_says_what_it_is(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    assert document["info"]["title"] == "AI Memory Layer"
    assert document["info"]["version"]
    assert document["components"]["securitySchemes"]["key"]["name"] == "x-api-key"


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    described = {
        (method, path)
        for path, item in document["paths"].items()
        for method in METHODS & item.keys()
    }
    assert described == OPERATIONS


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    ids = set()
    for method, path in OPERATIONS:
        operation = document["paths"][path][method]
        assert operation["description"], path
        assert operation["tags"], path
        assert any(status.startswith("2") for status in operation["responses"]), path
        ids.add(operation["operationId"])
    assert len(ids) == len(OPERATIONS)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert resolved(document, node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/messages", NewMessage), ("/v1/messages/batch", MessageBatch)]
)
def test_the_bodies_are_documented(
    document: dict[str, Any], path: str, body: type[msgspec.Struct]
) -> None:
    request = document["paths"][path]["post"]["requestBody"]
    assert request["required"] is True
    schema = resolved(document, request["content"]["application/json"]["schema"])
    assert set(schema["properties"]) == set(body.__struct_fields__)
    assert schema["type"] == "object"
    expected = {field.name for field in msgspec.structs.fields(body) if field.required}
    assert set(schema["required"]) == expected


def test_the_limits_of_a_message_are_documented(document: dict[str, Any]) -> None:
    request = document["paths"]["/v1/messages"]["post"]["requestBody"]
    properties = request["content"]["application/json"]["schema"]["properties"]
    assert properties["tenant_id"]["maxLength"] == 64
    assert properties["conversation_id"]["maxLength"] == 128
    assert properties["content"]["minLength"] == 1
    assert set(properties["role"]["enum"]) == {"user", "assistant", "system", "tool"}


def test_the_answer_is_documented(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/messages"]["post"]["responses"]
    schema = resolved(document, responses["202"]["content"]["application/json"]["schema"])
    assert set(schema["properties"]) == set(Message.__struct_fields__)


def test_every_refusal_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for method, path in OPERATIONS:
        operation = document["paths"][path][method]
        public = operation.get("security") == []
        refusals = {status: each for status, each in operation["responses"].items() if status > "3"}
        expected = {"400", "403", "414", "429", "431", "503"} | (set() if public else {"401"})
        expected |= {"413", "415"} if "requestBody" in operation else set()
        expected |= {"404"} if "{" in path else set()
        assert expected <= refusals.keys(), path
        for status, each in refusals.items():
            answer = resolved(document, each)
            schema = answer["content"]["application/problem+json"]["schema"]
            assert set(resolved(document, schema)["properties"]) >= {"type", "status", "errors"}
            assert "X-Request-ID" in answer["headers"]
            if status == "429":
                assert {"Retry-After", "X-RateLimit-Reset"} <= answer["headers"].keys()


def test_now_or_later_are_two_answers(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/admin/retention/run"]["post"]["responses"]
    names = [
        responses[status]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for status in ("200", "202")
    ]
    assert names == ["RetentionOutcome", "Job"]
    assert "Location" in responses["202"]["headers"]


def test_a_key_is_asked_for_but_for_what_is_public(document: dict[str, Any]) -> None:
    assert document["security"] == [{"key": []}, {"bearer": []}]
    free = {
        path for method, path in OPERATIONS if document["paths"][path][method].get("security") == []
    }
    assert free == {"/v1/admin/live", "/v1/admin/health", "/v1/admin/readiness"}


def test_a_path_is_told_its_methods(document: dict[str, Any], shared: httpx.Client) -> None:
    for path, item in document["paths"].items():
        place = re.sub(r"\{\w+\}", "one", path)
        for method in ("OPTIONS", "PATCH"):
            answer = shared.request(method, place)
            allowed = set(answer.headers["allow"].lower().split(", "))
            assert allowed - {"options"} == item.keys(), path


def test_events_are_documented_as_events(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]
    assert responses["200"]["content"].keys() == {"text/event-stream"}


def test_the_parameters_of_a_search_are_documented(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/memory/search"]["get"]
    parameters = {each["name"]: each for each in operation["parameters"]}
    # `metadata` stands for parameters of many names, each of which begins with it.
    assert parameters.keys() == set(SearchRequest.__struct_fields__) - {"queries"}
    assert parameters["metadata"]["explode"] is True
    required = {name for name, each in parameters.items() if each.get("required")}
    assert required == {"tenant_id", "query"}
    assert parameters["top_k"]["schema"]["minimum"] == 1
    assert parameters["top_k"]["schema"]["maximum"] == 100
    assert parameters["top_k"]["schema"]["default"] == 5
    assert "pattern" in parameters["query"]["schema"]
    assert parameters["context"]["schema"]["minimum"] == 0
    assert parameters["w_recency"]["schema"]["minimum"] == 0
    assert parameters["half_life_days"]["schema"]["exclusiveMinimum"] == 0
