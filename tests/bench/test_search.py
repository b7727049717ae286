"""The whole bench against a served API, with the mock provider."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection, text

from bench.search import main
from memory.settings import Settings
from tests.bench.entries import asked, locomo_sample, written
from tests.conftest import message, serving

PNG = b"\x89PNG\r\n\x1a\n"
# Texts equal have equal vectors, so what is asked word for word is found first.
WORD_FOR_WORD = asked("Bo: The kayak is blue.", ["D10:1"])
TURNS = 6


@pytest.fixture
def inline(settings: Settings) -> Iterator[httpx.Client]:
    """An API that embeds while it stores, and so needs no worker."""
    with serving(msgspec.structs.replace(settings, async_embeddings=False)) as client:
        yield client


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two conversations that are alike, with a question each."""
    when = asked("Ada: I bought a kayak.", ["D2:1"], 2)
    samples = [locomo_sample("one", qa=[WORD_FOR_WORD]), locomo_sample("two", qa=[when])]
    return written(tmp_path / "kayaks.json", samples)


def bench(dataset: Path, url: object, *options: str) -> Result:
    """A run of the bench; its figures go to the current folder's `out`."""
    arguments = ["--dataset", str(dataset), "--url", str(url), "--report", "out", *options]
    return CliRunner().invoke(main, arguments)


def figures() -> Any:
    return json.loads(Path("out/search-kayaks.json").read_text())


def test_tables_json_and_picture_come_out(inline: httpx.Client, dataset: Path) -> None:
    options = ("--latency-requests", "20", "--rerank", "unheard_of")
    run = bench(dataset, inline.base_url, *options)
    assert run.exit_code == 0, run.output
    for row in ("one", "two", "temporal", "single-hop", "all", "fusion", "MRR", "p95 ms"):
        assert row in run.stdout
    assert Path("out/search-kayaks.png").read_bytes().startswith(PNG)
    found = figures()
    assert (found["format"], found["conversations"], found["messages"]) == ("locomo", 2, TURNS)
    fusion = found["results"][0]
    assert fusion["name"] == "fusion"
    assert fusion["overall"]["hit"] == {"1": 1, "3": 1, "5": 1, "10": 1}
    assert fusion["overall"]["mrr"] == 1
    assert fusion["by_category"].keys() == {"single-hop", "temporal"}
    assert fusion["by_conversation"].keys() == {"one", "two"}
    measured = {each["name"] for each in found["results"]}
    assert measured.isdisjoint(found["skipped"])
    assert measured | found["skipped"].keys() == {
        "fusion",
        "fusion context=2",
        "dense",
        "lexical",
        "rerank late",
        "rerank unheard_of",
    }
    assert "skipped rerank unheard_of: " in run.stdout
    assert [(each["clients"], each["requests"]) for each in found["latency"]] == [(1, 20), (16, 20)]
    assert all(0 < each["p50_ms"] <= each["p95_ms"] for each in found["latency"])


def test_a_second_run_posts_nothing_twice(
    inline: httpx.Client, dataset: Path, owner: Connection
) -> None:
    for times in range(2):
        run = bench(dataset, inline.base_url, "--latency-requests", "0")
        assert run.exit_code == 0, run.output
        assert ("2 batches were there from an earlier run" in run.stdout) == (times == 1)
    assert owner.scalar(text("select count(*) from messages")) == TURNS
    assert figures()["results"][0]["overall"]["hit"]["1"] == 1
    assert figures()["latency"] == []


def test_messages_of_another_origin_are_told(inline: httpx.Client, dataset: Path) -> None:
    tenant = "our-one"
    inline.post("/v1/messages", json=message(tenant_id=tenant)).raise_for_status()
    options = ("--tenant-prefix", "our-", "--latency-requests", "0")
    run = bench(dataset, inline.base_url, *options)
    assert run.exit_code == 0, run.output
    assert "fusion: 1 answers had messages that this run did not post" in run.stdout


def test_another_data_set_under_the_same_tenants_is_refused(
    inline: httpx.Client, dataset: Path, tmp_path: Path, owner: Connection
) -> None:
    assert bench(dataset, inline.base_url, "--latency-requests", "0").exit_code == 0
    other = locomo_sample("one", qa=[WORD_FOR_WORD])
    other["conversation"]["session_2"][0]["text"] = "I sold a kayak."
    run = bench(written(tmp_path / "other.json", [other]), inline.base_url)
    assert run.exit_code == 1
    assert "tenant bench-one: 422" in run.stderr
    assert "--tenant-prefix" in run.stderr
    assert owner.scalar(text("select count(*) from messages")) == TURNS


def test_a_key_is_sent(settings: Settings, dataset: Path) -> None:
    keyed = msgspec.structs.replace(settings, async_embeddings=False, api_keys="secret")
    with serving(keyed) as client:
        refused = bench(dataset, client.base_url)
        assert refused.exit_code == 1
        assert "Error: tenant bench-one: 401: " in refused.stderr
        options = ("--key", "secret", "--limit", "1", "--latency-requests", "5")
        assert bench(dataset, client.base_url, *options).exit_code == 0
    assert figures()["conversations"] == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:8000", "http://"])
def test_a_service_that_is_not_there_is_one_line(dataset: Path, url: str) -> None:
    run = bench(dataset, url)
    assert run.exit_code == 1
    assert run.stderr.startswith("Error: ")
    assert len(run.stderr.splitlines()) == 1
    assert url in run.stderr


def test_a_malformed_file_is_one_line(tmp_path: Path) -> None:
    run = bench(written(tmp_path / "kayaks.json", [{"conversation": {}}]), "http://127.0.0.1:1")
    assert run.exit_code == 1
    assert run.stderr.startswith("Error: kayaks.json: entry 0: ")
    assert len(run.stderr.splitlines()) == 1
