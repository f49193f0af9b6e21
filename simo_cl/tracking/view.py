"""How MLflow's UI shows a suite at first sight: a saved view of its charts.

Left alone, the chart view shows only the ten runs begun last, and its sections in the order of the
alphabet, the accuracies at the very bottom. A saved view is an experiment tag that the UI reads
when its key stands in the address (MLflow's own "Views" menu makes the same tags); a version of
MLflow that does not know it falls back to its default view.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from urllib.parse import quote

from simo_cl.tracking.description import HEADLINES

VIEW_KEY = "simo_cl"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
ACCURACY_IMAGE = "accuracy_matrix"

# MLflow's own section of the metrics without a slash.
_HEADLINE = "Model metrics"
_OVERVIEW = "Strategies compared"
_MATRICES = "Accuracy matrices"
_DIFFERENCES = "Differences"
_FIRST_SECTIONS = (
    _OVERVIEW,
    _MATRICES,
    _HEADLINE,
    _DIFFERENCES,
    "embedding/orthogonality",
    "embedding/collapse",
    "embedding/neighbourhood",
    "features/orthogonality",
    "features/collapse",
    "features/neighbourhood",
    "features/drift",
    "ncm_memory",
    "ncm_oracle",
    "linear_probe",
    "knn",
    "mlp_head",
)
_OPEN_SECTIONS = 4
# The columns of MLflow's table of runs, which the user sorts by.
_COLUMNS = (*(f"metrics.`{name}`" for name in HEADLINES), "metrics.`cost/train_seconds`")
_OVERVIEW_METRICS = ("average_accuracy", "forgetting")
_OVERVIEW_AXES = (("forgetting", "average_accuracy"), ("cost/train_seconds", "average_accuracy"))
_MOST_RUNS = 100


def chart_view_url(base: str, *experiment_ids: str) -> str:
    """The address of a mirrored suite's charts, in MLflow's model-training view, or of several.

    Args:
        base: the server's address, such as ``http://127.0.0.1:5000``.
        experiment_ids: as in `MirrorReport.experiment_id`; several are shown as the first is.
    """
    view = f"workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={VIEW_KEY}"
    if len(experiment_ids) == 1:
        return f"{base.rstrip('/')}/#/experiments/{experiment_ids[0]}/runs?{view}"
    several = quote(json.dumps(experiment_ids, separators=(",", ":")))
    return f"{base.rstrip('/')}/#/compare-experiments/s?experiments={several}&{view}"


def comparison_view(metrics: Iterable[str], baseline: str = "") -> str:
    """The value of `VIEW_TAG` that shows all strategies.

    An overview comes first; of the other charts only the order is laid down, and MLflow draws
    those itself.

    Args:
        metrics: that there are.
        baseline: MLflow's identifier of the run that differences are taken from; by default the
            first.
    """
    names = set(metrics)
    sections = {name.rpartition("/")[0] or _HEADLINE for name in names}
    sections |= {_OVERVIEW, _MATRICES, _HEADLINE, _DIFFERENCES}
    first = [section for section in _FIRST_SECTIONS if section in sections]
    in_order = [*first, *sorted(sections.difference(first))]
    state = {
        # As they were begun: the plan's order. Any other would list the seeds among them.
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": list(_COLUMNS),
        "isAccordionReordered": True,
        "compareRunSections": [_section(*item) for item in enumerate(in_order)],
        "compareRunCharts": [
            *(_bars(name) for name in _OVERVIEW_METRICS if name in names),
            *(_line(name) for name in _OVERVIEW_METRICS if name in names),
            *(_scatter(*axes) for axes in _OVERVIEW_AXES if names.issuperset(axes)),
            _images(),
            _differences(baseline),
        ],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    # The time is MLflow's to show; a fixed one keeps the tag equal when nothing has changed.
    view = {"name": "Strategies compared", "createdAt": 0, "updatedAt": 0}
    return json.dumps({**view, "state": f"deflate;{packed}"})


def _section(number: int, name: str) -> dict[str, object]:
    # Two charts beside each other, because MLflow's own three cut the titles, which are metrics'
    # names; what needs the whole width has a height in pixels.
    wide = {"columns": 1, "cardHeight": 560}
    return {
        "uuid": f"simo_cl-section-{name}",
        "name": name,
        # Open from the start; the others show their names and open on a click.
        "display": number < _OPEN_SECTIONS,
        "isReordered": True,
        "deleted": False,
        "isGenerated": True,
        **(wide if name in (_MATRICES, _DIFFERENCES) else {"columns": 2}),
    }


def _bars(metric: str) -> dict[str, object]:
    """A metric after the last experience."""
    return _chart("BAR", metric, _OVERVIEW) | {"metricKey": metric, "displayName": metric}


def _scatter(across: str, up: str) -> dict[str, object]:
    """A point a strategy."""
    axes = {"xaxis": {"key": across, "type": "METRIC"}, "yaxis": {"key": up, "type": "METRIC"}}
    return _chart("SCATTER", across, _OVERVIEW) | axes


def _images() -> dict[str, object]:
    """A picture a strategy."""
    chart = _chart("IMAGE", ACCURACY_IMAGE, _MATRICES)
    return chart | {"imageKeys": [ACCURACY_IMAGE], "step": 0, "showRunParams": False}


def _differences(baseline: str) -> dict[str, object]:
    """Every metric and every setting that differs, and by how much."""
    return _chart("DIFFERENCE", "all", _DIFFERENCES) | {
        "chartName": "Differences from the first column",
        "compareGroups": ["Model metrics", "Parameters"],
        "showChangeFromBaseline": True,
        "showDifferencesOnly": True,
        "baselineColumnUuid": baseline,
    }


def _line(metric: str) -> dict[str, object]:
    """A metric over the experiences."""
    return _chart("LINE", metric, _OVERVIEW) | {
        "metricKey": metric,
        "displayName": metric,
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _chart(kind: str, name: str, section: str) -> dict[str, object]:
    return {
        "uuid": f"simo_cl-{kind}-{name}",
        "type": kind,
        "runsCountToCompare": _MOST_RUNS,
        "metricSectionId": f"simo_cl-section-{section}",
        "deleted": False,
        # MLflow makes another kind of chart of what it takes for its own.
        "isGenerated": False,
    }
