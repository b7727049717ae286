"""Figures that are made from several pages, or from several readings of them."""

import pytest

from cli.watching.counts import History, Page, read_page
from cli.watching.figures import REMEMBERED_SECONDS, figures
from cli.watching.findings import findings
from cli.watching.pages import Address, Answer
from cli.watching.reading import Figures

FIRST, SECOND = (f"http://127.0.0.1:{port}/metrics" for port in (8000, 8010))
REQUESTS = """# TYPE http_requests_total counter
http_requests_total{endpoint="/v1/messages",method="POST",status="202"} %d
http_requests_total{endpoint="/v1/messages",method="POST",status="503"} %d
http_requests_total{endpoint="/v1/messages",method="POST",status="499"} %d
http_requests_total{endpoint="/v1/admin/readiness",method="GET",status="503"} %d
"""


def page(started: int = 1, database_up: int = 1, asked: tuple[int, ...] = (0, 0, 0, 0)) -> Page:
    """What an API shows; `asked` is what was answered with 202, 503, 499, and to probes."""
    gauges = f"process_start_time_seconds {started}\ndatabase_up {database_up}\n"
    return read_page(gauges + REQUESTS % asked)


def read(*readings: dict[str, Page], every: float = 2.0) -> Figures:
    """The figures of the last of these readings, by URL."""
    history, now = History(REMEMBERED_SECONDS), 1_000_000.0
    for number, pages in enumerate(readings):
        now = 1_000_000.0 + number * every
        history.add(pages, now)
    addresses = [Address("api", url) for url in (FIRST, SECOND)]
    answers = [Answer(each, readings[-1].get(each.url), "") for each in addresses]
    return figures(answers, history, now)


def alerts(read: Figures) -> list[str]:
    return [each.alert for each in findings(read) if each.alert != "StoreNotMeasured"]


def test_a_database_is_missed_by_one_of_two_or_by_all() -> None:
    away = read({FIRST: page(), SECOND: page(database_up=0)})
    assert (away.parts.database_up, away.parts.without_database) == (True, [SECOND])
    assert alerts(away) == ["DatabaseUnreachable"]
    down = read({FIRST: page(database_up=0), SECOND: page(database_up=0)})
    assert alerts(down) == ["DatabaseDown"]


@pytest.mark.parametrize(
    ("asked", "failed", "found"),
    [
        ((0, 4, 0, 0), 4, ["ErrorRate"]),
        ((0, 0, 4, 0), 4, ["ErrorRate"]),
        ((0, 2, 1, 0), 3, []),
        ((100, 4, 0, 0), 4, []),
        ((9, 0, 0, 90), 0, []),
    ],
)
def test_failed_are_those_with_an_error_and_those_that_were_given_up(
    asked: tuple[int, ...], failed: int, found: list[str]
) -> None:
    # A minute and a half ago, which the rates have forgotten.
    before, after = ({FIRST: page(asked=each), SECOND: page()} for each in ((0,) * 4, asked))
    seen = read(before, after, *[after] * 45)
    assert seen.requests.all.count == 0
    assert (seen.events.requests, seen.events.requests_failed) == (sum(asked[:3]), failed)
    assert alerts(seen) == found


@pytest.mark.parametrize(("starts", "found"), [(3, []), (4, ["RestartLoop"])])
def test_starts_are_remembered_for_a_quarter_of_an_hour(starts: int, found: list[str]) -> None:
    each = [{FIRST: page(number), SECOND: page()} for number in range(1, starts + 2)]
    seen = read(*each, every=60)
    assert [process.restarts for process in seen.processes] == [starts, 0]
    assert alerts(seen) == found
    assert alerts(read(*each, *each[-1:] * 8, every=60)) == found
    assert alerts(read(*each, *each[-1:] * 16, every=60)) == []
