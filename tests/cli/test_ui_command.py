from __future__ import annotations

import socket

from project import Project
from typer.testing import Result


def test_ui_takes_no_port_that_there_is_not(project: Project) -> None:
    result = project.call("ui", "mixed", "--port", "65536", "--no-browser")

    assert result.exit_code == 2
    assert "65535" in result.output


def test_ui_says_that_its_port_is_taken(mixed: tuple[Project, Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = mixed[0].call("ui", "mixed", "--port", port, "--no-browser")

    assert result.exit_code == 2
    assert f"Error: cannot listen on 127.0.0.1:{port}" in result.output
    assert "***" not in result.output
