"""The programs of the how-to pages run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pytorch-and-jax-problems.md"


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "jax"])
def test_the_programs_of_the_page_on_learned_problems_run(package: str) -> None:
    pytest.importorskip(package)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [code] = [block for block in blocks if block.startswith(f"import {package}\n")]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
