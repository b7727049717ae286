"""Importance: its formula, its bounds, and what makes it more or less."""

import math
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.importance import (
    ROLE_IMPORTANCE,
    Grounds,
    content,
    importance,
    rarity,
    uses_now,
)
from memory.markers import markers
from memory.messages import Role
from memory.settings import Settings
from memory.tenants import TenantSettings, effective

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DEFAULTS = effective(Settings(), TenantSettings())
THRESHOLD = Settings().retention_importance_threshold
MAX_AGE = Settings().retention_max_age_days

SHARE = st.floats(0, 1)
WEIGHT = st.floats(0, 1000)
MOMENT = st.datetimes(timezones=st.just(UTC))
GROUNDS = st.builds(
    Grounds,
    role=st.sampled_from(get_args(Role)),
    created_at=MOMENT,
    markers=SHARE,
    rarity=st.none() | SHARE,
    uses=st.floats(0, 1e12),
    override=st.none(),
)
SETTINGS = st.builds(
    partial(msgspec.structs.replace, DEFAULTS),
    importance_w_role=WEIGHT,
    importance_w_content=WEIGHT,
    importance_w_recency=WEIGHT,
    importance_w_use=WEIGHT,
    importance_half_life_days=st.floats(1e-6, 1e5),
)


def weighted(**weights: float) -> TenantSettings:
    """A tenant for whom nothing counts but what is named."""
    names = ("role", "content", "recency", "use")
    return TenantSettings(**{f"importance_w_{name}": weights.get(name, 0.0) for name in names})


def aged(days: float, text: str, role: str = "user", **changes: float) -> float:
    """The importance of `text` so many days after it was said."""
    grounds = Grounds(role, NOW - days * DAY, markers(text), **changes)  # type: ignore[arg-type]
    return importance(grounds, DEFAULTS, NOW)


def test_it_is_the_documented_sum() -> None:
    grounds = Grounds("assistant", NOW - 30 * DAY, markers=0.5, rarity=0.25, uses=5.0)
    parts = 0.2 * 0.7 + 0.4 * (1 - 0.5 * (1 - 0.4 * 0.25)) + 0.25 * 0.5 + 0.15 * 0.5
    assert importance(grounds, DEFAULTS, NOW) == pytest.approx(parts)


def test_weights_are_brought_to_a_sum_of_1() -> None:
    grounds = Grounds("tool", NOW - 3 * DAY, 0.25, 0.75, 2.0)
    names = [name for name in DEFAULTS.__struct_fields__ if name.startswith("importance_w_")]
    tripled = {name: 3 * getattr(DEFAULTS, name) for name in names}
    larger = msgspec.structs.replace(DEFAULTS, **tripled)
    expected = importance(grounds, DEFAULTS, NOW)
    assert importance(grounds, larger, NOW) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("only", "expected"),
    [("role", 0.3), ("content", 0.475), ("recency", 0.5), ("use", 3 / 8)],
)
def test_each_part_can_count_alone(only: str, expected: float) -> None:
    grounds = Grounds("tool", NOW - 30 * DAY, markers=0.25, rarity=0.75, uses=3.0)
    settings = effective(Settings(), weighted(**{only: 0.001}))
    assert importance(grounds, settings, NOW) == pytest.approx(expected)


def test_zeros_that_met_give_a_half_and_no_error() -> None:
    assert importance(Grounds("user", NOW, 1.0), effective(Settings(), weighted()), NOW) == 0.5


def test_every_role_counts_a_users_words_most() -> None:
    assert set(ROLE_IMPORTANCE) == set(get_args(Role))
    assert ROLE_IMPORTANCE["user"] == max(ROLE_IMPORTANCE.values()) == 1
    assert ROLE_IMPORTANCE["assistant"] > ROLE_IMPORTANCE["tool"]


@given(GROUNDS, SETTINGS, MOMENT)
def test_it_is_a_share(grounds: Grounds, settings: msgspec.Struct, now: datetime) -> None:
    assert 0 <= importance(grounds, settings, now) <= 1  # type: ignore[arg-type]


@given(GROUNDS, SETTINGS, MOMENT, SHARE)
def test_an_override_wins_exactly(
    grounds: Grounds, settings: msgspec.Struct, now: datetime, override: float
) -> None:
    overridden = grounds._replace(override=override)
    assert importance(overridden, settings, now) == override  # type: ignore[arg-type]


@given(GROUNDS, SETTINGS, MOMENT, MOMENT)
def test_what_is_older_is_never_more_important(
    grounds: Grounds, settings: msgspec.Struct, one: datetime, other: datetime
) -> None:
    earlier, later = sorted((one, other))
    before = importance(grounds, settings, earlier)  # type: ignore[arg-type]
    assert importance(grounds, settings, later) <= before  # type: ignore[arg-type]


