"""What pgbench has said."""

import click
import pytest

from bench.speed.pgbench import Rate, rate_of

OUTPUT = """\
transaction type: multiple scripts
number of transactions actually processed: 14014
number of failed transactions: 0 (0.000%)
latency average = 5.709 ms
initial connection time = 21.1 ms
tps = 2802.810747 (without initial connection time)
SQL script 1: /tmp/script-0.sql
 - 139 transactions (1.0% of total)
 - tps = 28.05
"""


def test_the_rate_is_that_of_all_scripts() -> None:
    assert rate_of(OUTPUT) == Rate(2802.810747, 5.709, 14014)


@pytest.mark.parametrize(
    "output",
    ["", "pgbench: error: no", OUTPUT.replace("transactions: 0 (0", "transactions: 3 (1")],
)
def test_what_has_failed_is_no_rate(output: str) -> None:
    with pytest.raises(click.ClickException, match="pgbench has failed"):
        rate_of(output)


def test_the_time_of_one_transaction_is_told() -> None:
    rate = Rate(2.0, 500.0, 10, {"PostgreSQL": 0.005, "pgbench": 0.0001})
    assert rate.told == "floor's CPU us each: PostgreSQL 500, pgbench 10"
