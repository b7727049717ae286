"""The store's embedding models: which they are, moving to another, dropping an old one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from cli.jobs import Job, carry_out
from cli.servers import connection, database
from db.models import all_models
from memory.embedding.recipes import StoredModel, droppable, read_recipe
from memory.embedding.select import check_recipe
from memory.settings import Settings, load_settings
from tasks.dropping import drop_step, new_drop
from tasks.moving import migrate_step, new_move

STARTED_BY = "aiml"


def waiting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command whose work is a job."""
    no_wait = click.option("--no-wait", is_flag=True, help="Do not wait for the end.")
    here = click.option("--here", is_flag=True, help="Do the work in this process, not in workers.")
    return no_wait(here(command))


@click.group(invoke_without_command=True)
@click.pass_context
def embeddings(context: click.Context) -> None:
    """List the embedding models that the store has vectors of."""
    if context.invoked_subcommand is not None:
        return
    with database(load_settings()) as url:
        models = all_models(url)
    for model in models:
        click.echo(described(model))
    if not models:
        click.echo("None yet: the first start chooses the one that is configured.")


@embeddings.command()
@click.argument("model")
@click.option(
    "--dimensions", type=int, help="The length of its vectors, where it can shorten them."
)
@waiting
def migrate(model: str, dimensions: int | None, no_wait: bool, here: bool) -> None:
    """Move to MODEL, such as `openai` or `openai:text-embedding-3-large`.

    Search goes on with the old model until each message has a vector of the new one. What an
    earlier try has done is not done again.
    """
    recipe = read_recipe(model, dimensions)
    with store(load_settings(), here=here) as settings:
        check_recipe(settings, recipe)
        job = Job(new_move(recipe, STARTED_BY), migrate_step, f"Moving to {recipe}", moved)
        carry_out(settings, job, wait=not no_wait, here=here)


@embeddings.command()
@click.argument("model")
@click.option("--dimensions", type=int, help="Which of several models of that name.")
@waiting
def drop(model: str, dimensions: int | None, no_wait: bool, here: bool) -> None:
    """Drop the vectors and the index of MODEL, which is not the active one."""
    with store(load_settings(), here=here) as settings:
        models = all_models(settings.database_url)
        found = droppable(models, model, dimensions, datetime.now(UTC))
        job = Job(new_drop(found, STARTED_BY), drop_step, f"Dropping {found}", dropped)
        carry_out(settings, job, wait=not no_wait, here=here)


@contextmanager
def store(settings: Settings, *, here: bool) -> Iterator[Settings]:
    """`settings` with the servers' URLs. For work that is done here a database is enough.

    So the way to another model is open where the service does not start for want of the old one.
    """
    if here:
        with database(settings) as url:
            yield msgspec.structs.replace(settings, database_url=url)
    else:
        yield connection(settings)


def described(model: StoredModel) -> str:
    """A line about a model."""
    state = "active" if model.active else "filling" if model.filling else "inactive"
    provider = f", provider {model.recipe.provider}" if model.recipe else ""
    return f"{state:8}  {model}{provider}"


def moved(result: dict[str, Any]) -> str:
    """What came of a move, for people."""
    refused = f"; {result['refused']:,} are refused by it, and failed" if result["refused"] else ""
    return (
        f"Searches use {result['model']} ({result['dimensions']} dimensions):"
        f" {result['messages']:,} messages, {result['embedded']:,} of them embedded anew in"
        f" {result['seconds']:.1f} s{refused}."
    )


def dropped(result: dict[str, Any]) -> str:
    """What came of a drop, for people."""
    return (
        f"Dropped {result['model']} ({result['dimensions']} dimensions):"
        f" {result['vectors']:,} vectors in {result['seconds']:.1f} s."
    )
