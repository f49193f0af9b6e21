from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from test_view import state_of

from simo_cl.report.statistics import seed_curve
from simo_cl.results import ResultsError, load_suite
from simo_cl.tracking import store
from simo_cl.tracking.mirror import MirrorReport, mirror
from simo_cl.tracking.store import TrackingError
from simo_cl.tracking.view import VIEW_TAG

if TYPE_CHECKING:
    from conftest import Exported, SuiteMaker


def runs_of(report: MirrorReport) -> dict[str, Run]:
    """The runs that a user sees, by name, without what all runs of a suite have in theirs."""
    found = MlflowClient(report.tracking_uri).search_runs([report.experiment_id])
    runs = {run.info.run_name.removesuffix(" · tiny"): run for run in found}
    assert len(runs) == len(found)
    return runs


def history(report: MirrorReport, run: Run, name: str) -> list[tuple[int, float]]:
    rows = MlflowClient(report.tracking_uri).get_metric_history(run.info.run_id, name)
    return sorted((row.step, round(row.value, 9)) for row in rows)


def artifacts(report: MirrorReport, run: Run, folder: str | None = None) -> set[str]:
    listed = MlflowClient(report.tracking_uri).list_artifacts(run.info.run_id, folder)
    return {file.path for file in listed}


@pytest.fixture
def two_strategies(suite: SuiteMaker) -> SuiteMaker:
    suite.plan([("er", 0), ("er", 1), ("simo[memory.size=200]", 0)])
    suite.run("er", 0, level=0.5, arrays=True)
    folder = suite.run("er", 1, level=0.6, started=suite.STARTED + 1000)
    # The one that all must have for a mean; each more takes a figure.
    np.savez(folder / "arrays.npz", **{"accuracy/own": suite.arrays(1, 0.6)["accuracy/own"]})
    suite.run("simo[memory.size=200]", 0, level=0.8)
    return suite


def test_a_parent_a_strategy_and_a_child_a_seed(two_strategies: SuiteMaker) -> None:
    report = mirror(two_strategies.folder)
    assert (report.parents, report.children, report.removed, report.problems) == (2, 3, 0, ())
    assert report.tracking_uri == f"sqlite:///{two_strategies.folder}/mlflow.db"
    runs = runs_of(report)
    assert set(runs) == {
        *("er", "er seed 0", "er seed 1"),
        *("simo[memory.size=200]", "simo[memory.size=200] seed 0"),
    }
    assert runs["er seed 1"].data.tags["mlflow.parentRunId"] == runs["er"].info.run_id
    assert "mlflow.parentRunId" not in runs["er"].data.tags
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["er seed 1"].info.start_time == (two_strategies.STARTED + 1000) * 1000
    assert runs["er seed 1"].info.end_time == (two_strategies.STARTED + 1100) * 1000


def test_a_child_shows_its_settings_metrics_and_files(two_strategies: SuiteMaker) -> None:
    report = mirror(two_strategies.folder)
    child = runs_of(report)["er seed 0"]
    assert child.data.params == {
        "strategy": "er",
        "variant": "",
        "seed": "0",
        "data.name": "digits",
        "stream.experiences": "3",
        "stream.class_order": "null",
        "memory.size": "100",
        "settings.epsilon": "0.1",
        "settings.hidden": "[64, 32]",
    }
    assert child.data.tags["environment.torch"] == "2.14"
    assert history(report, child, "average_accuracy") == [(1, 1.0), (2, 0.75), (3, 0.5)]
    assert history(report, child, "forgetting") == [(2, 0.25), (3, 0.5)]
    rows = MlflowClient(report.tracking_uri).get_metric_history(child.info.run_id, "train/loss")
    assert {(row.step, row.timestamp) for row in rows} == {
        (step, int((two_strategies.STARTED + 10 * step) * 1000))
        for step in range(1, two_strategies.EXPERIENCES + 1)
    }
    assert {"config.yaml", "log.txt", "tables", "figures"} == artifacts(report, child)
    assert "tables/accuracy_own.csv" in artifacts(report, child, "tables")
    assert artifacts(report, child, "figures") == {
        f"figures/{name}.png"
        for name in ("accuracy", "confusion", "class_mean_cos", "simo_similarity")
    }
    assert (two_strategies.folder / "mlartifacts").is_dir()


