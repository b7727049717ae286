"""The page as a terminal of any size has it, and as plain text."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from cli.watching.findings import Finding
from cli.watching.lines import FIGURE_WIDTH, Line, lines
from cli.watching.reading import Figures
from cli.watching.words import duration

LABEL_WIDTH = 11
PLAIN_WIDTH = 90
# From here on there is room for two columns, and for whole names of files.
WIDE, ROOMY = 160, 110
STYLES = {"critical": "bold red", "warning": "yellow"}


class Screen:
    """A reading that fits itself into whatever terminal it is shown in."""

    def __init__(self, figures: Figures, findings: Sequence[Finding]) -> None:
        self._figures = figures
        self._findings = findings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What matters most of it, in the height and the width that there are."""
        height = options.max_height
        # A height that is asked for is what the whole is to fill, and not each part of it.
        options = options.reset_height()
        wrong = self._wrong(console, options, most=max(2, height // 2))
        room = height - 2 - len(console.render_lines(wrong, options))
        head = cropped(Text(heading(self._figures), "bold"), options.max_width)
        page = Group(head, wrong, Text(), self._figured(options.max_width, room))
        for line in console.render_lines(page, options, pad=False)[:height]:
            yield from line
            yield Segment.line()

    def _figured(self, width: int, room: int) -> RenderableType:
        all_lines = list(lines(self._figures))
        if width < WIDE:
            return column(fitting(all_lines, room), width)
        grid = Table.grid(padding=(0, 3, 0, 0))
        sides = ([line for line in all_lines if line.side == side] for side in ("left", "right"))
        grid.add_row(*(column(fitting(side, room), (width - 3) // 2) for side in sides))
        return grid

    def _wrong(self, console: Console, options: ConsoleOptions, most: int) -> RenderableType:
        """The findings, as many of them as fit into `most` lines."""
        if not self._findings:
            return Text("All is well.", "bold green")
        shown = list(self._findings)
        while True:
            found = self._table(shown, roomy=options.max_width >= ROOMY)
            if len(shown) == 1 or len(console.render_lines(found, options)) <= most:
                return found
            shown.pop()

    def _table(self, shown: Sequence[Finding], *, roomy: bool) -> RenderableType:
        table = Table.grid(padding=(0, 1, 0, 0))
        for each in shown:
            pointer = each.runbook if roomy else f"#{each.runbook.partition('#')[2]}"
            named = Text(each.severity.upper(), STYLES[each.severity])
            table.add_row(named, Text(printable(each.text)), Text(pointer, "dim"))
        count = len(self._findings)
        more = f" (and {count - len(shown)} more)" if len(shown) < count else ""
        said = f"{count} wrong{more}; docs/runbook.md says what to do:"
        return Group(Text(said, "bold"), table)


def plain(figures: Figures, findings: Sequence[Finding]) -> str:
    """A reading as text, with all there is to say."""
    wrong = [
        f"{each.severity.upper()}: {printable(each.text)} ({each.runbook})" for each in findings
    ]
    figured = (line_text(line, PLAIN_WIDTH).rstrip() for line in lines(figures))
    return "\n".join([heading(figures), *(wrong or ["All is well."]), "", *figured])


def heading(figures: Figures) -> str:
    """When it was read, and what the rates are of."""
    window = f"over {duration(figures.seconds)}" if figures.seconds else "at the next reading"
    return f"AI Memory Layer   {figures.time:%Y-%m-%d %H:%M:%S} UTC   rates {window}"


def fitting(all_lines: Sequence[Line], height: int) -> list[Line]:
    """The lines that matter most, as many as fit, in their order."""
    places = sorted(range(len(all_lines)), key=lambda place: all_lines[place].matters)
    kept = sorted(places[: max(0, height)])
    return list(_labelled(all_lines, kept))


def _labelled(all_lines: Sequence[Line], kept: Sequence[int]) -> Iterator[Line]:
    """The lines at `kept`; one whose label was on a line that was dropped takes it."""
    label, labels = "", []
    for line in all_lines:
        label = line.label or label
        labels.append(label)
    said = ""
    for place in kept:
        yield all_lines[place]._replace(label="" if labels[place] == said else labels[place])
        said = labels[place]


def column(some: Sequence[Line], width: int) -> RenderableType:
    """Lines one under the other."""
    return Group(*(cropped(styled(line, width), width) for line in some))


def styled(line: Line, width: int) -> Text:
    """A line in colours, which say nothing that the words do not."""
    text = Text(line_text(line, width), "red" if line.bad else "")
    text.stylize("bold cyan", 0, LABEL_WIDTH)
    return text


def line_text(line: Line, width: int) -> str:
    """A line with its label before it and its columns at the right."""
    behind = "".join(f"{cell:>{FIGURE_WIDTH}}" for cell in line.cells)
    room = max(1, width - LABEL_WIDTH - len(behind))
    text = printable(line.text)
    if line.cells:
        text = f"{text if len(text) <= room else text[: room - 1] + '…':<{room}}"
    return f"{line.label:<{LABEL_WIDTH}}{text}{behind}"


def cropped(text: Text, width: int) -> Text:
    """`text` on one line, whatever its length."""
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text


def printable(text: str) -> str:
    """`text` without what a terminal would obey: not all of it is ours."""
    return "".join(each if each.isprintable() else "?" for each in text)
