"""``simo-cl doctor``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from simo_cl.cli.errors import plain_errors
from simo_cl.cli.options import (
    DataRootOption,
    DeviceOption,
    OptionalSuiteArgument,
    PluginsOption,
    SetOption,
    use_plugins,
)
from simo_cl.cli.terminal import make_console, tell
from simo_cl.wording import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from simo_cl.harness.diagnosis import Speed
    from simo_cl.harness.settings import Suite


def doctor(
    suite: OptionalSuiteArgument = None,
    device: DeviceOption = "auto",
    data_root: DataRootOption = None,
    overrides: SetOption = None,
    plugins: PluginsOption = None,
) -> None:
    """Say what this machine has, how fast it trains, and what is in the way. Takes seconds.

    Exits with 1 if something is off.
    """
    console = make_console()
    with plain_errors():
        from simo_cl.harness.quick_checks import (
            refuse_missing_root,
            refuse_other_device,
            refuse_unknown_data,
        )
        from simo_cl.harness.settings import Suite
        from simo_cl.harness.suite_file import SuiteError, read_suite

        if suite is None and overrides:
            raise SuiteError(
                f"--set {overrides[0]}: there is no suite whose setting this could change; give "
                "one, as in simo-cl doctor SUITE --set KEY=VALUE"
            )
        refuse_missing_root(data_root)
        refuse_other_device(device)
        file = None if suite is None else read_suite(suite, overrides or ())
        content = Suite(strategies={"simo": {}}) if file is None else file.suite
        if file is not None and plugins is None:
            refuse_unknown_data(content.data.name, file.locations)
        use_plugins(plugins)
        from simo_cl.harness import diagnosis
        from simo_cl.harness.checked_data import refuse_unknown_encoder
        from simo_cl.harness.environment import choose_device
        from simo_cl.harness.precision import precision_of, slowness_of
        from simo_cl.streams import DataError, load_data

        chosen_device = choose_device(device)
        problems = [
            *diagnosis.wrong_versions(),
            *diagnosis.core_problems(content.training.threads),
            *diagnosis.gpu_problems(),
        ]
        if slowness := slowness_of(content.model.precision, chosen_device):
            problems.append(slowness)
        shape = (3, 32, 32)
        if file is not None:
            refuse_unknown_encoder(content.model.encoder, file.locations)
            try:
                data = load_data(content.data.name, data_root)
                shape = (data.channels, data.size, data.size)
            except DataError as error:
                problems.append(str(error))
        tell(console, "This machine")
        console.print(_machine(chosen_device))
        if busy := diagnosis.busyness():
            tell(console, f"Warning: {busy}.", style="yellow")
        cores = diagnosis.usable_cores()
        threads = diagnosis.thread_numbers(cores) if chosen_device.type == "cpu" else [1]
        encoder = f"{content.model.encoder}, width {content.model.width}"
        size = " x ".join(map(str, shape))
        tell(console, f"\nTraining images a second: {encoder}, {size}")
        tell(console, "Measuring, in each precision, layout and number of threads ...")
        speeds = list(
            diagnosis.measure(content.model, shape, _images_a_step(content), threads, chosen_device)
        )
        console.print(_speed_table(speeds))
    best, at_once = diagnosis.recommend(speeds, cores, chosen_device)
    auto = precision_of(chosen_device)
    settings = dict(override.split("=", 1) for override in overrides or ())
    # Of a GPU, threads are not measured.
    if chosen_device.type == "cpu" and best.threads != content.training.threads:
        settings["training.threads"] = str(best.threads)
    now = content.model.precision
    if best.precision != (auto if now == "auto" else now):
        settings["model.precision"] = best.precision
    words = ["simo-cl", "run", str(suite or "SUITE")]
    if data_root is not None:
        words += ["--data-root", str(data_root)]
    if plugins is not None:
        words += ["--plugins", str(plugins)]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    if at_once > 1:
        words += ["--jobs", str(at_once)]
    if device != "auto":
        words += ["--device", device]
    tell(
        console,
        f"\nmodel.precision: auto stands for {auto} here. Recommended, for about "
        f"{best.images * at_once:,.0f} images a second in all:\n  {shlex.join(words)}",
    )
    for problem in problems:
        tell(console, f"Off: {problem}", style="yellow")
    if problems:
        raise typer.Exit(1)
    tell(console, "Nothing is off.")


def _images_a_step(suite: Suite) -> int:
    if suite.stream.protocol == "online":
        return suite.stream.batch_size + suite.stream.replay_batch_size
    return suite.training.batch_size


def _machine(device: torch.device) -> Table:
    from simo_cl.harness.diagnosis import usable_cores
    from simo_cl.harness.environment import describe_environment

    table = Table(show_header=False, box=None)
    there = describe_environment(device, usable_cores())
    for name, value in there.items():
        if value is not None:
            label = "usable cores" if name == "threads" else name.replace("_", " ")
            table.add_row(label, str(value))
    return table


def _speed_table(speeds: Sequence[Speed]) -> Table:
    threads = sorted({speed.threads for speed in speeds})
    images = {(s.precision, s.layout, s.threads): s.images for s in speeds}
    table = Table("precision", "layout", box=None)
    for number in threads:
        table.add_column(count(number, "thread"), justify="right")
    for precision, layout in dict.fromkeys((s.precision, s.layout) for s in speeds):
        cells = (images.get((precision, layout, number)) for number in threads)
        table.add_row(precision, layout, *("" if n is None else f"{n:,.0f}" for n in cells))
    return table
