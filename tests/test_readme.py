"""The README's program runs and prints what it is about."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_fifteen_lines_of_the_readme_run() -> None:
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    code = found.group(1)
    assert len(code.strip().splitlines()) <= 15
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    gaps = {line.split()[0]: float(line.split()[2]) for line in done.stdout.splitlines()}
    assert gaps["gradient-tracking"] < 1e-12 < gaps["dgd"]


def test_the_readme_fits_one_screen() -> None:
    assert len(README.read_text().splitlines()) <= 60
