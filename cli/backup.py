"""Backing up the store, and bringing it back."""

from pathlib import Path

import click

from cli.bars import Bar
from cli.servers import database
from memory.backups import Manifest, total
from memory.errors import SettingsError
from memory.settings import Settings, load_settings
from memory.urls import postgres_url
from tasks.backing_up import back_up, record, remove_outdated
from tasks.kept_answers import KeptAnswers
from tasks.restoring import described, restore

STARTED_BY = "aiml"
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--to", type=FOLDER, help="The folder to put it in; else MEMORY_BACKUP_DIR.")
@click.option(
    "--verify/--no-verify", default=True, help="Restore it for a try, and count (the default)."
)
@click.option(
    "--keep", type=click.IntRange(min=1), help="Remove all but so many of the newest backups there."
)
def backup(to: Path | None, verify: bool, keep: int | None) -> None:
    """Make a backup: a dump of all that is stored, with a manifest beside it."""
    settings = load_settings()
    folder = (to or backup_folder(settings)).absolute()
    with database(settings) as url:
        with Bar() as bar:
            manifest = back_up(url, folder, bar, verify=verify)
        record(url, manifest, STARTED_BY)
        removed = remove_outdated(folder, manifest.database, keep) if keep else []
    click.echo(f"{folder / manifest.file}: {said_of(manifest)}")
    for name in removed:
        click.echo(f"{folder / name}: removed")


@click.command("restore")
@click.argument("file", type=FILE)
@click.option("--to", metavar="URL", help="Another database than the one of the settings.")
@click.option("--overwrite", is_flag=True, help="Replace what the database holds.")
def restore_file(file: Path, to: str | None, overwrite: bool) -> None:
    """Bring the store back from the backup FILE, and its schema to this version.

    What was stored, changed or deleted since is as it was then, keys included.
    """
    settings = load_settings()
    if to:
        with Bar() as bar:
            restored = restore(postgres_url(to, "--to"), file, bar, overwrite=overwrite)
    else:
        with database(settings) as url, Bar() as bar:
            restored = restore(url, file, bar, overwrite=overwrite)
        KeptAnswers(settings.cache_url or settings.redis_url).all_changed()
    taken = f"{restored.manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"Restored, as it was at {taken}: {described(restored.rows)}.")


def backup_folder(settings: Settings) -> Path:
    """Where backups go; raises `SettingsError` when nobody has said it."""
    if not settings.backup_dir:
        raise SettingsError("Say where to: --to FOLDER, or MEMORY_BACKUP_DIR.")
    return Path(settings.backup_dir).expanduser()


def said_of(manifest: Manifest) -> str:
    """A backup in a line."""
    verified = "verified" if manifest.verified_at else "not verified"
    tenants = f"{total(manifest.rows, 'messages'):,} messages, {len(manifest.tenants):,} tenants"
    return f"{tenants}, {manifest.bytes:,} bytes, {manifest.seconds:.1f} s, {verified}"
