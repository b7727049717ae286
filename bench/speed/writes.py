"""Storing messages, measured: one by one, in batches, and while a worker embeds."""

from bench.speed import pgbench
from bench.speed.plan import Plan, told
from bench.speed.posting import TENANTS, insert_scripts, post
from bench.speed.running import service, serving

POSTS = {"post-16": 16, "post-64": 64}


def measure(plan: Plan) -> None:
    """What is wanted of the ids that store, each beside its floor in the same round."""
    if not plan.among(POSTS):
        return
    with service() as found, serving(found, TENANTS) as api:
        scripts = insert_scripts(found.settings, plan.texts.messages)
        for _ in range(plan.rounds):
            for name in plan.among(POSTS):
                answered = post(api, plan.texts.messages, POSTS[name], plan.seconds)
                floor = pgbench.run(
                    found.settings,
                    found.servers.folder / "pgbench",
                    scripts,
                    POSTS[name],
                    plan.seconds,
                )
                plan.note(name, answered.per_second, floor.per_second, told(answered))