def test_a_parent_shows_the_mean_over_seeds(two_strategies: SuiteMaker) -> None:
    report = mirror(two_strategies.folder)
    parent = runs_of(report)["er"]
    # seed 1 lies 0.01 above its level at each experience
    assert history(report, parent, "average_accuracy") == [(1, 1.005), (2, 0.78), (3, 0.555)]
    assert "seed" not in parent.data.params
    assert parent.data.params["memory.size"] == "100"
    assert parent.data.tags["seeds finished"] == "2 of 2"
    assert parent.data.tags["level"] == "strategy"
    assert artifacts(report, parent, "tables") == {
        f"tables/{name}.csv" for name in ("accuracy_own_mean", "metrics")
    }


def test_the_tables_read_without_their_code(two_strategies: SuiteMaker, tmp_path: Path) -> None:
    report = mirror(two_strategies.folder)
    client, runs = MlflowClient(report.tracking_uri), runs_of(report)

    def table(run: str, name: str) -> list[str]:
        file = client.download_artifacts(runs[run].info.run_id, f"tables/{name}.csv", str(tmp_path))
        return Path(file).read_text().splitlines()

    assert table("er seed 0", "accuracy_own")[:2] == [
        "after training on,experience 1,experience 2,experience 3",
        "1,0.5,,",
    ]
    assert table("er seed 0", "metrics")[:2] == [
        "metric,experience 1,experience 2,experience 3",
        "average_accuracy,1,0.75,0.5",
    ]
    assert "forgetting,,0.25,0.5" in table("er seed 0", "metrics")
    assert table("er seed 0", "confusion")[0].startswith("true class,predicted 0,predicted 1")
    assert table("er", "metrics")[:2] == ["metric,seed 0,seed 1", "average_accuracy,0.5,0.61"]


def test_runs_say_which_suite_they_are_of_and_what_was_set(suite: SuiteMaker) -> None:
    command = "simo-cl run benchmarks/tiny.yaml --set memory.size=200 --set=simo@epsilon=0.2"
    command += " --set name=tiny"
    suite.plan([("er", 0), ("simo", 0)], command=command)
    for label in ("er", "simo"):
        suite.run(label, 0)
    runs = runs_of(mirror(suite.folder))
    assert set(runs) == {
        *("er · tiny (memory.size=200)", "er seed 0 · tiny (memory.size=200)"),
        "simo · tiny (memory.size=200, simo@epsilon=0.2)",
        "simo seed 0 · tiny (memory.size=200, simo@epsilon=0.2)",
    }
    for name, run in runs.items():
        assert run.data.tags["suite"] == "tiny"
        assert f"({run.data.tags['set']})" in name
    client = MlflowClient(f"sqlite:///{suite.folder}/mlflow.db")
    client.update_run(runs["er · tiny (memory.size=200)"].info.run_id, name="my name")

    # The same runs, of a plan in which it is no change any more.
    suite.plan([("er", 0), ("simo", 0)])
    report = mirror(suite.folder)
    runs = runs_of(report)
    assert set(runs) == {"my name", "er seed 0", "simo", "simo seed 0"}
    assert not any("set" in run.data.tags for run in runs.values())
    assert mirror(suite.folder).written == 0


def test_a_name_is_no_longer_than_any_store_takes(suite: SuiteMaker) -> None:
    settings = " ".join(f"--set settings.number_{n}={n}" for n in range(30))
    suite.plan([("er", 0)], command=f"simo-cl run benchmarks/tiny.yaml {settings}")
    suite.run("er", 0)
    names = [run.info.run_name for run in runs_of(mirror(suite.folder)).values()]
    assert [len(name) for name in names] == [250, 250]
    assert mirror(suite.folder).written == 0


def test_a_mean_is_over_all_seeds_or_there_is_none(suite: SuiteMaker) -> None:
    suite.plan([("er", 0), ("er", 1)])
    suite.run("er", 0, metrics={"forgetting": 0.2, "old_class_accuracy": 0.1}, arrays=True)
    suite.run("er", 1, metrics={"forgetting": float("nan")}, arrays=True)
    report = mirror(suite.folder)
    runs = runs_of(report)
    assert runs["er seed 0"].data.metrics["forgetting"] == 0.2
    parent = runs["er"].data
    assert not {"forgetting", "old_class_accuracy"} & set(parent.metrics)
    assert "`forgetting`" not in parent.tags["mlflow.note.content"]

    written = load_suite(suite.folder)
    for name in ("average_accuracy", "forgetting", "old_class_accuracy", "new_class_accuracy"):
        curve = seed_curve(written, "er", name)
        assert history(report, runs["er"], name) == [
            (experience + 1, round(over_seeds.mean, 9)) for experience, over_seeds in curve
        ]


