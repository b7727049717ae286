"""How long a message waits for its vector, over this broker or that.

Posts messages one by one to a service that runs, idle, and waits for each to be embedded:

    python -m bench.brokers --url http://127.0.0.1:8000 --times 50
"""

import statistics
import time

import click
import httpx

POLL_SECONDS = 0.001
LONGEST_SECONDS = 60.0


def wait_for_vector(client: httpx.Client, number: int) -> float:
    """Post a message; the seconds until it is embedded."""
    body = {
        "tenant_id": "bench-brokers",
        "conversation_id": "c",
        "role": "user",
        "content": f"I moved to flat {number} in spring.",
    }
    started = time.perf_counter()
    posted = client.post("/v1/messages", json=body).raise_for_status().json()
    path = f"/v1/messages/{posted['id']}?tenant_id=bench-brokers"
    while client.get(path).raise_for_status().json()["embedding_status"] != "completed":
        if time.perf_counter() - started > LONGEST_SECONDS:
            raise click.ClickException(f"Nothing is embedded within {LONGEST_SECONDS:g} s.")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
@click.option("--times", default=50, show_default=True, type=click.IntRange(2), help="Messages.")
def main(url: str, times: int) -> None:
    """Measure the time from a POST to the vector; the service must have no rate limits."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(3):
            wait_for_vector(client, number)
        waits = sorted(1000 * wait_for_vector(client, number) for number in range(times))
    p95 = waits[round(0.95 * (times - 1))]
    found = f"p50 {statistics.median(waits):.1f} ms, p95 {p95:.1f} ms, slowest {waits[-1]:.1f} ms"
    click.echo(f"POST to vector, {times} messages: {found}")


if __name__ == "__main__":
    main()
