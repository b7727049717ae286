"""The page fits its terminal, and shows first what matters most."""

import io

import pytest
from rich.console import Console

from cli.watching.findings import findings
from cli.watching.lines import lines
from cli.watching.reading import Endpoint, Figures, Process
from cli.watching.screen import Screen, plain
from tests.cli.watching.test_findings import WELL, but, without

BUSY = [Endpoint(f"GET /v1/{number}", 50 - number, 1.0, 0.0, 0.01, 0.02) for number in range(30)]


def drawn(figures: Figures, width: int = 80, height: int = 24) -> list[str]:
    """The lines of the page in a terminal of that size."""
    size = {"width": width, "height": height}
    console = Console(file=io.StringIO(), record=True, force_terminal=True, **size)
    console.print(Screen(figures, findings(figures)))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_all_of_it_is_on_a_small_terminal_when_little_is_to_be_told() -> None:
    page = drawn(WELL)
    assert page[:2] == [
        "AI Memory Layer   2026-11-21 21:30:00 UTC   rates over 1.0 min",
        "All is well.",
    ]
    assert len(page) <= 24
    assert len(list(lines(WELL))) == len(page) - 3
    text = "\n".join(page)
    for part in (
        "POST /v1/messages                       30       0%    10 ms    50 ms",
        "searches   20/s   p95: embed 10 ms, find 50 ms, dress 1.0 ms",
        "caches     hits: search_answer 25.0%",
        "messages   stored 30/s   embedded 29/s   lag p95 400 ms",
        "3 pending   oldest 1.0 s   0 failed   (30 s ago)",
        "queues     embeddings 3, maintenance 0",
        "tasks      embed_messages: 12 success",
        "retention  0 archived   0 deleted   last run completed 2.0 h ago",
        "store      12,345 messages   7 archived   20 MB",
        "parts      database up, connections 2 of 30   redis up",
        "breakers   openai closed",
        "disk       data 40.0% free",
        "beat       has the lock   looked at its schedule 2.0 s ago",
        "processes  api     127.0.0.1:8000          200 MB   up 17 min   cpu 10.0%",
        "refused    none",
    ):
        assert part in text, part


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 5), (120, 30), (200, 60)])
@pytest.mark.parametrize("figures", [WELL, without("api", "worker", "beat")], ids=["well", "down"])
def test_it_fits(figures: Figures, width: int, height: int) -> None:
    page = drawn(but("requests", endpoints=BUSY) if figures is WELL else figures, width, height)
    assert len(page) <= height
    assert max(map(len, page)) <= width


def test_what_is_wrong_stands_first_with_where_to_read_on() -> None:
    page = drawn(without("worker"))
    assert page[1] == "1 wrong; docs/runbook.md says what to do:"
    assert page[2].startswith("CRITICAL No worker answers at 127.0.0.1:9101: nobody")
    assert "#workerdown" in page[2]
    assert "worker  127.0.0.1:9101   nobody listens there" in "\n".join(page[3:])


def test_a_larger_terminal_names_the_file_with_each() -> None:
    assert "docs/runbook.md#workerdown" in drawn(without("worker"), 120)[2]


def test_much_that_is_wrong_leaves_room_for_the_rest() -> None:
    many = [
        Process("worker", f"http://10.0.0.{number}:9101/metrics", answers=False, why_not="gone")
        for number in range(30)
    ]
    page = drawn(but(processes=[*WELL.processes, *many]))
    shown = [line for line in page if line.startswith("WARNING")]
    assert 0 < len(shown) < 12
    assert page[1] == f"30 wrong (and {30 - len(shown)} more); docs/runbook.md says what to do:"
    assert any(line.startswith("requests") or " all " in line for line in page)


def test_what_does_not_fit_is_what_matters_least() -> None:
    page = "\n".join(drawn(but("requests", endpoints=BUSY), height=12))
    for kept in (" all ", "messages", "pending", "processes"):
        assert kept in page
    for dropped in ("store  ", "retention", "GET /v1/5 "):
        assert dropped not in page


def test_a_line_that_lost_the_one_before_it_says_what_it_is_of() -> None:
    page = drawn(WELL, height=4)
    assert page[-1].startswith("requests   all")


def test_a_wide_terminal_has_two_columns() -> None:
    page = drawn(WELL, 170, 24)
    (line,) = [line for line in page if "POST /v1/messages" in line]
    assert "queues     embeddings 3" in line or "tasks" in line or "pending" in line
    assert len(page) <= 16


def test_a_larger_terminal_shows_more_endpoints() -> None:
    busy = but("requests", endpoints=BUSY)
    assert "GET /v1/29" not in "\n".join(drawn(busy))
    assert "GET /v1/29" in "\n".join(drawn(busy, 80, 60))


def test_as_text_nothing_is_left_out() -> None:
    down = but(
        processes=without("worker").processes, requests=but("requests", endpoints=BUSY).requests
    )
    text = plain(down, findings(down))
    where = "(docs/runbook.md#workerdown)"
    said = "CRITICAL: No worker answers at 127.0.0.1:9101: nobody listens there"
    assert f"{said} {where}" in text
    assert "GET /v1/29" in text
    assert "store      12,345 messages" in text
    assert "\x1b" not in text


def test_a_terminal_is_not_told_what_to_do_by_a_page() -> None:
    evil = but("pipeline", tasks={"\x1b]0;owned\x07\x1b[2J": {"success": 1}})
    assert "?]0;owned??[2J: 1 success" in plain(evil, [])
    assert "\x1b" not in "\n".join(drawn(evil))


def test_what_is_not_known_is_not_called_zero() -> None:
    page = "\n".join(drawn(but("store", pending=None, measured_seconds_ago=None)))
    assert "what waits is not known" in page
