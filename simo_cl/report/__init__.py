"""Tables, figures and the HTML page of a suite, made from its finished runs alone.

A report can be made on any machine that the run folders were copied to.
"""

from __future__ import annotations

from simo_cl.report.figures import draw_figure, figure_makers
from simo_cl.report.leaderboard import comparison_table
from simo_cl.report.page import ReportPaths, write_chosen_figures, write_report
from simo_cl.results import ResultsError

__all__ = [
    "ReportPaths",
    "ResultsError",
    "comparison_table",
    "draw_figure",
    "figure_makers",
    "write_chosen_figures",
    "write_report",
]
