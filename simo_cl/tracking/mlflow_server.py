"""MLflow's server in this process."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn import Server


def make_server(uri: str, host: str, port: int) -> Server:
    """What the command `mlflow server` would serve for this store.

    MLflow's application reads its settings from the environment, as in that command's workers.
    """
    # Before MLflow's: it looks whether a server is there, and guards itself if so.
    import uvicorn

    # No background jobs: a quarter of the memory.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    from mlflow import server

    os.environ |= {
        server.BACKEND_STORE_URI_ENV_VAR: uri,
        server.REGISTRY_STORE_URI_ENV_VAR: uri,
        server.SERVE_ARTIFACTS_ENV_VAR: "true",
        server.ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
        server.ARTIFACTS_DESTINATION_ENV_VAR: os.environ.get(
            "MLFLOW_ARTIFACTS_DESTINATION", "mlartifacts"
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MLflow itself imports
        from mlflow.server.fastapi_app import app

    return uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="critical"))
