"""Results in Python: data frames, comparisons and figures of one suite or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from simo_cl.results import Run, Suite, load_suite, merge_suites, refuse_without_runs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from rich.table import Table

    from simo_cl.report import ReportPaths

ReadOut = Literal["own", "ncm_memory", "ncm_oracle", "linear_probe", "knn", "mlp_head"]


def load_results(folder: str | Path, *more: str | Path) -> Results:
    """The results of a suite, whether it has finished or not; of several, side by side.

    A row that several suites have is told apart by its suite, as a grid's points are:
    ``simo[suite=mine]``, and is compared with the control of its own suite, as all are that have
    one there; see docs/analysis.md.

    Args:
        folder: that ``simo-cl run`` or :func:`simo_cl.run_suite` wrote, as
            ``results/quickstart``.
        more: of further suites.

    Raises:
        simo_cl.results.ResultsError: a folder is no suite's, its plan cannot be read, it is given
            twice, or it has the tables of runs whose folders are elsewhere, as committed results
            do; ``pandas.read_csv`` reads those.

    Example:
        >>> results = simo_cl.load_results("results/quickstart")
        >>> results.summary["strategy"].unique().tolist()
        ['er', 'simo']
    """
    suites = [load_suite(Path(each)) for each in (folder, *more)]
    for suite in suites:
        refuse_without_runs(suite.folder)
    return Results(merge_suites(suites))


@dataclass(frozen=True)
class Results:
    """What a suite has given so far: made by :func:`load_results` and :func:`run_suite`.

    Rows are named as in the report: ``"simo"``, in a grid ``"simo[memory.size=200]"``. Means and
    tests are over finished runs alone.

    Attributes:
        suite: the plan and the runs, as they are read from disk.
        problems: what failed while :func:`run_suite` ran, and why, by the run's name.

    Example:
        >>> results = simo_cl.load_results("results/quickstart")
        >>> results
        <Results of quickstart: 4 of 4 runs finished; er, simo>
    """

    suite: Suite
    problems: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        suite = self.suite
        finished, total = len(suite.finished_runs), len(suite.runs)
        runs = f"{finished} of {total} runs finished"
        return f"<Results of {suite.plan.suite}: {runs}; {', '.join(suite.labels)}>"

    @property
    def runs(self) -> pd.DataFrame:
        """A row a planned run: its state, its settings, and its metrics after the last experience.

        Settings have dotted names, as ``memory.size``, and a strategy's own begin with
        ``settings.``. What a run lacks is NaN.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> results.runs[["strategy", "seed", "state", "memory.size"]]
              strategy  seed     state  memory.size
            0       er     0  finished         1000
            1       er     1  finished         1000
            2     simo     0  finished         1000
            3     simo     1  finished         1000
        """
        import pandas as pd

        from simo_cl.report.tables import metric_names

        keys = [
            {
                "strategy": run.label,
                "base": run.strategy,
                "seed": run.seed,
                "state": run.state,
                "problem": run.problem,
                "seconds": run.seconds,
                "folder": str(run.folder),
            }
            for run in self.suite.runs
        ]
        config = pd.json_normalize([dict(run.config) for run in self.suite.runs])
        metrics = pd.DataFrame(
            [dict(run.final) for run in self.suite.runs], columns=metric_names(self.suite)
        )
        named = config.columns.intersection(["strategy", "seed", "variant"])
        return pd.concat([pd.DataFrame(keys), config.drop(columns=named), metrics], axis=1)

    @property
    def history(self) -> pd.DataFrame:
        """Every metric after every trained experience, a row a value: strategy, seed, experience
        (from 1), metric, value. Runs that have not finished are here as far as they have come.

        Example:
            >>> history = simo_cl.load_results("results/quickstart").history
            >>> forgetting = history.query("metric == 'forgetting'")
            >>> forgetting.groupby(["strategy", "experience"])["value"].mean().shape
            (8,)
        """
        import pandas as pd

        rows = [
            (run.label, run.seed, measured.experience + 1, metric, value)
            for run in self.suite.runs
            for measured in run.history
            for metric, value in measured.metrics.items()
        ]
        return pd.DataFrame(rows, columns=["strategy", "seed", "experience", "metric", "value"])

    @property
    def summary(self) -> pd.DataFrame:
        """A row a strategy and final metric: the number of seeds, mean, deviation (n - 1), the ends
        of the mean's 95 % t interval, and the interquartile mean with those of its bootstrap
        interval. A metric that a finished seed lacks has no row.

        Example:
            >>> summary = simo_cl.load_results("results/quickstart").summary
            >>> forgetting = summary.query("metric == 'forgetting'").set_index("strategy")
            >>> forgetting["seeds"].to_dict()
            {'er': 2, 'simo': 2}
        """
        from simo_cl.report.tables import long_summary_table

        return long_summary_table(self.suite)

    def compare(self, control: str | None = None, metric: str = "average_accuracy") -> pd.DataFrame:
        """Every strategy against one, paired by seed: the difference, its 95 % t interval, and p
        with Holm's correction over these comparisons; and the probability that a run is above one
        of the control's, with its bootstrap interval.

        The verdict is "above" or "below" in numbers; ``better`` says which of the two is good:
        "higher", "lower", or "" where neither is in itself.

        Args:
            control: a strategy or a row; by default the suite's own.
            metric: a final one, as named in :attr:`summary`.

        Raises:
            ValueError: no such row, or no finished run has the metric, or there is no control.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> results.compare(control="er", metric="forgetting")[["strategy", "better"]]
              strategy better
            0     simo  lower
        """
        from simo_cl.metrics.described import direction_of
        from simo_cl.report.statistics import compare_with_control
        from simo_cl.report.tables import comparisons_table, metric_names

        suite = self.suite
        if control is None and suite.control is None:
            raise ValueError("the suite names no control; give one of its strategies: control=...")
        in_own_suite = (run.source.label for run in suite.runs if run.source)
        strategies = (run.strategy for run in suite.runs)
        rows = dict.fromkeys([*strategies, *in_own_suite, *suite.labels])
        _refuse_unknown("control", control or suite.control, rows)
        if suite.finished_runs:
            _refuse_unknown("metric", metric, metric_names(suite))
        if control is not None:
            suite = replace(suite, plan=suite.plan.model_copy(update={"control": control}))
        better = {"up": "higher", "down": "lower", "": ""}[direction_of(metric)]
        return comparisons_table(compare_with_control(suite, metric)).assign(better=better)

    def over_data_sets(self, metric: str = "average_accuracy") -> pd.DataFrame:
        """The strategies that several suites have in common, each suite of other data: a row each
        with the interquartile mean of all runs, the probability that a run is above one of the
        control's, both with bootstrap intervals, and the mean rank, which Friedman's p and the
        critical difference of Nemenyi's test belong to.

        Args:
            metric: a final one, as named in :attr:`summary`; rank 1 is the lowest where lower is
                better, as of ``forgetting``.

        Raises:
            ValueError: no such metric; or there are not several suites, each of other data, with
                two strategies on the stream in common that have it.

        Example:
            >>> results = simo_cl.load_results("results/quickstart", "results/on_other_data")
            >>> results.over_data_sets()[["strategy", "data_sets", "runs"]]
              strategy  data_sets  runs
            0       er          2     4
            1     simo          2     4
        """
        from simo_cl.report.data_sets import rank_over_data_sets
        from simo_cl.report.tables import data_sets_table, metric_names

        _refuse_unknown("metric", metric, metric_names(self.suite))
        ranking = rank_over_data_sets(self.suite, metric)
        if ranking is None:
            data = dict.fromkeys(run.source.data[0] for run in self.suite.runs if run.source)
            given = f"suites of {', '.join(data)}" if data else "one suite"
            raise ValueError(
                f"these are the results of {given}; give load_results several suites, each of "
                f"other data, with two strategies on the stream in common that have {metric}"
            )
        return data_sets_table(ranking)

    def rank_correlation(
        self,
        metric: str,
        outcome: str = "average_accuracy",
        *,
        given: Sequence[str] = (),
        by: Literal["strategy", "base"] = "strategy",
    ) -> pd.DataFrame:
        """Whether runs with more of one final metric have more of another: Spearman's correlation
        over all runs, within strategies and between strategies, with bootstrap intervals.

        Over all runs, two metrics may go together because strategies differ in both. Within
        strategies the strategy is held fixed: the correlation is from run to run of the same one.
        Between strategies it is that of their means. Joint runs are left out, and runs that lack
        one of the metrics.

        Args:
            metric: a final one, as named in :attr:`summary`.
            outcome: that it may go with.
            given: further metrics that are held fixed, too.
            by: what a strategy is, a column of :attr:`runs`: "base" takes all points of a grid for
                one, so that "within" is also from point to point.

        Returns:
            A row a level: ``level``, ``correlation`` in [-1, 1], the ends ``low`` and ``high`` of
            its 95 % percentile interval over resamples of seeds (within strategies) or of
            strategies (else), ``runs`` and ``strategies``. NaN where it is not defined: an interval
            needs five seeds or strategies.

        Raises:
            ValueError: no finished run has such a metric, or none has all of them, or the suites
                are of several data sets.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> found = results.rank_correlation("features/collapse/effective_rank", "forgetting")
            >>> found[["level", "runs", "strategies"]]
                            level  runs  strategies
            0            all runs     4           2
            1   within strategies     4           2
            2  between strategies     4           2
        """
        import pandas as pd

        from simo_cl.report.rank_correlation import rank_correlations
        from simo_cl.report.tables import metric_names

        _refuse_unknown("grouping by", by, ("strategy", "base"))
        names = [metric, outcome, *given]
        for name in names:
            _refuse_unknown("metric", name, metric_names(self.suite))
        if len({run.source.data for run in self.suite.runs if run.source}) > 1:
            raise ValueError(
                "the suites are of several data sets, whose numbers have no common scale; give "
                "load_results those of one"
            )
        streamed = self.runs[self.runs["strategy"].isin(self.suite.streamed_labels)]
        runs = streamed.dropna(subset=names)
        if runs.empty:
            raise ValueError(f"no finished run on the stream has all of {', '.join(names)}")
        found = rank_correlations(
            runs[metric], runs[outcome], runs[by].tolist(), runs["seed"].tolist(), runs[list(given)]
        )
        return pd.DataFrame(found)

    def accuracy_matrix(
        self, strategy: str, seed: int | None = None, read_out: ReadOut = "own"
    ) -> pd.DataFrame:
        """Accuracies on each experience (columns) after training on each (rows), both from 1.

        Args:
            strategy: a row.
            seed: of one run; by default the mean over the finished seeds.
            read_out: whose accuracies; "own" is the strategy's own classifier.

        Raises:
            ValueError: no such finished run, or none with such a matrix.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> results.accuracy_matrix("simo", seed=0).shape
            (5, 5)
        """
        from simo_cl.report.tables import matrix_table, mean_array, metric_names

        name = f"accuracy/{read_out}"
        if seed is None:
            _refuse_unknown("strategy", strategy, self.suite.finished_labels)
            matrix = mean_array(self.suite, strategy, name)
        else:
            matrix = self._run(strategy, seed).array(name)
        if matrix is None:
            of_each = "/average_accuracy"
            metrics = [m for m in metric_names(self.suite) if m.endswith(of_each)]
            read_outs = ["own", *(metric.removesuffix(of_each) for metric in metrics)]
            _refuse_unknown("read-out", read_out, read_outs)
            raise ValueError(f"{strategy} has no accuracies of the read-out {read_out!r}")
        return matrix_table(matrix)

    def embeddings(self, strategy: str, seed: int) -> dict[str, NDArray[Any]]:
        """A bounded sample of images as the trained model of one run embeds them.

        Returns:
            ``train_features`` and ``test_features`` (N, F), where there is a head ``..._embedding``
            (N, d), and ``train_labels`` and ``test_labels`` (N,).

        Raises:
            ValueError: no such finished run, or none with embeddings.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> points = results.embeddings("simo", seed=0)
            >>> len(points["test_embedding"]) == len(points["test_labels"])
            True
        """
        return self._run(strategy, seed).embeddings()

    def figure(self, name: str) -> Figure:
        """One of the report's figures, for a notebook or ``savefig``.

        Args:
            name: as of its file in ``figures/``.

        Raises:
            ValueError: the finished runs have no such figure.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> results.figure("accuracy").savefig("accuracy.pdf")
        """
        from simo_cl.report import draw_figure, figure_makers

        makers = figure_makers(self.suite)
        _refuse_unknown("figure", name, makers)
        figure = makers[name](self.suite)
        if figure is None or not figure.panels:
            raise ValueError(f"no finished run has the numbers for the figure {name!r}")
        return draw_figure(self.suite, figure)

    def table(self) -> Table:
        """The comparison of the strategies for a terminal.

        Example:
            >>> table = simo_cl.load_results("results/quickstart").table()
            >>> table.row_count
            2
        """
        from simo_cl.report import comparison_table

        return comparison_table(self.suite)

    def write_report(self, *, pdf: bool = False) -> ReportPaths:
        """Writes tables, figures and the HTML page, into the suite's folder or, of several suites,
        one beside theirs.

        Args:
            pdf: write every figure as PDF, too, beside SVG and PNG.

        Raises:
            simo_cl.results.ResultsError: the folders of the runs are elsewhere.

        Example:
            >>> simo_cl.load_results("results/quickstart").write_report().page  # doctest: +SKIP
            PosixPath('results/quickstart/report.html')
        """
        from simo_cl.report import write_report

        return write_report(self.suite, pdf=pdf)

    def write_figures(self, rows: Sequence[str], *, pdf: bool = False) -> list[Path]:
        """Writes the figures that have room for a few rows, with these, to ``figures/chosen``.

        Args:
            rows: as the tables name them.
            pdf: write PDF, too, beside SVG and PNG.

        Example:
            >>> results = simo_cl.load_results("results/quickstart")
            >>> results.write_figures(["simo"])[0]  # doctest: +SKIP
            PosixPath('results/quickstart/figures/chosen/tsne.svg')
        """
        from simo_cl.report import write_chosen_figures

        return write_chosen_figures(self.suite, rows, pdf=pdf)

    def _run(self, strategy: str, seed: int) -> Run:
        _refuse_unknown("strategy", strategy, self.suite.labels)
        found = {run.seed: run for run in self.suite.runs if run.label == strategy}
        if seed not in found:
            raise ValueError(f"{strategy} has no seed {seed}; it has {', '.join(map(str, found))}")
        run = found[seed]
        if run.state != "finished":
            raise ValueError(f"{strategy}, seed {seed}, has not finished: {run.problem}")
        return run


def _refuse_unknown(what: str, name: str | None, known: Iterable[str]) -> None:
    from simo_cl.registry import did_you_mean

    names = list(known)
    if name not in names:
        raise ValueError(
            f"no {what} {name!r}.{did_you_mean(str(name), names)} "
            f"There are {', '.join(names) or 'none'}"
        )
