from __future__ import annotations

from project import Project
from tiny import STRATEGIES


def test_list_shows_strategies_suites_and_data(project: Project) -> None:
    project.suite("er", name="good")
    (project.suites / "bad [b]old.yaml").write_text("strategies: [er]")

    result = project.call("list", "--suites", project.suites, "--strategies-dir", STRATEGIES)

    assert result.exit_code == 0
    for path in STRATEGIES.glob("*.py"):
        assert path.stem in result.output
    assert "Experience replay (Chaudhry et al. 2019)" in result.output
    assert "good.yaml" in result.output
    assert "bad [b]old.yaml" in result.output
    assert "cannot be read: " in result.output
    assert "fashion_mnist" in result.output


def test_list_names_the_line_of_a_broken_strategy_and_shows_the_others(project: Project) -> None:
    path = project.strategies / "broken.py"
    path.write_text('"""Mine [no markup]."""\n\ndef build(:\n')
    (project.strategies / "latin.py").write_bytes(b'"""\xe9"""')

    result = project.call("list", "--strategies-dir", project.strategies)
    run = project.call("run", project.suite("broken"))

    assert result.exit_code == 0
    assert f"cannot be read: SyntaxError: invalid syntax ({path}, line 3)" in result.output
    assert "latin" in result.output
    assert "Experience replay (Chaudhry et al. 2019)" in result.output
    assert run.exit_code == 2
    assert f"broken.py cannot be imported: SyntaxError: invalid syntax ({path}, line 3)" in (
        run.output
    )