def test_what_a_seed_lacks_at_the_end_is_in_no_table_of_means(suite: SuiteMaker) -> None:
    suite.plan([("er", 0), ("er", 1)])
    for seed in (0, 1):
        folder = suite.run("er", seed, experiences=2)
        last = suite.values(2, seed, 0.5)
        if seed == 1:
            del last["forgetting"]
        suite.add_line(folder, 2, last, suite.STARTED + 30.0)
    np.savez(folder.parent / "seed0-1a2b3c4d" / "arrays.npz", **suite.arrays(0, 0.5))
    report = mirror(suite.folder)
    parent = runs_of(report)["er"]

    # Of the experience before, MLflow would show a value as the last one.
    assert "forgetting" not in parent.data.metrics
    assert parent.data.metrics["average_accuracy"] == pytest.approx(0.505)
    client = MlflowClient(report.tracking_uri)
    tables = {file.path for file in client.list_artifacts(parent.info.run_id, "tables")}
    assert tables == {"tables/metrics.csv"}


@pytest.mark.parametrize("place", ["s3://bucket/tiny", "a file"])
def test_all_but_files_arrives_where_those_cannot_be(
    two_strategies: SuiteMaker, exported: Exported, tmp_path: Path, place: str
) -> None:
    suite = two_strategies
    suite.run("simo[memory.size=200]", 0, model=exported.folder)
    if place == "a file":
        (tmp_path / "file").touch()
        place = (tmp_path / "file" / "tiny").as_uri()
    uri = f"sqlite:///{suite.folder}/mlflow.db"
    client = MlflowClient(uri)
    identifier = client.create_experiment("tiny", artifact_location=place)
    for _ in range(2):
        with pytest.raises(TrackingError, match=r"the files of 5 entries: .*/tiny"):
            mirror(suite.folder)
    report = MirrorReport(uri, identifier, 2, 3, 0, 0, ())
    runs = runs_of(report)
    assert len(runs) == 5
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert history(report, runs["er"], "average_accuracy")[-1] == (3, 0.555)
    assert client.search_logged_models([identifier]) == []


def test_artifacts_lie_beside_the_database_that_is_named(
    two_strategies: SuiteMaker, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stores").mkdir()
    shutil.copy(empty_store, tmp_path / "stores" / "all.db")
    monkeypatch.chdir(tmp_path)
    mirror(two_strategies.folder, "sqlite:///stores/all.db")
    assert (tmp_path / "stores" / "mlartifacts").is_dir()
    assert not list(tmp_path.glob("ml*"))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("./mlruns", "sqlite:///.*/mlruns/mlflow.db; `mlflow migrate-filestore`"),
        ("file:///tmp/mlruns", "Use sqlite:////tmp/mlruns/mlflow.db"),
        ("runs/all.db", "Use sqlite:///.*/runs/all.db"),
        ("postgresql+psycopg2://me:secret@host/db", "pip install psycopg2-binary"),
        ("mysql+pymysql://host/db", "needs the Python package pymysql"),
        ("postgresql+nonsense://host/db", "no address of a database"),
        ("postgres://host/db", "begins with 'postgres'"),
        ("localhost:5000", "its address is http://localhost:5000"),
    ],
)
def test_a_store_that_cannot_be_used_here_is_refused(
    suite_without_store: SuiteMaker, uri: str, message: str
) -> None:
    suite_without_store.plan([("er", 0)])
    with pytest.raises(TrackingError, match=message) as refused:
        mirror(suite_without_store.folder, uri)
    assert "secret" not in str(refused.value)
    assert "tracking-uri" in str(refused.value)


@pytest.mark.parametrize("uri", ["http://host", "databricks", "databricks://me", "sqlite:///a.db"])
def test_a_store_that_may_be_used_is_not_refused(uri: str) -> None:
    store.refuse_unusable(uri)


