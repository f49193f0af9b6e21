"""``plan.json`` in a suite's folder: what the suite is, and which runs belong to it now."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from simo_cl.results.labels import run_label
from simo_cl.results.safe_paths import refuse_links
from simo_cl.results.schema import NewerSchemaError, ResultsError, Stored, read_stored

PLAN = "plan.json"


class PlanEntry(BaseModel):
    """One entry of the suite's strategies with one seed.

    Attributes:
        strategy: the entry, which rows are named after.
        built_by: the strategy that it names; "" in older plans, where it is the entry.
        folder: relative to the suite's.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    strategy: str = Field(min_length=1)
    built_by: str = ""
    variant: str = ""
    seed: int
    folder: str = Field(pattern=r"^[^\x00]*$")

    @property
    def label(self) -> str:
        return run_label(self.strategy, self.variant)


class Plan(Stored):
    """What the file says.

    Attributes:
        control: the strategy, or the row in full, that the others are compared with.
        data: the data set, in words.
        command: that wrote it.
        version: of simo-cl.
    """

    suite: str = Field(min_length=1)
    description: str = ""
    control: str | None = None
    data: str = ""
    class_names: tuple[str, ...] = ()
    command: str = ""
    version: str = ""
    runs: tuple[PlanEntry, ...]


def read_plan(folder: Path) -> Plan:
    """The plan of a suite's folder.

    Raises:
        ResultsError: there is none, or none that can be read; the message says where and why.
        OutsideError: something in the folder leads out of it.
    """
    refuse_links(folder)
    try:
        return read_stored(folder / PLAN, Plan)
    except FileNotFoundError:
        raise ResultsError(
            f"no {PLAN} in {folder}, so it is not the result folder of a suite. Give the folder "
            "that `simo-cl run` wrote, such as results/quickstart"
        ) from None
    except NewerSchemaError:
        raise
    except OSError as error:
        raise ResultsError(f"{folder}: {PLAN} cannot be read: {error}") from error
    except ValueError as error:
        raise ResultsError(
            f"{folder}: {error}. Running the suite again writes it anew; finished runs are kept"
        ) from error
