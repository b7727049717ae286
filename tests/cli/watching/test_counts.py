"""Rates, shares and percentiles, against values computed by hand."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cli.watching.counts import (
    RESTARTS,
    Counts,
    History,
    Page,
    Series,
    by_label,
    increase,
    quantile,
    read_page,
    total,
)

STARTED = "process_start_time_seconds"


def counted(name: str = "c_total", **values: float) -> Counts:
    """A counter by its label."""
    return {Series(name, frozenset({("label", key)})): value for key, value in values.items()}


def page(started: float = 1.0, **values: float) -> Page:
    return Page(counted(**values), {Series(STARTED, frozenset()): started})


def histogram(name: str = "s", route: str = "/", **buckets: float) -> dict[Series, float]:
    """Cumulative buckets: `b0_1` is the one up to 0.1, `inf` the last."""
    bounds = {key: key.removeprefix("b").replace("_", ".") for key in buckets}
    return {
        Series(
            f"{name}_bucket",
            frozenset({("le", bounds[key].replace("inf", "+Inf"))} | {("r", route)}),
        ): n
        for key, n in buckets.items()
    }


BUCKETS = histogram(b0_1=10, b0_5=30, b1_0=40, inf=40)


@pytest.mark.parametrize(
    ("which", "seconds"),
    [
        # The 4th of 10 in the first bucket, which begins at 0.
        (0.1, 0.04),
        (0.25, 0.1),
        # The 20th of all is the 10th of the 20 between 0.1 and 0.5.
        (0.5, 0.3),
        # The 38th is the 8th of the 10 between 0.5 and 1.
        (0.95, 0.9),
        (1.0, 1.0),
    ],
)
def test_a_percentile_lies_in_its_bucket_as_prometheus_has_it(which: float, seconds: float) -> None:
    assert quantile(BUCKETS, which, "s") == pytest.approx(seconds)


def test_a_percentile_beyond_all_bounds_is_the_highest_of_them() -> None:
    assert quantile(histogram(b0_1=1, b5_0=2, inf=9), 0.95, "s") == 5.0


def test_an_empty_bucket_is_passed_over() -> None:
    assert quantile(histogram(b1_0=0, b2_0=0, b4_0=10, inf=10), 0.5, "s") == pytest.approx(3.0)


def test_nothing_observed_has_no_percentile() -> None:
    assert quantile({}, 0.95, "s") is None
    assert quantile(histogram(b1_0=0, inf=0), 0.95, "s") is None


def test_a_percentile_is_of_those_with_the_label_or_of_all() -> None:
    both = BUCKETS | histogram(route="/slow", b0_1=0, b0_5=0, b1_0=40, inf=40)
    assert quantile(both, 0.5, "s", r="/") == pytest.approx(0.3)
    assert quantile(both, 0.5, "s", r="/slow") == pytest.approx(0.75)
    # The 40th of all is the 10th of the 50 between 0.5 and 1.
    assert quantile(both, 0.5, "s") == pytest.approx(0.6)


def test_only_what_has_risen_is_an_increase() -> None:
    assert increase(page(a=3, b=1), page(a=5, b=1)) == counted(a=2)


def test_a_series_that_is_new_has_counted_from_0() -> None:
    assert increase(page(a=3), page(a=3, b=4)) == counted(b=4)


def test_a_counter_that_fell_has_counted_from_0() -> None:
    assert increase(page(a=30, b=5), page(a=4, b=6)) == counted(a=4, b=1)


def test_a_process_that_was_started_anew_has_counted_from_0_also_beyond_where_it_was() -> None:
    assert increase(page(started=1, a=5), page(started=2, a=7)) == {
        **counted(a=7),
        Series(RESTARTS, frozenset()): 1,
    }


def test_rates_are_of_the_time_between_readings() -> None:
    history = History(300)
    history.add({"x": page(a=10)}, 100.0)
    assert history.lately(60).rate("c_total") is None
    history.add({"x": page(a=16)}, 102.0)
    assert history.lately(60).rate("c_total") == 3.0


def test_a_window_ends_and_what_is_older_is_forgotten() -> None:
    history = History(120)
    for second in range(0, 400, 20):
        history.add({"x": page(a=second)}, second)
    assert history.lately(60) == (60.0, {"x": counted(a=60)})
    assert history.lately(1_000).seconds <= 140


def test_an_interval_longer_than_the_window_counts_whole() -> None:
    history = History(300)
    history.add({"x": page(a=0)}, 0.0)
    history.add({"x": page(a=90)}, 90.0)
    assert history.lately(60).rate("c_total") == 1.0


def test_a_process_counts_from_when_it_was_first_seen() -> None:
    history = History(300)
    history.add({"x": page(a=1)}, 0.0)
    history.add({"x": page(a=2), "y": page(a=1_000)}, 2.0)
    assert total(history.lately(60).all, "c_total") == 1
    history.add({"x": page(a=2), "y": page(a=1_005)}, 4.0)
    assert total(history.lately(60).all, "c_total") == 6


def test_a_process_that_was_silent_counts_with_what_it_did_meanwhile() -> None:
    history = History(300)
    history.add({"x": page(a=1)}, 0.0)
    history.add({}, 2.0)
    history.add({"x": page(a=9)}, 4.0)
    assert history.lately(60) == (4.0, {"x": counted(a=8)})


def test_starts_are_counted_also_of_a_process_that_is_silent_between() -> None:
    history = History(900)
    for second, pages in enumerate(({"x": page(1)}, {}, {"x": page(2)}, {"x": page(2)})):
        history.add(pages, float(second))
    history.add({"x": page(3), "y": page(9)}, 4.0)
    assert history.lately(900).by_url == {"x": {Series(RESTARTS, frozenset()): 2}}


def test_a_window_of_some_processes_knows_nothing_of_others() -> None:
    history = History(300)
    for value in (0, 4):
        history.add({"x": page(a=value), "y": page(a=value * 10)}, float(value))
    window = history.lately(60)
    assert window.rate("c_total") == 11.0
    assert window.of({"x"}).rate("c_total") == 1.0
    assert window.of({"x"}).rate("another") == 0.0
    assert window.of({"z"}).rate("c_total") is None


def test_a_page_is_read_as_it_was_written() -> None:
    registry = CollectorRegistry()
    Counter("asked", "Asked.", ["who"], registry=registry).labels('a "b"\\\n').inc(3)
    Gauge("now", "Now.", registry=registry).set(7)
    Histogram("took", "Took.", buckets=(1, 2), registry=registry).observe(1.5)
    read = read_page(generate_latest(registry).decode())
    assert by_label(read.counters, "asked_total", "who") == {'a "b"\\\n': 3}
    assert by_label(read.counters, "took_bucket", "le") == {"1.0": 0, "2.0": 1, "+Inf": 1}
    assert total(read.gauges, "now") == 7


@pytest.mark.parametrize(
    "text", ["<html>It works!</html>", "a{b=", 'a{b="c"', "a b", 'a{b="c", ="1"} 3']
)
def test_what_is_no_page_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - that it is no other is the point
        read_page(text)