def test_the_accuracy_matrices_stand_side_by_side_in_the_charts(
    two_strategies: SuiteMaker,
) -> None:
    report = mirror(two_strategies.folder)
    runs = runs_of(report)
    # MLflow's chart view knows an image by its name in this folder, and by this tag.
    images = artifacts(report, runs["er"], "images")
    assert {Path(image).suffix for image in images} == {".png", ".webp"}
    assert all(Path(image).name.startswith("accuracy_matrix") for image in images)
    assert runs["er"].data.tags["mlflow.loggedImages"] == "True"
    assert "mlflow.loggedImages" not in runs["simo[memory.size=200]"].data.tags  # no arrays


def test_descriptions_give_the_results_in_words(two_strategies: SuiteMaker) -> None:
    runs = runs_of(mirror(two_strategies.folder))
    note = runs["er"].data.tags["mlflow.note.content"]
    assert "`average_accuracy` 0.555 ± 0.078, `forgetting` 0.450 ± 0.071" in note
    assert "| `average_accuracy` | 0.555 ± 0.078 | 0.500 | 0.610 |" in note
    note = runs["er seed 1"].data.tags["mlflow.note.content"]
    assert note.startswith("`average_accuracy` 0.610, `forgetting` 0.400.")
    one_seed = runs["simo[memory.size=200]"].data.tags["mlflow.note.content"]
    assert "±" not in one_seed.replace("mean ± standard deviation", "")


