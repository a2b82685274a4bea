"""Makes the pages that the registry tells: `python docs/make_pages.py build/docs`.

The committed pages are copied, and every algorithm gets one of its own: its update, assumptions,
parameters and paper, and a run of it. Nothing of that is committed; the registry is its source.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import p2pdo
from p2pdo.algorithms.asynchronous.table import ASYNCHRONOUS
from p2pdo.algorithms.catalogue import ALGORITHMS
from p2pdo.api.catalogues import describe_algorithm
from p2pdo.api.runs import Executor, Result
from p2pdo.data.catalogue import build_all
from p2pdo.reporting.plots import plot_convergence

DOCS = Path(__file__).parent
NODES, ROUNDS = 8, 400
PAGES = {**ALGORITHMS, **ASYNCHRONOUS}
PROBLEMS = ("least-squares", "allocation", "averaging-private", "breast-cancer-private")
PARAGRAPH = "\n\n"


def main(out: Path) -> None:
    """Makes them anew."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(DOCS, out, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (out / "README.md").rename(out / "all-pages.md")  # a folder's README would be its index
    shutil.copy(DOCS.parent / "README.md", out / "index.md")
    shutil.copy(DOCS.parent / "CONTRIBUTING.md", out)
    for name in ("index.md", "all-pages.md"):
        _unnest_links(out / name)
    pages = out / "reference" / "algorithms"
    pages.mkdir()
    for name in PAGES:
        print(name)
        draw(name, pages / f"{name}.svg")
        (pages / f"{name}.md").write_text(page(name), encoding="utf-8")
    link_names(out / "reference" / "algorithms.md")


def page(name: str) -> str:
    told = describe_algorithm(name)
    facts = [
        ("reaches", told["reaches"]),
        ("needs", told["requires"]),
        (
            "sends",
            f"{told['exchanges']:g} × an iteration, {told['values']:g} × x to each neighbour",
        ),
        ("without a neighbour's message", told["missing"]),
        ("`--on stacked`", "yes" if told["stacks"] else "no"),
    ]
    parts = [
        f"# {name}",
        f"{told['about']}.",
        f"```text\n{told['text'].partition(PARAGRAPH)[2] or told['text']}\n```",
        table(("", ""), facts),
        *parameters(told),
        command(name),
        f"![A run of {name}]({name}.svg)",
    ]
    return "\n\n".join(parts) + "\n"


def command(name: str) -> str:
    return f"    p2pdo run {problem_of(name)} -a {name} -n {NODES}"


def parameters(told: dict[str, Any]) -> list[str]:
    rows = [
        (f"`{key}`", told["derived"].get(key) or ("to be given" if value is None else f"`{value}`"))
        for key, value in told["parameters"].items()
    ]
    return ["## Parameters", table(("name", "default"), rows)] if rows else []


def table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"| {a} | {b} |" for a, b in [head, ("---", "---"), *rows])


def draw(name: str, path: Path) -> None:
    """A run, of a consensus from unlike starts; with default parameters."""
    problem = problem_of(name)
    on: Executor = "simulated" if name in ASYNCHRONOUS else "dense"
    result: Result = p2pdo.run(problem, name, nodes=NODES, rounds=ROUNDS, observe_every=4, on=on)
    what = f"{result.summary.problem}, ring of {NODES}, default parameters"
    plot_convergence(result.metrics, path, name, what)


def problem_of(name: str) -> str:
    """The first problem that has what the algorithm calls."""
    oracle = PAGES[name].requires.oracle
    return next(p for p in PROBLEMS if isinstance(build_all(p, 1)[0], oracle))


def link_names(overview: Path) -> None:
    text = overview.read_text(encoding="utf-8")
    for name in PAGES:
        text = text.replace(f"| `{name}` |", f"| [`{name}`](algorithms/{name}.md) |", 1)
    overview.write_text(text, encoding="utf-8")


def _unnest_links(readme: Path) -> None:
    """The README's links into docs/, from inside docs/, and those to the README."""
    text = readme.read_text(encoding="utf-8").replace("](docs/", "](")
    text = text.replace("](README.md)", "](all-pages.md)").replace("](../README.md)", "](index.md)")
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
