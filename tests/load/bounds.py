"""How long a run lasts, who sends how much of it, and what its end is called: well or not."""

import logging
from collections.abc import Callable
from typing import Any

import gevent
from allowance import Allowance, share_of
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

SPENT, REFUSED = "load_spent", "load_refused"

log = logging.getLogger("load")


class Load:
    """What all users of this process share."""

    allowance = Allowance(0, lambda: None)
    refused = ""


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """Our own options, beside locust's `--host`, `--users` and `--run-time`."""
    parser.add_argument("--requests", type=int, default=1000, help="In all; 0: see --run-time.")
    parser.add_argument(
        "--tenants", default="load-1,load-2,load-3", help="The first has most of the users."
    )
    parser.add_argument(
        "--errors-allowed", type=float, default=0.01, help="The share that may fail, 0 to 1."
    )
    parser.add_argument("--makers", type=int, default=1, help="Set by the master: its workers.")


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Refuse what would have no end, and hear the workers."""
    options, runner = environment.parsed_options, environment.runner
    bounded = options.requests > 0 or options.run_time
    if not bounded and not isinstance(runner, WorkerRunner):
        raise SystemExit("Say how long: --requests of at least 1, or --run-time.")
    if isinstance(runner, MasterRunner):
        spent: set[str] = set()

        def note_spent(environment: Environment, msg: Any, **_: Any) -> None:
            spent.add(msg.node_id)
            if len(spent) >= options.makers:
                gevent.spawn(runner.quit)

        def note_refused(environment: Environment, msg: Any, **_: Any) -> None:
            give_up(environment, msg.data)

        runner.register_message(SPENT, note_spent)
        runner.register_message(REFUSED, note_refused)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Share the requests out among the workers, where there are any."""
    options, runner = environment.parsed_options, environment.runner
    if isinstance(runner, MasterRunner):
        options.makers = runner.worker_count
        if options.num_users < options.makers:
            give_up(environment, f"{options.makers} workers need as many users: raise --users")
        return
    requests, when_spent = options.requests, end_of(environment)
    if isinstance(runner, WorkerRunner) and requests:
        requests = share_of(requests, runner.worker_index, options.makers)
        if not requests:
            when_spent()
    Load.allowance = Allowance(requests, when_spent)


def end_of(environment: Environment) -> Callable[[], object]:
    """What ends this process's part of the run."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        return lambda: runner.send_message(SPENT, {})
    return lambda: gevent.spawn(runner.quit)


def give_up(environment: Environment, reason: str) -> None:
    """End a run that can come to nothing."""
    if Load.refused:
        return
    Load.refused = reason
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.send_message(REFUSED, reason)
    else:
        log.error("The run was ended: %s", reason)
        gevent.spawn(environment.runner.quit)


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """The exit code, and a line that says why it is so."""
    if isinstance(environment.runner, WorkerRunner):
        environment.process_exit_code = 0
        return
    told = {
        status: sum(
            entry.num_requests
            for (name, _), entry in environment.stats.entries.items()
            if name.endswith(waiting(status))
        )
        for status in (429, 503)
    }
    total = environment.stats.total
    answered = total.num_requests - total.num_failures - sum(told.values())
    share = total.num_failures / max(total.num_requests, 1)
    log.info(
        "%d requests: %d answered, %d told to wait (429), %d (503), %d failed (%.1f%%)",
        total.num_requests,
        answered,
        told[429],
        told[503],
        total.num_failures,
        100 * share,
    )
    well = answered > 0 and share <= environment.parsed_options.errors_allowed and not Load.refused
    environment.process_exit_code = 0 if well else 1


def waiting(status: int) -> str:
    """How the name of a request ends that was told to come back later."""
    return f" ({status}: wait)"
