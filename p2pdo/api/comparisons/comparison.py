"""`p2pdo.compare(...)`: a comparison as one call, and what it came to.

comparison = p2pdo.compare("quadratic", ["dgd", "extra"], trials=5, nodes=8, tol=1e-8)
print(comparison.table())
comparison.plot("gap.pdf", against="bytes")
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pdo.algorithms.base import Algorithm
from p2pdo.api.comparisons.asked import Asked, checked, contenders_of, labelled
from p2pdo.api.comparisons.running import default_jobs, run_comparison
from p2pdo.api.requests import Request
from p2pdo.api.runs import check_executor
from p2pdo.api.script import refuse_running_loop
from p2pdo.data import encode
from p2pdo.errors import ConfigError
from p2pdo.reporting.comparing import curves, pictures, tidy
from p2pdo.reporting.comparing.figures import (
    Figures,
    check_axis,
    figures_of,
    observed_every,
    ranked,
    tolerance_of,
)
from p2pdo.reporting.comparing.folder import ComparisonFolder
from p2pdo.reporting.comparing.latex import latex_table
from p2pdo.reporting.comparing.progress import TrialsProgress
from p2pdo.reporting.comparing.tables import print_comparison
from p2pdo.reporting.comparing.trials import Group, read_groups
from p2pdo.storage.trouble import ANOTHER_FILE, writing
from p2pdo.types import Plain

OBSERVE_EVERY = 10
"""Iterations between observations, where nobody said: what a tolerance took is no finer."""


class Comparison:
    """Trials of several algorithms, read from their folders.

    Attributes:
        groups: the trials by algorithm; each has its `label`, `trials`, and the `good` ones.
        tol: the tolerance that what it took is told for; by default that of the runs.
        against: what the algorithms are ranked by.
        path: the folder, of one comparison.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        tol: float | None = None,
        against: str = "iterations",
        path: Path | None = None,
    ) -> None:
        self.groups = list(groups)
        self.tol = tolerance_of(groups) if tol is None else tol
        self.against = check_axis(against)
        self.path = path

    @classmethod
    def read(
        cls, *paths: Path | str, tol: float | None = None, against: str = "iterations"
    ) -> Comparison:
        """Of folders of comparisons, single runs, or both.

        Raises:
            NotFound: a path is neither.
        """
        where = [Path(path) for path in paths]
        alone = where[0] if len(where) == 1 else None
        return cls(read_groups(where), tol, against, alone)

    def figures(self) -> list[Figures]:
        """Means and standard deviations, the cheapest algorithm to the tolerance first."""
        return ranked([figures_of(group, self.tol) for group in self.groups], self.against)

    def table(self) -> str:
        """The tables that `p2pdo compare` prints."""
        import io

        from rich.console import Console

        text = io.StringIO()
        console = Console(file=text, width=200, no_color=True)
        self.print(console)
        return text.getvalue()

    def print(self, console: Any) -> None:
        """The tables, on a console of rich's."""
        print_comparison(console, self.figures(), self.tol, observed_every(self.groups))

    def latex(self) -> str:
        """A tabular in booktabs' style."""
        return latex_table(self.figures(), self.tol)

    def write_latex(self, path: Path | str) -> None:
        """Raises ConfigError where the file cannot be written."""
        with writing(Path(path), ANOTHER_FILE):
            Path(path).write_text(self.latex(), encoding="utf-8")

    def differences(self) -> str:
        """What else than algorithms the runs differ in, in words; nothing where they do not."""
        names = ("problem", "nodes", "topology", "partition")
        told = [
            name
            for name in names
            if len({str(group.settings[name]) for group in self.groups if name in group.settings})
            > 1
        ]
        return ", ".join(told)

    def to_dataframe(self) -> Any:
        """Every observation of every trial in a row, in pandas' data frame or else polars'.

        The columns are those of `p2pdo.reporting.comparing.tidy`.

        Raises:
            MissingExtra: neither is installed.
        """
        return tidy.to_dataframe(self.groups)

    def write_csv(self, path: Path | str) -> None:
        """The same rows."""
        tidy.write_csv(self.groups, Path(path))

    def write_parquet(self, path: Path | str) -> None:
        """The same rows; needs pyarrow or polars."""
        tidy.write_parquet(self.groups, Path(path))

    def plot(
        self,
        path: Path | str,
        *,
        against: str | None = None,
        show: str = "gap",
        line: str = "median",
        band: str = "min-max",
        width: str = "single",
    ) -> None:
        """Draws a line with a band for each algorithm; the suffix says the format.

        Args:
            path: ends in .pdf, .svg or .png.
            against: iterations, gradients, messages, bytes or seconds.
            show: gap, consensus-error, value, accuracy or test-accuracy.
            line: median or mean of the good trials.
            band: min-max, std or none.
            width: single or double, the column of a journal.

        Raises:
            MissingExtra: matplotlib is not installed.
            ConfigError: a choice is unknown, or the file cannot be written.
        """
        axis = check_axis(against or self.against)
        curves.check_choice("quantity", show, list(curves.QUANTITIES))
        curves.check_choice("line", line, curves.LINES)
        curves.check_choice("band", band, curves.BANDS)
        curves.check_choice("width", width, list(pictures.WIDTHS))
        bands = [curves.band_of(group, show, axis, line, band) for group in self.groups]
        drawn = [one for one in bands if one is not None]
        pictures.plot(drawn, Path(path), show, axis, width)

    def to_plain(self) -> dict[str, Plain]:
        """The figures, as `p2pdo compare --json` tells them."""
        return {
            "path": None if self.path is None else str(self.path),
            "tol": self.tol,
            "against": self.against,
            "algorithms": [one.to_plain() for one in self.figures()],
        }


