"""MLflow: a logger for Avalanche, a view of a suite's run folders, and the UI on it.

Import from the modules themselves (`simo_cl.tracking.mirror`, `.ui`, `.mlflow_logger`): MLflow and
Avalanche take seconds to import, and none of the three needs both.
"""
