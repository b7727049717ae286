"""Panels and dashboards in the shape that all of ours have."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# The one that the variable of this name chooses, for dashboards may be read from several.
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
PROVISIONED = "prometheus"
TAG = "ai-memory-layer"
COLUMNS, HEIGHT, FIGURE_HEIGHT = 3, 8, 4
WIDTH = 24 // COLUMNS
GREEN, YELLOW, RED = "green", "orange", "red"
AnyPanel = TypeVar("AnyPanel", timeseries.Panel, stat.Panel, bargauge.Panel)
DOWN_OR_UP = {"0": ("down", RED), "1": ("up", GREEN)}


class Query(NamedTuple):
    """PromQL, and what its series are called (labels in double braces)."""

    expr: str
    legend: str


class Section(NamedTuple):
    """A row of a dashboard with its panels."""

    title: str
    panels: Sequence[Builder[Panel]]


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    stacked: bool = False,
    limit: float | None = None,
    most: float | None = None,
) -> timeseries.Panel:
    """A graph over time, from 0 up; `limit` is drawn where something should stay below it."""
    panel = described(timeseries.Panel(), title, description, unit)
    panel.span(WIDTH).height(HEIGHT).min(0).fill_opacity(10)
    panel.show_points(VisibilityMode.NEVER)
    panel.tooltip(
        common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    )
    panel.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if most is not None:
        panel.max(most)
    if limit is not None:
        panel.thresholds(steps((limit, RED)))
        dashed = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        panel.thresholds_style(dashed)
    for query in queries:
        panel.with_target(target(query))
    return panel


def figure(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *levels: tuple[float, str],
    words: dict[str, tuple[str, str]] | None = None,
    names: bool = False,
) -> stat.Panel:
    """The last value: coloured from each of `levels` on, in `words`, or by its series' `names`."""
    panel = described(stat.Panel(), title, description, unit)
    panel.span(24 // 6).height(FIGURE_HEIGHT).thresholds(steps(*levels))
    panel.color_mode(BigValueColorMode.VALUE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    # Where some process does not say, "No data" would be red for nothing.
    panel.no_value("not known")
    if words:
        results = {
            value: ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(words.items())
        }
        panel.mappings([ValueMap(options=results)])
    if names:
        panel.text_mode(BigValueTextMode.NAME).span(WIDTH)
    return panel.with_target(target(query))


def bars(title: str, description: str, unit: str, query: Query) -> bargauge.Panel:
    """Buckets of a cumulative histogram, each as a bar of what is in it alone."""
    panel = described(bargauge.Panel(), title, description, unit)
    panel.span(WIDTH).height(HEIGHT).min(0)
    panel.orientation(VizOrientation.VERTICAL).display_mode(BarGaugeDisplayMode.GRADIENT)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(target(query).format(PromQueryFormat.HEATMAP).instant())


def described(panel: AnyPanel, title: str, description: str, unit: str) -> AnyPanel:
    """`panel` with what each has to have."""
    return panel.title(title).description(description).unit(unit).datasource(SOURCE)


def steps(*levels: tuple[float, str]) -> dashboard.ThresholdsConfig:
    """Green, and another colour from each level on."""
    found = [Threshold(color=GREEN), *(Threshold(value, color) for value, color in levels)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def target(query: Query) -> prometheus.Dataquery:
    """`query` as a panel has it."""
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend)


def board(uid: str, title: str, description: str, *sections: Section) -> Any:
    """A dashboard, its panels numbered in their order."""
    made = (
        dashboard.Dashboard(f"Memory: {title}")
        .uid(f"memory-{uid}")
        .description(description)
        .tags([TAG])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others())
        .variables([source(), *processes()])
    )
    for section in sections:
        made.with_row(dashboard.Row(section.title))
        for panel in section.panels:
            made.with_panel(panel)
    built = made.build()
    for number, placed in enumerate(built.panels or [], 1):
        placed.id_val = number
        for place, query in enumerate(getattr(placed, "targets", None) or []):
            query.ref_id = chr(ord("A") + place)
    return built


def others() -> dashboard.DashboardLink:
    """The way to the other dashboards."""
    link = dashboard.DashboardLink("Other dashboards").type(DashboardLinkType.DASHBOARDS)
    return link.tags([TAG]).as_dropdown(True).include_vars(True).keep_time(True)


def source() -> dashboard.DatasourceVariable:
    """Which Prometheus is asked; ours unless another is chosen."""
    ours = VariableOption(selected=True, text="Prometheus", value=PROVISIONED)
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .current(ours)
    )


def processes() -> list[Any]:
    """Which processes are meant: all, or those of some jobs, or some of these."""
    return [
        among("job", "Processes", 'label_values(up{job=~"memory-.*"}, job)'),
        among("instance", "Instances", 'label_values(up{job=~"$job"}, instance)'),
    ]


def among(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A variable with all that `query` finds; what is gone by now is meant by All, too."""
    every = VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(every)
    )
