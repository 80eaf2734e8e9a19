"""The three kinds of panel that the dashboards have, and how a dashboard is put together of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.text import Panel as Text
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.models.common import (
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)

SECONDS: Final = "s"
MILLISECONDS: Final = "ms"
BYTES: Final = "bytes"
BYTES_A_SECOND: Final = "Bps"
PER_SECOND: Final = "cps"
SHARE: Final = "percentunit"
NUMBER: Final = "short"

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG: Final = "refkeep"

Panel = Stat | Text | TimeSeries


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and how its series are called (`{{outcome}}`)."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Section:
    """A row of the dashboard: what is asked there, and the panels that answer."""

    title: str
    panels: Sequence[Panel]


def lines(title: str, meaning: str, unit: str, *queries: Query, width: int = 12) -> TimeSeries:
    """Lines over time; `meaning` says how to read them."""
    panel = TimeSeries().title(title).description(meaning).unit(unit).min(0).span(width).height(8)
    panel.datasource(_SOURCE).line_width(1).fill_opacity(8)
    legend = VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
    panel.legend(legend.show_legend(True).calcs(["mean", "max"]))
    panel.tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    return panel.targets([_target(number, query) for number, query in enumerate(queries)])


def number(title: str, meaning: str, unit: str, query: Query, *, bad: float, width: int = 6) -> Stat:
    """One number of now, red from `bad` on."""
    panel = Stat().title(title).description(meaning).unit(unit).span(width).height(8).datasource(_SOURCE)
    steps = [Threshold(value=None, color="green"), Threshold(value=bad, color="red")]
    panel.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return panel.targets([_target(0, query)])


def words(text: str, height: int = 5) -> Text:
    """Markdown over the whole width."""
    return Text().content(text).span(24).height(height).transparent(True)


def page(uid: str, title: str, about: str, *sections: Section) -> Dashboard:
    """A dashboard of its own; each links to all others of Refkeep."""
    board = Dashboard(title).uid(uid).description(about).tags([_TAG]).refresh("30s").time("now-3h", "now")
    board.timezone("browser").editable().tooltip(DashboardCursorSync.CROSSHAIR)
    board.link(
        DashboardLink("Refkeep").type(DashboardLinkType.DASHBOARDS).tags([_TAG]).as_dropdown(True).keep_time(True)
    )
    board.with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    board.with_variable(_choice("job", "Job", "label_values(media_operation_duration_seconds_count, job)"))
    board.with_variable(_choice("service", "Service", "label_values(traces_span_metrics_calls_total, service_name)"))
    numbers = count(1)
    for section in sections:
        board.with_row(Row(section.title).id(next(numbers)))
        for panel in section.panels:
            board.with_panel(panel.id(next(numbers)))
    return board


def _target(number: int, query: Query) -> Dataquery:
    target = Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(ord("A") + number))
    return target.datasource(_SOURCE).range().exemplar(query.expression.startswith("histogram_quantile"))


def _choice(name: str, label: str, query: str) -> QueryVariable:
    """What there is to choose among; all of it unless somebody does."""
    variable = QueryVariable(name).label(label).query(query).datasource(_SOURCE)
    variable.current(VariableOption(selected=True, text="All", value="$__all"))
    return variable.refresh(VariableRefresh.ON_DASHBOARD_LOAD).multi(True).include_all(True).all_value(".+")