@given(
    GROUNDS,
    SETTINGS,
    st.sampled_from(["markers", "rarity", "uses"]),
    SHARE,
    SHARE,
)
def test_more_reason_is_never_less_importance(
    grounds: Grounds, settings: msgspec.Struct, part: str, one: float, other: float
) -> None:
    def of(value: float) -> float:
        return importance(grounds._replace(**{part: value}), settings, NOW)  # type: ignore[arg-type]

    less, more = sorted((one, other))
    assert of(less) <= of(more) + 1e-12


def test_a_use_more_counts_and_the_first_ones_most() -> None:
    gains = [aged(0, "", uses=n + 1) - aged(0, "", uses=n) for n in range(20)]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] > 0
    assert aged(0, "", uses=1e9) - aged(0, "") <= 0.15


def test_uses_halve_with_time() -> None:
    half_life = DEFAULTS.importance_half_life_days
    assert uses_now(8.0, NOW - 2 * half_life * DAY, NOW, DEFAULTS) == pytest.approx(2)
    assert uses_now(8.0, NOW, NOW, DEFAULTS) == 8


@pytest.mark.parametrize(
    ("frequencies", "messages", "expected"),
    [
        ([1] * 5, 10_000, 1),
        ([1] * 5, 1_000_000, 1),
        ([100] * 5, 10_000, 0.5),
        ([10_000] * 5, 10_000, 0),
        ([1, 1], 10_000, 0.4),
        ([1, 100], 10_000, 0.3),
        ([10_000, 10_000, 10_000, 10_000, 10_000, 1], 10_000, 0.2),
        ([], 10_000, 0),
        ([1] * 5, 1, 0),
        ([1] * 5, 0, 0),
        ([7] * 5, 3, 0),
        ([0] * 5, 10_000, 1),
    ],
)
def test_rare_words_are_rare_for_the_tenant(
    frequencies: list[int], messages: int, expected: float
) -> None:
    assert rarity(frequencies, messages) == pytest.approx(expected)


@given(st.lists(st.integers(0, 10**7), max_size=30), st.integers(0, 10**7))
def test_rarity_is_a_share(frequencies: list[int], messages: int) -> None:
    assert 0 <= rarity(frequencies, messages) <= 1


@given(
    st.lists(st.integers(1, 1000), max_size=10),
    st.lists(st.integers(1, 1000), max_size=30),
)
def test_common_words_beside_rare_ones_add_nothing_beyond_five(
    own: list[int], filler: list[int]
) -> None:
    """Only the five rarest count: what is as common as the fifth changes nothing."""
    five = sorted(own)[:5]
    padding = [max([*five, each]) for each in filler]
    if len(five) == 5:
        assert rarity(own + padding, 1000) == pytest.approx(rarity(own, 1000))
    # However many there are, words that all messages have are worth nothing.
    assert rarity(own + [1000] * len(filler), 1000) == pytest.approx(rarity(own, 1000))


def test_what_is_not_known_to_be_rare_stands_between() -> None:
    assert content(0.0, 0.0) < content(0.0, None) < content(0.0, 1.0) < content(0.5, 0.0)
    assert content(1.0, None) == 1


@pytest.mark.parametrize("text", ["ok thanks", "haha yes", "Thank You So Much!", "I like it!"])
@pytest.mark.parametrize("known", [None, 0.0, 0.1])
def test_old_small_talk_falls_below_the_threshold(text: str, known: float | None) -> None:
    days = MAX_AGE + 1 if known is not None else 2 * MAX_AGE + 10
    assert aged(0, text, rarity=known) > THRESHOLD
    assert aged(days, text, rarity=known) < THRESHOLD


@pytest.mark.parametrize(
    "text",
    [
        "My daughter Anna was born on 3 May 2019",
        "remember that I'm allergic to nuts",
        "I like Thai food",
        "Meine Tochter heißt Anna",
    ],
)
@pytest.mark.parametrize("known", [None, 0.0, 0.1])
def test_old_facts_stay(text: str, known: float | None) -> None:
    assert aged(100 * 365, text, rarity=known) > THRESHOLD


def test_small_talk_that_search_returns_stays_longer() -> None:
    assert aged(MAX_AGE + 1, "ok thanks", rarity=0.1) < THRESHOLD
    assert aged(MAX_AGE + 1, "ok thanks", rarity=0.1, uses=3.0) > THRESHOLD


def stays(text: str, role: str, known: float) -> float:
    """The age in days at which an unused message passes the threshold; infinite for never."""
    rest = aged(1e5, text, role, rarity=known)
    if rest > THRESHOLD:
        return math.inf
    share = (THRESHOLD - rest) / DEFAULTS.importance_w_recency
    return -DEFAULTS.importance_half_life_days * math.log2(share)


def test_the_page_says_how_long_a_message_stays() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text()
    rows = re.findall(
        r"^\| (.+?) \| (\w+) \| (0\.\d) \| (?:(\d+) days|for good) \|", page, re.MULTILINE
    )
    assert len(rows) > 10
    for text, role, known, days in rows:
        told = float(days) if days else math.inf
        assert stays(text, role, float(known)) == pytest.approx(told, abs=0.5), text
