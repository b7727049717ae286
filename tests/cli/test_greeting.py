import shlex
from pathlib import Path

from cli.greeting import lines
from memory.settings import Settings

FOLDER = Path("/data")


def test_both_commands_can_be_pasted() -> None:
    curls = [
        line for line in lines(Settings(), FOLDER, 1.0, keyed=False) if line.startswith("curl")
    ]
    assert len(curls) == 2
    post, search = (shlex.split(line) for line in curls)
    assert "http://127.0.0.1:8000/v1/messages" in post
    assert search[-1].startswith("http://127.0.0.1:8000/v1/memory/search?tenant_id=demo&query=")
    assert " " not in search[-1]


def test_no_secret_is_shown() -> None:
    settings = Settings(api_keys="hush", flower_auth="me:hush", redis_url="redis://:hush@r/0")
    text = "\n".join(lines(settings, FOLDER, 1.0, keyed=True))
    assert "hush" not in text
    assert text.count('-H "x-api-key: $MEMORY_API_KEY"') == 2


def test_an_address_for_all_is_shown_as_one_to_open() -> None:
    settings = Settings(api_host="0.0.0.0", flower_host="::", api_port=81)
    text = "\n".join(lines(settings, FOLDER, 1.0, keyed=False))
    assert "http://127.0.0.1:81/docs" in text
    assert "http://[::1]:5555" in text


def test_without_a_queue_there_is_no_flower() -> None:
    settings = Settings(async_embeddings=False)
    assert "Flower" not in "\n".join(lines(settings, FOLDER, 1.0, keyed=False))
