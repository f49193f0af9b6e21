from __future__ import annotations

from project import Project
from tiny import STRATEGIES


def test_list_shows_strategies_suites_and_data(project: Project) -> None:
    project.suite("er", name="good")
    (project.suites / "bad.yaml").write_text("strategies: [er]")

    result = project.call("list", "--suites", project.suites, "--strategies-dir", STRATEGIES)

    assert result.exit_code == 0
    for path in STRATEGIES.glob("*.py"):
        assert path.stem in result.output
    assert "Experience replay (Chaudhry et al. 2019)" in result.output
    assert "good.yaml" in result.output
    assert "cannot be read: " in result.output
    assert "fashion_mnist" in result.output
