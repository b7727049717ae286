"""What `aiml up` prints when all is ready."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from cli.readiness import url_of
from memory.settings import Settings

BODY = (
    '{"tenant_id": "demo", "conversation_id": "first", "role": "user",'
    ' "content": "My flight to Lisbon leaves on Friday at nine."}'
)
QUESTION = {"tenant_id": "demo", "query": "When do I fly to Lisbon?"}


def lines(settings: Settings, folder: Path, seconds: float, *, keyed: bool) -> Iterator[str]:
    """Where everything is, and two commands to paste. No secret is shown.

    `keyed` says that the service wants a key, which then stands in the commands by name.
    """
    api = url_of(settings.api_host, settings.api_port)
    key = ' -H "x-api-key: $MEMORY_API_KEY"' if keyed else ""
    yield f"\nReady after {seconds:.1f} s."
    yield f"  API     {api}   (docs: {api}/docs)"
    if settings.async_embeddings:
        yield f"  Flower  {url_of(settings.flower_host, settings.flower_port)}"
    if not keyed:
        yield "  Keys    none: open to everybody on this machine (`aiml keys create` ends that)"
    yield f"  Data    {folder}"
    yield f"  Logs    {folder / 'logs'}"
    yield "\nPost a message, then find it:\n"
    curl = f"curl -s -w '\\n'{key}"
    json = "-H 'Content-Type: application/json'"
    # The pause is for those who paste both lines at once: a worker embeds the message meanwhile.
    yield f"{curl} {api}/v1/messages {json} -d '{BODY}'"
    yield f"{curl} '{api}/v1/memory/search?{urlencode(QUESTION)}'"
    if key:
        yield "\n(MEMORY_API_KEY is to be one of your keys; `aiml keys create` makes one.)"
    yield "\nCtrl-C stops everything. `aiml watch`, in another terminal, shows how it is."
