"""Whether everything works on a GPU, in at most five minutes.

    python benchmarks/gpu_check.py                        # on the first GPU
    python benchmarks/gpu_check.py --only loss,compile
    python benchmarks/gpu_check.py --device cpu --quick   # only see whether the check itself runs

Each part is a process with a time limit of its own, so that none keeps another from its turn.
Writes check.md, with one table of what is wrong, check.json, and what each part measured; ends with
1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "speed"))

import torch  # noqa: E402
from _report import about, option_parser, table  # noqa: E402

from simo_cl.harness.environment import choose_device, describe_environment  # noqa: E402

COMMON = """\
data: {name: digits}
model: {encoder: small_cnn, width: 8}
memory: {size: 40}
evaluation: {samples_per_class: 4}
"""
SUITE = f"""{COMMON}
stream: {{experiences: 5}}
training: {{batch_size: 32, epochs: 0.3, augment: [crop, flip], threads: 1}}
"""
ONLINE = f"""{COMMON}
stream: {{protocol: online, experiences: 5, batch_size: 20, replay_batch_size: 12}}
training: {{optimizer: sgd, momentum: 0, threads: 1}}
"""
FEW = ("simo", "er_balanced")


@dataclass
class Findings:
    """What a part has found: problems, in a sentence each, and what it measured."""

    problems: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def main() -> None:
    options = arguments()
    if options.part is not None:
        warnings.simplefilter("ignore")
        findings = PARTS[options.part][0](options)
        path = options.out / f"{options.part}.json"
        path.write_text(json.dumps(asdict(findings), indent=1) + "\n", encoding="utf-8")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in options.only:
        results.append(result_of(name, options))
        write(results, options)
        wrong = "; ".join(results[-1]["problems"]) or "nothing is wrong"
        print(f"{name} ({results[-1]['seconds']:.0f} s): {wrong}", flush=True)
    print(f"Written to {options.out / 'check.md'}.")
    if any(result["problems"] for result in results):
        sys.exit(1)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = option_parser(__doc__, list(PARTS))
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda")
    parser.set_defaults(out=Path("results/gpu"))
    options = parser.parse_args(given)
    try:
        choose_device(options.device)
    except ValueError as error:
        parser.error(str(error))
    return options


# --- the parts ----------------------------------------------------------------------------------


def tests(options: argparse.Namespace) -> Findings:
    """The tests that need a GPU."""
    folder = ROOT / "tests"
    files = [p for p in sorted(folder.rglob("test_*.py")) if "pytest.mark.gpu" in p.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-m", "gpu", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    outcomes = re.findall("^(PASSED|FAILED|ERROR|SKIPPED) (.*)", finished.stdout, re.MULTILINE)
    wrong = [f"{test} {o.lower()}" for o, test in outcomes if o in ("FAILED", "ERROR")]
    found = Findings(wrong, [{"test": test, "outcome": outcome} for outcome, test in outcomes])
    if finished.returncode or not outcomes:
        found.problems.append(f"pytest ended with {finished.returncode}: {_last(finished.stdout)}")
    if options.device != "cpu" and "SKIPPED" in dict(outcomes):
        found.problems.append("tests were skipped on a machine with a GPU")
    return found


def suite(options: argparse.Namespace) -> Findings:
    """Every strategy in both protocols, on digits."""
    from simo_cl.harness.strategy_files import strategy_names

    found = Findings()
    strategies = FEW[:1] if options.quick else strategy_names(ROOT / "strategies")
    with tempfile.TemporaryDirectory() as name:
        for protocol, text in (("batch", SUITE), ("online", ONLINE)):
            for strategy in strategies:
                folder = Path(name) / protocol / strategy
                started = time.perf_counter()
                problem, metrics = _run(folder, text, strategy, options.device)
                seconds = time.perf_counter() - started
                row = {"protocol": protocol, "strategy": strategy, "seconds": seconds}
                found.rows.append(row | {"average_accuracy": metrics.get("average_accuracy")})
                if problem:
                    found.problems.append(f"{strategy}, {protocol}: {problem}")
    return found


def determinism(options: argparse.Namespace) -> Findings:
    """The same run twice, to the bit."""
    found = Findings()
    with tempfile.TemporaryDirectory() as name:
        for strategy in FEW[:1] if options.quick else FEW:
            folders = [Path(name) / strategy / turn for turn in ("first", "second")]
            problems = [_run(folder, SUITE, strategy, options.device)[0] for folder in folders]
            found.problems += [f"{strategy}: {problem}" for problem in problems if problem]
            if any(problems):
                continue
            differing = _differing(*folders)
            found.rows.append({"strategy": strategy, "differing": differing})
            if differing:
                listed = ", ".join(differing)
                found.problems.append(f"{strategy}: twice the same run differs in {listed}")
    return found


def loss(options: argparse.Namespace) -> Findings:
    """SimO by Triton and by torch, beside SupCon and SCR, 128 dimensions."""
    from loss import SIMO, SIZES, SQUARES, batch, contestants, one_step, take_turns

    from simo_cl.losses import simo_loss

    found, device = Findings(), torch.device(options.device)
    triton = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if triton else 2**30
    for n in (130,) if options.quick else (130, 1024, 8192, 65536):
        x, y = batch(n, 128, options.device)
        every = contestants(*SIZES[n])
        losses = {name: every[name] for name in (SIMO, "SupCon", "SCR")}
        if triton:
            losses["SimO Triton"] = lambda x, y: simo_loss(x, y, backend="triton")
            found.problems += _disagreement(n, losses[SIMO], losses["SimO Triton"], x, y)
        steps = {}
        for name, function in losses.items():
            if name in ("SupCon", "SCR") and SQUARES * 4 * n * n > free:
                found.rows.append({"n": n, "contestant": name, "ms": None})
                continue
            try:
                step = one_step(function, x, y)
                step()
                steps[name] = step
            except Exception as error:
                found.problems.append(f"{name}, N = {n}: {_in_words(error)}")
        for name, seconds in take_turns(steps, 0.0 if options.quick else 0.5).items():
            best = 1e3 * min(value for turn in seconds for value in turn)
            found.rows.append({"n": n, "contestant": name, "ms": best})
    return found


def streams(options: argparse.Namespace) -> Findings:
    """Online and batch iterations, beside stock Avalanche and the bare loop."""
    script = ROOT / "benchmarks" / "speed" / "streams.py"
    command = [sys.executable, str(script), "--device", options.device, "--out", str(options.out)]
    command += ["--networks", "slim ResNet-18", "--precisions", "float32,bfloat16"]
    command += ["--only", "online,batch", "--threads", "1"]
    command += ["--quick"] if options.quick else ["--rounds", "2"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        return Findings([_last(finished.stderr)])
    rows = json.loads((options.out / "streams.json").read_text(encoding="utf-8"))["rows"]
    slower = [
        f"{row['contestant']}, {row['section']}, {row['precision']}: "
        f"{row['times_stock']:.2f} times the speed of stock Avalanche"
        for row in rows
        if row["contestant"].startswith("ours") and row.get("times_stock", 1) < 1
    ]
    return Findings([] if options.quick else slower, rows)


def compile_(options: argparse.Namespace) -> Findings:
    """torch.compile of an encoder and of the loss: the same values, and few graphs."""
    from torch._dynamo.utils import counters

    from simo_cl.losses import simo_loss
    from simo_cl.models import Classifier, build_encoder

    found, device = Findings(), torch.device(options.device)
    backend = "eager" if options.quick else "inductor"
    encoder = build_encoder("small_cnn" if options.quick else "slim_resnet18", width=8)
    model = Classifier(encoder, 10).to(device).eval()
    images = torch.randn(16, 3, 32, 32, device=device)
    x = torch.randn(130, 128, device=device)
    y = torch.arange(10, device=device).repeat(13)
    for name, function, given in (
        ("encoder", model, (images,)),
        ("SimO", lambda x: simo_loss(x, y, samples_per_class=13), (x,)),
    ):
        counters.clear()
        try:
            compiled = torch.compile(function, backend=backend)
            for _ in range(3):
                result = compiled(*given)
            difference = (result - function(*given)).abs().max().item()
        except Exception as error:
            found.problems.append(f"{name}: {_in_words(error)}")
            continue
        graphs = counters["stats"]["unique_graphs"]
        found.rows.append({"what": name, "difference": difference, "graphs": graphs})
        if difference > 1e-3:
            found.problems.append(f"{name}: compiled and not differ by {difference:.1e}")
        if graphs > 2:
            found.problems.append(f"{name}: three equal batches made {graphs} graphs")
    return found


# Each with the seconds that it may take; five minutes together.
PARTS: dict[str, tuple[Callable[[argparse.Namespace], Findings], float]] = {
    "tests": (tests, 45),
    "suite": (suite, 80),
    "determinism": (determinism, 30),
    "loss": (loss, 40),
    "streams": (streams, 70),
    "compile": (compile_, 35),
}


def _run(folder: Path, text: str, strategy: str, device: str) -> tuple[str, dict[str, float]]:
    """Executes a run; gives what is wrong with it, and what it measured last."""
    from _suite_runs import SuiteRuns

    from simo_cl.harness.suite_file import SuiteError
    from simo_cl.streams import load_data

    folder.mkdir(parents=True)
    path = folder / "suite.yaml"
    path.write_text(f"{text}strategies: {{{strategy}: }}\n", encoding="utf-8")
    try:
        data, on = load_data("digits"), choose_device(device)
        runs = SuiteRuns(path, [strategy], folder, data=data, device=on)
        runs.execute()
    except SuiteError as error:
        # Some strategies are for one protocol alone.
        return ("" if "protocol alone" in str(error) else str(error)), {}
    except RuntimeError as error:
        return str(error), {}
    chance = [text for text in runs.warnings if "deterministic" in text]
    return "; ".join(chance), runs.last_metrics()


def _differing(first: Path, second: Path) -> list[str]:
    """Names of what two runs have written, where it is not the same to the bit."""
    import numpy as np

    def arrays(folder: Path) -> dict[str, bytes]:
        return {
            f"{path.stem}/{name}": array.tobytes()
            for path in sorted(folder.rglob("*.npz"))
            for name, array in np.load(path).items()
        }

    one, other = arrays(first), arrays(second)
    if not one:
        return ["everything, as neither has written an array"]
    return [name for name in one | other if one.get(name) != other.get(name)]


def _disagreement(
    n: int, torch_loss: Any, triton_loss: Any, x: torch.Tensor, y: torch.Tensor
) -> Iterable[str]:
    try:
        expected, gradient = (
            torch.autograd.grad(function(x, y), x)[0] for function in (torch_loss, triton_loss)
        )
    except Exception as error:
        return [f"Triton, N = {n}: {_in_words(error)}"]
    off = ((gradient - expected).abs().max() / expected.abs().max()).item()
    return [f"Triton, N = {n}: the gradient is off by {off:.1e}"] if off > 1e-4 else []


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


# --- one after the other ------------------------------------------------------------------------


def result_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Executes a part in a process of its own."""
    path = options.out / f"{name}.json"
    path.unlink(missing_ok=True)
    limit, started = PARTS[name][1] * (10 if options.quick else 1), time.monotonic()
    try:
        finished = subprocess.run(
            command_of(name, options), capture_output=True, text=True, check=False, timeout=limit
        )
        problems = [] if finished.returncode == 0 else [f"it failed: {_last(finished.stderr)}"]
    except subprocess.TimeoutExpired:
        problems = [f"it took more than {limit:.0f} s and was ended"]
    if path.exists():
        problems += json.loads(path.read_text(encoding="utf-8"))["problems"]
    return {"part": name, "problems": problems, "seconds": time.monotonic() - started}


def command_of(name: str, options: argparse.Namespace) -> list[str]:
    command = [sys.executable, __file__, "--part", name, "--device", options.device]
    return [*command, "--out", str(options.out), *(["--quick"] if options.quick else [])]


def write(results: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """What is wrong, and what was measured."""
    environment = describe_environment(choose_device(options.device), torch.get_num_threads())
    report = {"environment": environment, "results": results}
    (options.out / "check.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    rows, measured = [], []
    for result in results:
        name, wrong = result["part"], "<br>".join(result["problems"]).replace("|", "\\|")
        took = f"{result['seconds']:.0f} s"
        rows.append({"part": name, "took": took, "what is wrong": wrong or "nothing"})
        path = options.out / f"{name}.json"
        if path.exists() and (own := json.loads(path.read_text(encoding="utf-8"))["rows"]):
            measured += [f"## {name}", PARTS[name][0].__doc__ or "", table(own)]
    title = "# Check of a GPU" if options.device != "cpu" else "# Check of the check, on the CPU"
    text = "\n\n".join([title, about(environment), table(rows), *measured])
    (options.out / "check.md").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
