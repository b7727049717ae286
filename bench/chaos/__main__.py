"""Faults by the hundred: `python -m bench.chaos --faults 200 --seed 7`.

Starts a service of its own on a scratch folder, with proxies before its servers and a provider of
embeddings that can fail, and makes faults by chance while callers post, search and run jobs. Ends
with exit code 1 when anything that was acknowledged is lost, doubled, stuck or wrong.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from bench.chaos.disk import mount_small_disk, unmount
from bench.chaos.playing import KINDS, Plan, play
from bench.chaos.table import tell
from bench.serving import end_in_order

SEEDS = 1_000_000


@click.command()
@click.option("--faults", default=200, show_default=True, help="How many faults.")
@click.option("--seed", type=int, help="What chance begins with; drawn if not given.")
@click.option("--minutes", default=30.0, show_default=True, help="No fault begins after that.")
@click.option("--kinds", default="", help="Only faults with one of these words, comma-separated.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave the logs in this folder.")
def main(faults: int, seed: int | None, minutes: float, kinds: str, keep: Path | None) -> None:
    """Make faults while a service is used, and look whether it keeps what it promises."""
    end_in_order()
    console = Console(width=100)
    seed = random.randrange(SEEDS) if seed is None else seed
    words = [word.strip() for word in kinds.split(",") if word.strip()]
    chosen = [each for each in KINDS if any(word in each.kind for word in words)]
    plan = Plan(seed, faults, minutes * 60, 300.0, chosen if words else KINDS)
    console.print(f"seed {seed}, {faults} faults")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="memory-chaos-"))
    folder.chmod(0o755)
    try:
        mount_small_disk(folder / "pg")
        outcome = play(plan, folder, click.echo)
    finally:
        if keep:
            ignore = shutil.ignore_patterns("postgres", "valkey", "ballast")
            shutil.copytree(folder, keep, ignore=ignore, dirs_exist_ok=True)
        unmount(folder / "pg")
        shutil.rmtree(folder, ignore_errors=True)
    tell(console, plan, outcome, time.monotonic() - began)
    if outcome.ledger.wrong:
        console.print(f"FAILED with seed {seed}.")
        sys.exit(1)


if __name__ == "__main__":
    main()
