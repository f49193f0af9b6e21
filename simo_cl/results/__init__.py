"""What a suite leaves on disk: one schema, read and written here and nowhere else.

A suite's folder holds a :class:`Plan` and a folder for each of its runs, to which a
:class:`RunFolder` writes; :func:`read_suite` reads them as a :class:`Suite` of :class:`Run`.
"""

from simo_cl.results.arrays import read_arrays
from simo_cl.results.atomic_write import write_atomically, write_partial
from simo_cl.results.config import flat_settings, read_config
from simo_cl.results.history import Measured
from simo_cl.results.labels import file_name, run_folder_name, run_label, variant_settings
from simo_cl.results.merge import merge_suites
from simo_cl.results.plan import PLAN, Plan, PlanEntry, read_plan
from simo_cl.results.run import ARRAYS, Run
from simo_cl.results.run_folder import RunFolder
from simo_cl.results.safe_paths import OutsideError, refuse_links
from simo_cl.results.schema import NewerSchemaError, ResultsError
from simo_cl.results.status import (
    STATUS,
    DataRecord,
    RunState,
    RunStatus,
    examine,
    read_status,
)
from simo_cl.results.suite import Suite, load_suite, read_suite, refuse_without_runs

__all__ = [
    "ARRAYS",
    "PLAN",
    "STATUS",
    "DataRecord",
    "Measured",
    "NewerSchemaError",
    "OutsideError",
    "Plan",
    "PlanEntry",
    "ResultsError",
    "Run",
    "RunFolder",
    "RunState",
    "RunStatus",
    "Suite",
    "examine",
    "file_name",
    "flat_settings",
    "load_suite",
    "merge_suites",
    "read_arrays",
    "read_config",
    "read_plan",
    "read_status",
    "read_suite",
    "refuse_links",
    "refuse_without_runs",
    "run_folder_name",
    "run_label",
    "variant_settings",
    "write_atomically",
    "write_partial",
]
