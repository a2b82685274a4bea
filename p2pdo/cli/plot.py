"""`p2pdo plot`: a run folder's pictures, drawn again; also while the run goes on."""

from __future__ import annotations

from pathlib import Path

import click

from p2pdo.cli.program import Reply, Verb, remark


@click.command(cls=Verb)
@click.argument("run_dir", metavar="RUNDIR", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where convergence goes: .png, .svg or .pdf.  [default: RUNDIR/convergence.png; "
    "RUNDIR/pace.png where nobody saw the states]",
)
def plot(*, run_dir: Path, out: Path | None) -> Reply:
    """Draw the pictures of the run folder RUNDIR; also while the run goes on."""
    from p2pdo.reporting.pictures import draw
    from p2pdo.reporting.run_folder import RunFolder

    drawn = draw(RunFolder(run_dir), out)
    if drawn.note is not None:
        remark(drawn.note)
    files = [str(path) for path in drawn.files]
    return Reply(
        {"files": files},
        lambda console: console.print(*files, sep="\n", markup=False, soft_wrap=True),
    )
