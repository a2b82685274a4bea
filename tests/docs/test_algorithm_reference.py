"""The reference page lists what `p2pdo algorithms` lists.

`REWRITE=1 pytest tests/docs` writes its tables anew: read the diff before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from p2pdo.algorithms.asynchronous import ASYNCHRONOUS
from p2pdo.algorithms.catalogue import ALGORITHMS
from p2pdo.api.catalogues import describe_algorithms

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "algorithms.md"
KINDS = {
    "synchronous": "| name | method | reaches | needs | exchanges | vectors |\n",
    "asynchronous": "| name | asynchronous method | reaches | needs | messages | vectors |\n",
}


def table(kind: str) -> str:
    rows = [
        f"| `{e['name']}` | {e['about']} | {e['reaches']} | {e['requires']} "
        f"| {e['exchanges']:g} | {e['values']:g} |\n"
        for e in describe_algorithms()
        if "place" not in e  # what else is installed on this machine
        and e["kind"] == kind
    ]
    return KINDS[kind] + "|---|---|---|---|---|---|\n" + "".join(rows)


def test_the_readme_counts_right() -> None:
    readme = " ".join((PAGE.parents[2] / "README.md").read_text(encoding="utf-8").split())
    assert f"[{len(ALGORITHMS)} algorithms]" in readme
    assert f"[{len(ASYNCHRONOUS)} asynchronous ones]" in readme


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_has_the_table_of_the_catalogue(kind: str) -> None:
    head = KINDS[kind]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(head)
    old, end, after = f"{head}{rest}".partition("\n\n")
    if os.environ.get("REWRITE"):
        PAGE.write_text(before + table(kind).rstrip("\n") + end + after, encoding="utf-8")
        return
    assert old + "\n" == table(kind), "REWRITE=1 pytest tests/docs writes it anew"
