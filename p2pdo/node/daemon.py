"""p2pdo-node: flags in, exit code out. What a node does is in `run.py`.

Exit codes: 0 drained after SIGTERM or SIGINT · 2 a wrong flag · 3 a wrong value, or plaintext that
would leave this machine · 4 the name or the address is taken · 5 no coordinator · 130/143 a second
SIGINT/SIGTERM · 1 anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pdo.version import VERSION

if TYPE_CHECKING:
    from p2pdo.node.configuration.reading import Source
    from p2pdo.node.run import NodeSettings
    from p2pdo.node.site import Provider

_LAST_NET = 2.0  # seconds that an orphan may take to clean up


@click.command(name="p2pdo-node", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="This node's configuration; a flag wins over what it says.",
)
@click.option("--coordinator", metavar="HOST:PORT", help="The coordinator to join.")
@click.option("--name", metavar="NAME", help="This node's name in the network.")
@click.option(
    "--listen",
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where neighbours reach this node; port 0 takes any free one.",
)
@click.option(
    "--advertise",
    metavar="HOST:PORT",
    help="What neighbours dial instead, where a proxy or a mapped port is in between.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for what must outlive the process.",
)
@click.option("--insecure", is_flag=True, help="Speak plaintext, on loopback only.")
@click.option(
    "--pull",
    type=click.Choice(["stream", "poll"]),
    default="stream",
    show_default=True,
    help="How tasks come; poll where a proxy kills long streams.",
)
@click.option(
    "--pull-interval",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two polls.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to look for the coordinator at the start.",
)
@click.option("--keep-states", is_flag=True, help="Final states never leave this site.")
@click.option(
    "--value-limit",
    type=click.IntRange(min=1),
    default=1 << 30,
    show_default=True,
    metavar="BYTES",
    help="The largest value that is taken from a neighbour.",
)
@click.option("--local", is_flag=True, hidden=True, help="Started by p2pdo's own launcher.")
@click.version_option(VERSION, prog_name="p2pdo-node", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context, /, *, config: Path | None, local: bool, **_flags: Any) -> None:
    """Offers this machine's data and processor to the workloads of a coordinator.

    SIGTERM or Ctrl-C drains: no new work, and the node leaves when no workload needs it. A second
    one stops it at once.
    """
    import asyncio

    import uvloop

    import p2pdo.transports.rpc  # noqa: F401 - it sets what gRPC reads when it is imported

    # isort: split
    from p2pdo.environment import keep_memory
    from p2pdo.errors import P2pdoError, render
    from p2pdo.runtime import bugs

    keep_memory()
    _open_log()
    crash_folder = Path.cwd()
    try:
        source = _source(config)
        settings = _settings(ctx, source)
        crash_folder = settings.state
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            work = (
                _run_local(settings, source) if local else _run(settings, source, _say, _say_drains)
            )
            code = runner.run(work)
    except P2pdoError as error:
        click.echo(render(error), err=True)
        code = error.exit_code
    except click.UsageError:
        raise
    except Exception as bug:  # noqa: BLE001 - a bug is told in one line too; the rest is kept
        click.echo(render(bugs.kept(bug, crash_folder)), err=True)
        code = 1
    raise SystemExit(code)


def _open_log() -> None:
    """What handlers log, what workers print and why tasks failed: to stderr, from INFO on."""
    import logging

    handler = logging.StreamHandler()
    form = "%(asctime)s %(levelname)s %(workload)s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(form, defaults={"workload": "-"}))
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def _source(config: Path | None) -> Source | None:
    if config is None:
        return None
    from p2pdo.node.configuration.reading import read_configuration

    return read_configuration(config)


def _settings(ctx: click.Context, source: Source | None) -> NodeSettings:
    """The file's settings under the flags that were given; without a file, the flags."""
    from p2pdo.node.configuration.settings import missing, said_by, settings_of

    said: Mapping[str, Any] = ctx.params
    if source is not None:
        default = click.core.ParameterSource.DEFAULT
        given = [name for name in said if ctx.get_parameter_source(name) is not default]
        flags = {name: said[name] for name in given if name not in {"config", "local"}}
        said = said_by(source, flags)
    lacking = missing(said)
    if lacking:
        raise click.UsageError(
            f"missing option '--{lacking[0]}', and no {lacking[0]} in [node] of a --config file",
            ctx,
        )
    return settings_of(said)


def _provider(source: Source | None) -> Provider:
    if source is None:
        from p2pdo.node.site import default_executors

        return default_executors
    from p2pdo.node.configuration.provider import configured

    return configured(source)


async def _run(
    settings: NodeSettings,
    source: Source | None,
    say: Callable[[NodeSettings, str], None],
    say_drains: Callable[[NodeSettings], None] | None = None,
) -> int:
    """Runs the node until signals end it; the exit code."""
    import asyncio
    import signal

    from p2pdo.node.run import Stop, run_node

    stop = Stop()
    received: list[int] = []
    node = asyncio.current_task()
    assert node is not None
    is_ready = asyncio.Event()

    def on_signal(number: int) -> None:
        received.append(number)
        stop.ask()
        if not is_ready.is_set():
            node.cancel()  # it has not joined: there is nothing to drain
        elif say_drains is not None and len(received) == 1:
            say_drains(settings)

    def on_ready(address: str) -> None:
        is_ready.set()
        say(settings, address)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    try:
        await run_node(settings, _provider(source), stop=stop, ready=on_ready)
    except asyncio.CancelledError:
        if not received or is_ready.is_set():
            raise
    return 128 + received[-1] if stop.now.is_set() else 0


async def _run_local(settings: NodeSettings, source: Source | None) -> int:
    """The same for a launcher's child, which ends as soon as the launcher does."""
    import asyncio
    import os
    from dataclasses import replace

    from p2pdo.runtime.groups import task_group
    from p2pdo.runtime.local_child import parent_gone, read_handover

    handover = await read_handover()
    is_orphan = False
    settings = replace(
        settings,
        token=handover.get("token"),
        allow_code=bool(handover.get("allow_code")),
    )
    try:
        async with task_group() as group:
            node = group.create_task(_run(settings, source, _say_json), name="node")
            gone = group.create_task(parent_gone(), name="parent")
            await asyncio.wait({node, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                is_orphan = gone.result()
                asyncio.get_running_loop().call_later(_LAST_NET, os._exit, 1)
            gone.cancel()
            node.cancel()
    finally:
        if is_orphan and (folder := handover.get("ephemeral")):
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
    return 1 if node.cancelled() else node.result()


def _say(settings: NodeSettings, address: str) -> None:
    click.echo(f"node {settings.name} listens on {address} and has joined {settings.coordinator}")


def _say_drains(settings: NodeSettings) -> None:
    click.echo(
        f"node {settings.name} takes no new work and leaves when its workloads have ended; "
        "a second signal stops it at once"
    )


def _say_json(_settings: NodeSettings, address: str) -> None:
    import json

    click.echo(json.dumps({"listening": address}))