def test_the_users_own_description_stays(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    suite.run("er", 0, state="running", experiences=1)
    report = mirror(suite.folder)
    run = runs_of(report)["er seed 0"]
    client = MlflowClient(report.tracking_uri)
    client.set_tag(run.info.run_id, "mlflow.note.content", "mine")

    suite.run("er", 0)
    assert runs_of(mirror(suite.folder))["er seed 0"].data.tags["mlflow.note.content"] == "mine"


def test_tags_for_bookkeeping_are_not_shown(two_strategies: SuiteMaker) -> None:
    for run in runs_of(mirror(two_strategies.folder)).values():
        shown = {tag for tag in run.data.tags if not tag.startswith(("mlflow.", "environment."))}
        assert shown <= {"level", "strategy", "suite", "seeds finished", "control", "error"}


def test_differences_are_taken_from_the_control(two_strategies: SuiteMaker) -> None:
    report = mirror(two_strategies.folder)
    experiment = MlflowClient(report.tracking_uri).get_experiment(report.experiment_id)
    (differences,) = [
        chart
        for chart in state_of(experiment.tags[VIEW_TAG])["compareRunCharts"]
        if chart["type"] == "DIFFERENCE"
    ]
    assert differences["baselineColumnUuid"] == runs_of(report)["er"].info.run_id


def test_a_strategy_has_the_reports_colour(two_strategies: SuiteMaker) -> None:
    from simo_cl.results import load_suite
    from simo_cl.results.styles import styles

    shown = runs_of(mirror(two_strategies.folder))
    for label, style in styles(load_suite(two_strategies.folder)).items():
        assert shown[label].data.tags["mlflow.runColor"] == style.colour
        assert shown[f"{label} seed 0"].data.tags["mlflow.runColor"] == style.colour


def test_it_tells_how_much_is_left(two_strategies: SuiteMaker) -> None:
    left: list[int] = []
    mirror(two_strategies.folder, tell_left=left.append)
    assert left == [5, 4, 3, 2, 1, 0]  # of three runs and two strategies
    mirror(two_strategies.folder, tell_left=left.append)
    assert left[6:] == [0]


def test_a_second_time_changes_nothing(two_strategies: SuiteMaker) -> None:
    first = mirror(two_strategies.folder)
    before = {name: run.to_dictionary() for name, run in runs_of(first).items()}
    second = mirror(two_strategies.folder)
    assert (second.written, second.removed) == (0, 0)
    assert {name: run.to_dictionary() for name, run in runs_of(second).items()} == before


def test_the_mean_follows_the_seeds_as_they_finish(suite: SuiteMaker) -> None:
    suite.plan([("er", 0), ("er", 1)])
    suite.run("er", 0, level=0.5)
    report = mirror(suite.folder)
    parent = runs_of(report)["er"]
    assert parent.info.status == "RUNNING"
    assert parent.data.tags["seeds finished"] == "1 of 2"
    assert history(report, parent, "average_accuracy")[-1] == (3, 0.5)
    MlflowClient(report.tracking_uri).set_tag(parent.info.run_id, "mlflow.note.content", "mine")

    suite.run("er", 1, level=0.7, state="running", experiences=2)
    parent = runs_of(mirror(suite.folder))["er"]
    assert history(report, parent, "average_accuracy")[-1] == (3, 0.5)

    suite.run("er", 1, level=0.7)
    report = mirror(suite.folder)
    runs = runs_of(report)
    # one value a step, not the old mean beside the new one
    assert history(report, runs["er"], "average_accuracy") == [(1, 1.005), (2, 0.805), (3, 0.605)]
    assert runs["er"].info.status == "FINISHED"
    assert runs["er"].data.tags["mlflow.note.content"] == "mine"
    for child in ("er seed 0", "er seed 1"):
        assert runs[child].data.tags["mlflow.parentRunId"] == runs["er"].info.run_id


def test_a_running_run_grows_in_place(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    folder = suite.run("er", 0, state="running", experiences=1)
    report = mirror(suite.folder)
    before = runs_of(report)["er seed 0"]
    assert before.info.status == "RUNNING"
    suite.add_line(folder, 1, {"average_accuracy": 0.4}, suite.STARTED + 20)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"experience": 2, "ti')  # being written this moment
    report = mirror(suite.folder)
    after = runs_of(report)["er seed 0"]
    assert after.info.run_id == before.info.run_id
    assert history(report, after, "average_accuracy") == [(1, 1.0), (2, 0.4)]
    assert report.problems == ()


def test_a_run_done_again_is_replaced(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    suite.run("er", 0, state="failed", experiences=2, level=0.2)
    report = mirror(suite.folder)
    failed = runs_of(report)["er seed 0"]
    assert failed.info.status == "FAILED"
    assert failed.data.tags["error"] == "FloatingPointError: loss is NaN"
    assert "error.txt" in artifacts(report, failed)
    assert runs_of(report)["er"].info.status == "FAILED"
    assert "average_accuracy" not in runs_of(report)["er"].data.metrics

    suite.run("er", 0, level=0.5, started=suite.STARTED + 500)
    report = mirror(suite.folder)
    again = runs_of(report)["er seed 0"]
    assert again.info.status == "FINISHED"
    assert "error" not in again.data.tags
    assert history(report, again, "average_accuracy") == [(1, 1.0), (2, 0.75), (3, 0.5)]
    assert runs_of(report)["er"].info.status == "FINISHED"


def test_a_long_error_is_not_taken_for_the_users_description(suite: SuiteMaker) -> None:
    suite.plan([("er", 0)])
    suite.run("er", 0, state="failed", message="size mismatch " * 1000)
    failed = runs_of(mirror(suite.folder))["er seed 0"]
    assert failed.data.tags["mlflow.note.content"].startswith("Failed: FloatingPointError: size")

    suite.run("er", 0, started=suite.STARTED + 500)
    again = runs_of(mirror(suite.folder))["er seed 0"]
    assert again.data.tags["mlflow.note.content"].startswith("`average_accuracy` 0.500")


def test_runs_that_left_the_plan_go_to_the_trash(two_strategies: SuiteMaker) -> None:
    mirror(two_strategies.folder)
    two_strategies.plan([("er", 0)])
    report = mirror(two_strategies.folder)
    assert set(runs_of(report)) == {"er", "er seed 0"}
    trash = MlflowClient(report.tracking_uri).search_runs(
        [report.experiment_id], run_view_type=ViewType.DELETED_ONLY
    )
    assert "simo[memory.size=200] seed 0 · tiny" in {run.info.run_name for run in trash}


def test_a_lost_store_is_rebuilt(two_strategies: SuiteMaker, empty_store: Path) -> None:
    before = runs_of(mirror(two_strategies.folder))
    shutil.copy(empty_store, two_strategies.folder / "mlflow.db")
    after = runs_of(mirror(two_strategies.folder))
    assert {name: run.data.metrics for name, run in after.items()} == {
        name: run.data.metrics for name, run in before.items()
    }


def test_an_experiment_in_the_trash_is_taken_out(two_strategies: SuiteMaker) -> None:
    report = mirror(two_strategies.folder)
    client = MlflowClient(report.tracking_uri)
    client.delete_experiment(report.experiment_id)
    again = mirror(two_strategies.folder)
    assert again.experiment_id == report.experiment_id
    assert client.get_experiment(report.experiment_id).lifecycle_stage == "active"
    assert len(runs_of(again)) == 5


def test_the_experiment_says_what_it_shows(two_strategies: SuiteMaker) -> None:
    report = mirror(two_strategies.folder)
    experiment = MlflowClient(report.tracking_uri).get_experiment(report.experiment_id)
    assert experiment.name == "tiny"
    note = experiment.tags["mlflow.note.content"]
    assert "made up" in note
    assert "`forgetting`" in note


def test_what_cannot_be_shown_is_said(suite: SuiteMaker) -> None:
    suite.plan([("er", 0), ("simo", 0), ("der", 0)])
    suite.run("er", 0, metrics={"train/loss": float("inf")})
    broken = suite.run("simo", 0)
    (broken / "arrays.npz").write_bytes(b"half a file")
    (broken / "metrics.jsonl").write_text("not json\n")
    unreadable = suite.run("der", 0)
    (unreadable / "status.json").write_text("{")
    report = mirror(suite.folder)
    runs = runs_of(report)
    assert "train/loss" not in runs["er seed 0"].data.metrics
    assert set(runs) == {"er", "er seed 0", "simo", "simo seed 0"}
    said = "\n".join(report.problems)
    for part in ("train/loss is inf", "arrays.npz", "line 1 of metrics.jsonl", "runs/der/seed0"):
        assert part in said


def test_a_joint_run_has_one_step(suite: SuiteMaker) -> None:
    suite.plan([("joint", 0)])
    suite.run("joint", 0, experiences=1)
    report = mirror(suite.folder)
    assert history(report, runs_of(report)["joint"], "average_accuracy") == [(1, 1.0)]


def test_a_server(
    two_strategies: SuiteMaker, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    report = mirror(two_strategies.folder)
    assert report.tracking_uri == server
    assert mirror(two_strategies.folder).written == 0
    runs = runs_of(report)
    assert len(runs) == 5
    assert "tables/accuracy_own.csv" in artifacts(report, runs["er seed 0"], "tables")

    # Somebody else's suite of the same name, on the same server.
    other = type(two_strategies)(tmp_path / "elsewhere" / "tiny")
    other.plan([("er", 0)])
    other.run("er", 0, level=0.1)
    assert mirror(other.folder).removed == 0
    found = MlflowClient(server).search_runs([report.experiment_id])
    assert len(found) == 7


@pytest.mark.parametrize("answer", ["refuses", "is silent"])
def test_a_server_that_does_not_answer(
    two_strategies: SuiteMaker, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if answer == "is silent" else 1
        with pytest.raises(TrackingError, match=rf"http://127.0.0.1:{port} does not answer"):
            mirror(two_strategies.folder, f"http://127.0.0.1:{port}")


def test_the_users_own_limits_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with store.quick_requests(5):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_folder_without_a_plan(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"no plan\.json in"):
        mirror(tmp_path)


def test_many_parameters_and_metrics(suite: SuiteMaker) -> None:
    """More than MLflow takes in one call."""
    settings: dict[str, Any] = {f"key{number}": number for number in range(250)}
    settings["long"] = "x" * 10_000
    suite.plan([("er", 0)])
    suite.run("er", 0, settings=settings, metrics={f"many/m{n}": float(n) for n in range(400)})
    child = runs_of(mirror(suite.folder))["er seed 0"]
    assert child.data.params["settings.key249"] == "249"
    assert len(child.data.params["settings.long"]) == store.VALUE_LENGTH
    assert child.data.metrics["many/m399"] == 399.0


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ("features/orthogonality/mean_abs_cos", "features/orthogonality/mean_abs_cos"),
        ("a//b/", "a/b"),
        ("../up", "up"),
        ("/", "_"),
        ("odd[name]=1", "odd_name__1"),
        ("x" * 300, "x" * 250),
    ],
)
def test_accepted_names(given: str, accepted: str) -> None:
    assert store.accepted_name(given) == accepted
