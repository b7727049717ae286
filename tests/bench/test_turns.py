"""How the figures of turns are compared."""

import pytest

from bench.turns import Added, Turn, added, compared, drawn, markdown, medians, turn_of


def turns(*api_us: float) -> list[Turn]:
    return [Turn(each, 1.0, 2.0) for each in api_us]


def test_a_turn_is_averaged_over_its_requests() -> None:
    turn = turn_of([0.002] * 19 + [0.01], busy=0.05)
    assert turn == pytest.approx(Turn(api_us=2_500, p50_ms=2, p95_ms=2))


def test_the_medians_are_of_each_figure_by_itself() -> None:
    found = medians([Turn(1, 9, 5), Turn(2, 8, 50), Turn(30, 7, 6)])
    assert found == Turn(2, 8, 6)


def test_what_is_added_is_the_median_of_what_each_round_added() -> None:
    # The machine was half as fast in the second round: a difference of medians would be 90.
    slow_and_fast = turns(100, 200, 110, 104), turns(110, 222, 121, 114)
    assert added(slow_and_fast[1], slow_and_fast[0]) == Added(10.5, 10, 11)


def test_what_is_added_needs_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="shorter"):
        added(turns(1, 2), turns(1))


def test_the_order_of_a_round_is_drawn_anew_for_each() -> None:
    orders = [drawn(4, f"round {number}") for number in range(20)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert {order[0] for order in orders} == {0, 1, 2, 3}
    assert drawn(4, "round 3") == orders[3]


def test_each_variant_is_compared_with_the_one_it_names() -> None:
    measured = {("POST", 16): {"least": turns(100, 100), "more": turns(125, 125)}}
    assert list(compared(measured, {"more": "least"})) == [
        ["POST", "16", "least", "100", "", "", "1.00", "2.00"],
        ["POST", "16", "more", "125", "+25 (+25 .. +25)", "+25.0%", "1.00", "2.00"],
    ]


def test_a_table_of_markdown_has_words_left_and_figures_right() -> None:
    assert markdown(("what ", "us"), iter([["a line", "31.7"]])).splitlines() == [
        "| what  | us |",
        "| --- | --: |",
        "| a line | 31.7 |",
    ]
