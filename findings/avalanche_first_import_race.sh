#!/usr/bin/env bash
# avalanche-lib 0.6.0, with torch 2.14.1 and torchvision 0.29.1, on a CPU.
#
# Expected: several processes may import Avalanche at the same time, whether or not it was ever
# imported by that user before; a job array's first tasks do.
# Seen: the first import writes ~/.avalanche/config.json by opening it and filling it afterwards, and
# takes a file that is there for one that is complete. A process that comes in between reads an empty
# file: `import avalanche` ends with a JSONDecodeError that names neither the file nor Avalanche's
# settings. If the first process ends in between, the empty file stays and so does the error, for
# every later import of that user.
#
# Output seen (the number in the first line varies):
#   of 640 processes, 8 at a time with a new home each time, 71 could not read what another wrote
#   with an empty config.json, as one that was interrupted leaves it: JSONDecodeError
#
# Ends with an error if the second line changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 avalanche-lib==0.6.0
cat > "$folder/body.py" <<'PYTHON'
import importlib.util
import os
import runpy
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

ROUNDS, AT_ONCE = 80, 8
PACKAGE = Path(importlib.util.find_spec("avalanche").origin).parent


def settings_are_read(home, at):
    """What `import avalanche` does about its settings, without the seconds that it takes else."""
    os.environ["HOME"] = home
    while time.time() < at:
        pass
    try:
        runpy.run_path(str(PACKAGE / "benchmarks" / "datasets" / "dataset_utils.py"))
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    failed = 0
    with get_context("spawn").Pool(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as home:
                at = time.time() + 0.05
                failed += pool.starmap(settings_are_read, [(home, at)] * AT_ONCE).count(False)
    print(
        f"of {ROUNDS * AT_ONCE} processes, {AT_ONCE} at a time with a new home each time, {failed} "
        "could not read what another wrote"
    )
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / ".avalanche").mkdir()
        (Path(home) / ".avalanche" / "config.json").touch()
        ended = subprocess.run(
            [sys.executable, "-c", "import avalanche"],
            env={**os.environ, "HOME": home}, capture_output=True, text=True,
        )
    error = ended.stderr.strip().splitlines()[-1].split(":")[0].split(".")[-1]
    print(f"with an empty config.json, as one that was interrupted leaves it: {error}")
    assert ended.returncode and error == "JSONDecodeError"
PYTHON
"$folder/venv/bin/python" "$folder/body.py"
