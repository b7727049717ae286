"""A bar that shows how far long work is; nothing where nobody looks on."""

from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.progress import Terminal


class Bar:
    """Shows one stage after the other, each with its own bar; one of unknown length swings."""

    def __init__(self) -> None:
        console = Terminal(stderr=True, highlight=False, markup=False)
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._progress.stop()

    def stage(self, what: str, total: int) -> None:
        """The next part of the work begins; the last one is done."""
        self._end()
        self._progress.add_task(what, total=total or None)

    def reached(self, done: int) -> None:
        """This part is so far."""
        for task in self._progress.task_ids[-1:]:
            self._progress.update(task, completed=done)

    def pulse(self) -> None:
        """Nothing need be done: the bar moves by itself."""

    def _end(self) -> None:
        for task in self._progress.tasks[-1:]:
            self._progress.update(task.id, total=task.total or 1, completed=task.total or 1)
