"""The reference pages of graphs and problems list what there is.

`REWRITE=1 pytest tests/docs` writes their tables anew: read the diff before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pdo.data.catalogue import DESCRIPTIONS, defaults_of
from p2pdo.data.partition import EXAMPLES
from p2pdo.graphs import TOPOLOGIES, WEIGHTS

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def topologies() -> str:
    rows = [
        f"| `{name}` | {t.about} | {f'`{name}:{t.example}`' if t.example else ''} |\n"
        for name, t in TOPOLOGIES.items()
    ]
    return "| topology | edges | parameter |\n|---|---|---|\n" + "".join(rows)


def weights() -> str:
    rows = [
        f"| `{name}` | {r.sums} | {r.about} | {f'`{name}:{r.example}`' if r.example else ''} |\n"
        for name, r in WEIGHTS.items()
    ]
    head = "| weights | sums that are one | a weight is | parameter |\n|---|---|---|---|\n"
    return head + "".join(rows)


def problems() -> str:
    rows = []
    for name, about in DESCRIPTIONS.items():
        parameters = ", ".join(f"{key} = {value}" for key, value in defaults_of(name).items())
        rows.append(f"| `{name}` | {about} | {parameters} |\n")
    return "| problem | about | parameters |\n|---|---|---|\n" + "".join(rows)


@pytest.mark.parametrize(
    ("page", "table"),
    [("graphs.md", topologies), ("graphs.md", weights), ("problems.md", problems)],
)
def test_the_page_has_the_table_of_what_there_is(page: str, table: Callable[[], str]) -> None:
    path, expected = PAGES / page, table()
    head = expected.partition("\n")[0]
    before, found, rest = path.read_text(encoding="utf-8").partition(head)
    assert found, f"{page} has no table {head}"
    old, end, after = f"{head}{rest}".partition("\n\n")
    if os.environ.get("REWRITE"):
        path.write_text(before + expected.rstrip("\n") + end + after, encoding="utf-8")
        return
    assert old + "\n" == expected, "REWRITE=1 pytest tests/docs writes it anew"


def test_the_page_has_every_partition() -> None:
    text = (PAGES / "problems.md").read_text(encoding="utf-8")
    for name, example in EXAMPLES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert line.endswith(f"= {example} |" if example else "| |")