def compare(
    problem: str | Sequence[Any],
    algorithms: Mapping[str, str | Algorithm[Any]] | Iterable[str | Algorithm[Any]] | str,
    *,
    trials: int = 1,
    parameters: Mapping[str, Plain] | None = None,
    nodes: int | None = None,
    on: str = "dense",
    jobs: int | None = None,
    out: Path | str | None = None,
    quiet: bool = True,
    force: bool = False,
    **settings: Any,
) -> Comparison:
    """Runs several algorithms on one problem and network, several trials each.

    Trial t has the seed + t. With names alone trials run in worker processes, `jobs` at a time,
    by default one a core; with objects they run here, one after the other.

    Args:
        problem: a name, "file.py:object", or one problem a node.
        algorithms: names or objects; a mapping gives each a label.
        trials: of each algorithm.
        parameters: "NAME" of all, "LABEL.NAME" of one, "problem.NAME" of the problem.
        nodes: by default 8, or one a problem.
        on: the executor.
        jobs: trials at a time.
        out: the folder; where it holds the same comparison, that goes on. Default: runs/ID.
        quiet: whether no progress is shown on stderr.
        force: whether algorithms run that would diverge; without it they are refused.
        settings: the fields of `api.requests.Request`: rounds, tol, seed, topology, …

    Raises:
        ConfigError: something is unknown or does not fit.
        Conflict: the folder holds another comparison; says how it differs.
        LocalProtocolError: an event loop already runs here.
    """
    refuse_running_loop("p2pdo.compare()")
    encode.refuse_while_importing()
    listed = algorithms if isinstance(algorithms, Mapping | str) else list(algorithms)
    contenders, of_problem = contenders_of(labelled(listed), parameters or {})
    if nodes is None:
        nodes = 8 if isinstance(problem, str) else len(problem)
    asked = Asked(
        base=Request(
            problem=problem,
            parameters=of_problem,
            nodes=nodes,
            **{"observe_every": OBSERVE_EVERY, **settings},
        ),
        contenders=contenders,
        trials=trials,
        executor=check_executor(on),
        force=force,
    )
    found = checked(asked)
    asked = found.asked
    folder = ComparisonFolder(Path(out) if out is not None else new_folder())
    workers = default_jobs(asked) if jobs is None else check_jobs(jobs)
    rounds, number = asked.base.rounds, asked.trials * len(asked.contenders)

    import uvloop

    with (
        TrialsProgress(number, rounds, quiet=quiet) as progress,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        for words in found.remarks():
            progress.message(words)
        runner.run(run_comparison(asked, folder, workers, progress))
    return Comparison.read(folder.path)


def new_folder() -> Path:
    return Path("runs") / f"compare-{uuid.uuid4().hex[:8]}"


def check_tolerance(tol: float | None) -> float | None:
    if tol is not None and not (math.isfinite(tol) and tol > 0):
        raise ConfigError(f"the tolerance must be positive, got {tol}", hint="--tol 1e-6")
    return tol


def check_jobs(jobs: int) -> int:
    if jobs < 1:
        raise ConfigError(f"jobs must be one or more, got {jobs}", hint="--jobs 2")
    return jobs
