"""The coordinator as a process: `p2pdo-coordinator --listen HOST:PORT --state DIR --insecure`.

The first SIGTERM or SIGINT drains: calls in progress are answered, the store is closed, exit 0. A
second one ends the process at once with 130 or 143, which the store survives like any crash.
Whatever goes wrong is told in one error on stderr, with its exit code.

With `--local` it belongs to one user's local run: its launcher hands a token over on stdin, reads
one line of JSON with the address on stdout, and takes the coordinator with it when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import click

from p2pdo.errors import ConfigError, P2pdoError, render
from p2pdo.version import VERSION

log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "127.0.0.1:7443"
_ORPHAN_SECONDS = 2.0  # that draining may take once the launcher is gone


@click.command(name="p2pdo-coordinator", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--listen",
    default=DEFAULT_ADDRESS,
    show_default=True,
    metavar="HOST:PORT",
    help="Where nodes and users reach it; port 0 takes any free one.",
)
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for what must outlive the process: nodes, workloads, tasks.",
)
@click.option(
    "--controller",
    "controllers",
    multiple=True,
    metavar="NAME=MODULE:FUNCTION",
    help="A controller that workloads of tasks may name; may be given several times.",
)
@click.option(
    "--driver-grace",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="End a workload of tasks that nobody has watched for so long; inf never does.",
)
@click.option("--insecure", is_flag=True, help="Speak plaintext, on loopback only.")
@click.option("--local", is_flag=True, hidden=True, help="Started by p2pdo's own launcher.")
@click.option("-v", "--verbose", is_flag=True, help="Log more, to stderr.")
@click.version_option(VERSION, prog_name="p2pdo-coordinator", message="%(prog)s %(version)s")
def main(
    *,
    listen: str,
    state: Path,
    controllers: tuple[str, ...],
    driver_grace: float,
    insecure: bool,
    local: bool,
    verbose: bool,
) -> NoReturn:
    """Registers nodes, keeps workloads, and tells each node who its neighbours are.

    SIGTERM or Ctrl-C drains; a second one stops it at once.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    from p2pdo.transports import rpc  # before any other import of gRPC: it sets it up

    try:
        rpc.require_plaintext_allowed(listen, insecure=insecure)
        with asyncio.Runner(loop_factory=_make_loop) as runner:
            if local:
                runner.run(_run_local(listen, state))
            else:
                runner.run(_run(listen, state, controllers, driver_grace))
    except P2pdoError as error:
        click.echo(render(error), err=True)
        sys.exit(error.exit_code)
    except Exception as bug:  # noqa: BLE001 - a bug is told in one line too; the rest is kept
        from p2pdo.runtime import bugs

        click.echo(render(bugs.kept(bug, state)), err=True)
        sys.exit(1)
    sys.exit(0)


def _make_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def _run(listen: str, state: Path, controllers: Sequence[str], driver_grace: float) -> None:
    from p2pdo.coordinator.registered import registered_controllers
    from p2pdo.coordinator.serving import serving
    from p2pdo.coordinator.settings import Settings

    settings = Settings(controllers=registered_controllers(controllers), driver_grace=driver_grace)
    with _stop_signals() as stop:
        async with serving(state, listen, settings=settings) as address:
            click.echo(f"p2pdo-coordinator listening on {address}")
            await stop.wait()
            log.info("draining")


async def _run_local(listen: str, state: Path) -> None:
    """Until a signal or the launcher's end, whichever comes first."""
    from p2pdo.coordinator.serving import serving
    from p2pdo.coordinator.settings import Settings
    from p2pdo.runtime.groups import task_group
    from p2pdo.runtime.local_child import read_handover

    handover = await read_handover()
    token, ephemeral = handover.get("token"), handover.get("ephemeral")
    if not isinstance(token, str) or not token:
        raise ConfigError("the launcher handed no token over", hint="use p2pdo run")
    is_orphan = False
    try:
        with _stop_signals() as stop:
            async with (
                serving(state, listen, token=token, settings=Settings(local=True)) as address,
                task_group() as group,
            ):
                watching = group.create_task(_stop_with_launcher(stop), name="launcher")
                click.echo(json.dumps({"listening": address}))
                await stop.wait()
                is_orphan = watching.done() and watching.result()
                watching.cancel()
    finally:
        if is_orphan and ephemeral:
            await asyncio.to_thread(shutil.rmtree, ephemeral, ignore_errors=True)


async def _stop_with_launcher(stop: asyncio.Event) -> bool:
    """Stops when the launcher is gone; whether it died."""
    from p2pdo.runtime.local_child import parent_gone

    is_orphan = await parent_gone()
    asyncio.get_running_loop().call_later(_ORPHAN_SECONDS, os._exit, 1)
    asyncio.get_running_loop().call_soon(stop.set)  # once this task is done
    return is_orphan


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Set by the first SIGTERM or SIGINT; the second ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
