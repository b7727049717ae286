"""URLs of sentinels, as people write them."""

import pytest

from memory.errors import SettingsError
from memory.sentinels import Sentinels, sentinels
from memory.urls import broker_url, redis_url
from tasks.brokers import redis_configuration


def test_all_that_one_can_say() -> None:
    url = (
        "redis+sentinel://me:p%40ss%2F%3A@a.example:26380,[::1],c/3"
        "?master_name=m&sentinel_username=s&sentinel_password=%26"
    )
    assert redis_url(url) == broker_url(url) == url
    assert sentinels(url) == Sentinels(
        hosts=(("a.example", 26380), ("::1", 26379), ("c", 26379)),
        master_name="m",
        database=3,
        username="me",
        password="p@ss/:",
        sentinel_username="s",
        sentinel_password="&",
    )
    assert redis_configuration(url)["broker_url"] == (
        "sentinel://me:p%40ss%2F%3A@a.example:26380/3"
        ";sentinel://me:p%40ss%2F%3A@[::1]:26379/3;sentinel://me:p%40ss%2F%3A@c:26379/3"
    )


def test_the_least_that_one_can_say() -> None:
    found = sentinels("redis+sentinel://h?master_name=m")
    assert found == Sentinels((("h", 26379),), "m", 0, None, None, None, None)


def test_one_redis_has_none() -> None:
    assert sentinels("redis://h/0") is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://h/0", "expected redis"),
        ("redis+sentinel://h?master_name=", "expected redis"),
        ("redis+sentinel://?master_name=m", "expected redis"),
        ("redis+sentinel://h,,i?master_name=m", "expected redis"),
        ("redis+sentinel://h:port?master_name=m", "expected redis"),
        ("redis+sentinel://h,i:65536?master_name=m", "expected redis"),
        ("redis+sentinel://:p@w@h?master_name=m", "expected redis"),
        ("redis+sentinel://h/database?master_name=m", "expected redis"),
        ("redis+sentinel://h;redis+sentinel://i/0?master_name=m", "expected redis"),
        ("redis+sentinel://h/0?master_name=m&ssl=true", r"redis\+sentinel:// has no option 'ssl'"),
    ],
)
def test_what_is_no_url_of_sentinels_is_said_to_be_none(url: str, said: str) -> None:
    for read, source in ((redis_url, "MEMORY_REDIS_URL"), (broker_url, "MEMORY_BROKER_URL")):
        with pytest.raises(SettingsError, match=f"^{source}: {said}"):
            read(url)
