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

VIEW_KEY = "simo_cl"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"

# MLflow's own section of the metrics without a slash.
_HEADLINE = "Model metrics"
# What is compared first, in this order; the rest follows by name.
_FIRST_METRICS = (
    "average_accuracy",
    "forgetting",
    "average_anytime_accuracy",
    "new_class_accuracy",
    "old_class_accuracy",
    "learning_accuracy",
    "backward_transfer",
)
_FIRST_SECTIONS = (
    _HEADLINE,
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
)
# Open from the start; the others show their names and open on a click.
_OPEN_SECTIONS = 3
_MOST_RUNS = 100


def chart_view_url(base: str, experiment_id: str) -> str:
    """The address of a mirrored suite's charts, in MLflow's model-training view.

    Args:
        base: the server's address, such as ``http://127.0.0.1:5000``.
        experiment_id: as in `MirrorReport.experiment_id`.
    """
    return (
        f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={VIEW_KEY}"
    )


def comparison_view(metrics: Iterable[str]) -> str:
    """The value of `VIEW_TAG` that shows all strategies, with these metrics, headlines first."""
    names = set(metrics)
    sections = sorted({_section(name) for name in names} | {_HEADLINE}, key=_section_rank)
    state = {
        # As they were begun: the plan's order.
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": [],
        "isAccordionReordered": True,
        "compareRunSections": [
            {
                "uuid": f"simo_cl-section-{section}",
                "name": section,
                "display": number < _OPEN_SECTIONS,
                "isReordered": True,
                "deleted": False,
                "isGenerated": True,
            }
            for number, section in enumerate(sections)
        ],
        "compareRunCharts": [
            *(_bars(name) for name in _FIRST_METRICS[:2] if name in names),
            *(_line(name) for name in sorted(names, key=_metric_rank)),
        ],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    # The time is MLflow's to show; a fixed one keeps the tag equal when nothing has changed.
    view = {"name": "Strategies compared", "createdAt": 0, "updatedAt": 0}
    return json.dumps({**view, "state": f"deflate;{packed}"})


def _line(metric: str) -> dict[str, object]:
    """A metric over the experiences."""
    return {
        **_chart("LINE", metric),
        "isGenerated": True,
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


def _bars(metric: str) -> dict[str, object]:
    """A metric after the last experience."""
    # "Generated" bars would be turned into the line that is there already.
    return {**_chart("BAR", metric), "isGenerated": False}


def _chart(kind: str, metric: str) -> dict[str, object]:
    return {
        "uuid": f"simo_cl-{kind}-{metric}",
        "type": kind,
        "runsCountToCompare": _MOST_RUNS,
        "metricSectionId": f"simo_cl-section-{_section(metric)}",
        "deleted": False,
        "displayName": metric.rpartition("/")[2],
        "metricKey": metric,
    }


def _section(metric: str) -> str:
    return metric.rpartition("/")[0] or _HEADLINE


def _section_rank(section: str) -> tuple[int, str]:
    known = section in _FIRST_SECTIONS
    return (_FIRST_SECTIONS.index(section) if known else len(_FIRST_SECTIONS), section)


def _metric_rank(metric: str) -> tuple[int, str]:
    known = metric in _FIRST_METRICS
    return (_FIRST_METRICS.index(metric) if known else len(_FIRST_METRICS), metric)
