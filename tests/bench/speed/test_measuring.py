"""A whole run, with servers of its own, small and short."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.speed import embedding, reads, store
from bench.speed.__main__ import main

PNG = b"\x89PNG\r\n\x1a\n"
MEASURED = ["post-16", "batch-100", "search-10k-16", "search-repeat"]
IDLE = ["drain", "searchable-p95", "rss-worker"]
# It starts ten processes that load a model or a framework: beside other tests that takes its time.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores of a few messages."""
    monkeypatch.setitem(reads.SIZES, "10k", 300)
    monkeypatch.setattr(reads, "FLOOR_QUERIES", 5)
    monkeypatch.setattr(store, "EMBEDDED", 40)
    monkeypatch.setattr(embedding, "DRAINED", 100)
    monkeypatch.setattr(embedding, "POSTS", 2)


def measured(folder: Path, wanted: list[str]) -> dict[str, dict[str, float]]:
    """The figures of a run, by id."""
    options = ["--only", ",".join(wanted), "--rounds", "1", "--seconds", "1"]
    run = CliRunner().invoke(main, [*options, "--report", str(folder)])
    assert run.exit_code == 0, run.output
    assert all(each in run.stdout for each in (*wanted, "client alone, 16 connections"))
    assert (folder / "speed.png").read_bytes().startswith(PNG)
    return {each["id"]: each for each in json.loads((folder / "latest.json").read_text())}


def test_what_stores_and_searches_is_measured_beside_its_floors(tmp_path: Path) -> None:
    found = measured(tmp_path, [*MEASURED, "growth-1m"])
    for name in MEASURED:
        assert found[name]["value"] > 0
        assert found[name]["floor"] > 0
        assert found[name]["ratio"] > 0
    assert found["growth-1m"]["value"] is None


def test_what_needs_a_worker_is_measured(tmp_path: Path) -> None:
    found = measured(tmp_path, IDLE)
    assert all(found[name]["value"] > 0 and found[name]["floor"] > 0 for name in IDLE)


def test_an_unknown_id_is_refused() -> None:
    run = CliRunner().invoke(main, ["--only", "post-17"])
    assert run.exit_code == 2
    assert "post-17" in run.output
