"""What an answer of search is scored as."""

from typing import Any

from bench.asking import turns_of


def test_an_item_stands_for_its_message_and_the_neighbours_beside_it() -> None:
    turn_of = {"m1": "D1:1", "m2": "D1:2", "m3": "D1:3"}
    items: list[dict[str, Any]] = [
        {"message_id": "m2", "before": [{"message_id": "m1"}], "after": [{"message_id": "m3"}]},
        {"message_id": "m3", "before": None, "after": []},
        {"message_id": "m1"},
    ]
    assert turns_of(items, turn_of) == [{"D1:1", "D1:2", "D1:3"}, {"D1:3"}, {"D1:1"}]


def test_a_message_of_another_origin_keeps_its_rank() -> None:
    items = [{"message_id": "strange"}, {"message_id": "m1"}]
    assert turns_of(items, {"m1": "D1:1"}) == [frozenset(), {"D1:1"}]
