"""What processes do that serve MLflow for the tests."""

from __future__ import annotations

import os
from pathlib import Path

from simo_cl.tracking.ui import make_server, serve_ui


def serve_store(folder: Path, port: int) -> None:
    """Serves the store in a folder."""
    os.environ["MLFLOW_ARTIFACTS_DESTINATION"] = str(folder / "artifacts")
    make_server(f"sqlite:///{folder}/mlflow.db", "127.0.0.1", port).run()


def serve_suite(folder: Path, port: int) -> None:
    serve_ui(folder, port=port, open_browser=False)
