"""What a run came to, as people read it."""

from collections import defaultdict
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.chaos.playing import Outcome, Plan
from bench.chaos.scene import Felt

FELT: tuple[Felt, ...] = ("api", "work", "beat")
SHOWN = 40


def recoveries(outcome: Outcome) -> Table:
    """How often each kind was survived, and how soon all was whole again."""
    table = Table("fault", "times", *(f"{felt}: median, max s" for felt in FELT))
    by_kind: dict[str, list[dict[Felt, float]]] = defaultdict(list)
    for each in outcome.rounds:
        for kind in each.kinds:
            by_kind[kind].append(each.seconds)
            by_kind["all"].append(each.seconds)
    for kind, times in sorted(by_kind.items(), key=lambda entry: (entry[0] == "all", entry[0])):
        table.add_row(kind, str(len(times)), *(shown(times, felt) for felt in FELT))
    return table


def shown(times: list[dict[Felt, float]], felt: Felt) -> str:
    """The median and the longest time, empty where nothing was to be waited for."""
    seconds = [each[felt] for each in times if felt in each]
    return f"{median(seconds):.1f}, {max(seconds):.1f}" if seconds else ""


def tell(console: Console, plan: Plan, outcome: Outcome, seconds: float) -> None:
    """Print the table and the sums."""
    console.print(recoveries(outcome))
    faults = sum(len(each.kinds) for each in outcome.rounds)
    several = sum(len(each.kinds) > 1 for each in outcome.rounds)
    ledger = outcome.ledger
    counted = {word: sum(f" {word}: " in each for each in ledger.wrong) for word in COUNTED}
    found = ", ".join(f"{count} {word}" for word, count in counted.items())
    console.print(
        f"seed {plan.seed}: {faults} faults in {len(outcome.rounds)} rounds ({several} of several"
        f" at once), {seconds:.0f} s. {len(ledger.said):,} messages and {len(ledger.jobs)} jobs"
        f" acknowledged; {found}, {len(ledger.wrong)} wrong in all. Drained in"
        f" {outcome.drained_seconds:.0f} s."
    )
    starved = sum(each.starved for each in outcome.rounds)
    if starved:
        console.print(f"After {starved} rounds it took longer than it may for want of a processor.")
    answers = ", ".join(f"{count:,} {what}" for what, count in outcome.answers.most_common())
    console.print(f"Answers: {answers}.", soft_wrap=True)
    if outcome.skipped:
        console.print(f"Skipped: {outcome.skipped}.")
    for each in ledger.wrong[:SHOWN]:
        console.print(f"WRONG: {each}", soft_wrap=True, markup=False, highlight=False)


COUNTED = ("lost", "doubled", "stuck")
