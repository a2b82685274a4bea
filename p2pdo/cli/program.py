"""The program around the verbs: finds them, speaks for them, ends with their exit code.

    stdout    what was asked for: tables, or with --json exactly one envelope
    stderr    everything else: progress, remarks, errors

An envelope is {"schema": "p2pdo/1", "ok": true, "data": …} or {"schema": "p2pdo/1", "ok": false,
"error": {code, message, hint, node, workload, iteration}}. It is there whatever happens: also for
a flag that does not exist, and after a signal. Nobody is ever shown a traceback: a bug is one
line that says where the traceback is.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from p2pdo.cli.signals import Interruption, interruptible
from p2pdo.errors import P2pdoError, did_you_mean, render
from p2pdo.version import VERSION

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "p2pdo/1"
_USAGE = 2
_BROKEN_PIPE = 1
_HELP = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Place:
    """A verb's module in this package, and what the list of verbs says of it."""

    module: str
    help: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a verb answers: plain data for --json, and how to print it for a person.

    What it answers may be bad news, for which scripts look at the exit code.
    """

    data: Any
    show: Callable[[Console], None]
    exit_code: int = 0


class _Told(P2pdoError):
    """An error of the command line itself; its exit code is told, not its class's."""

    def __init__(self, code: str, exit_code: int, message: str, **where: Any) -> None:
        super().__init__(message, **where)
        self.code = code  # type: ignore[misc]
        self.exit_code = exit_code  # type: ignore[misc]


class Unsaid(click.UsageError):
    """Something that a verb needs was not said; the hint is the command that says it."""

    def __init__(self, message: str, ctx: click.Context, *words: str, more: str = "") -> None:
        super().__init__(message, ctx)
        command = shlex.join(["p2pdo", *ctx.find_root().obj, *words])
        self.hint = f"{command}{more}"


class Verb(click.Command):
    """A command that returns a `Reply`, or None if it has printed what there was."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **{"context_settings": _HELP, **settings})
        self.params.append(
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON envelope.")
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Those of a `section` under its name, the others before them."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                title = getattr(parameter, "section", "Options")
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> int:
        as_json = ctx.params.pop("as_json")
        if not as_json:
            reply = super().invoke(ctx)
            if reply is None:
                return 0
            reply.show(_console())
            return int(reply.exit_code)
        stdout = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):  # what user code prints is not ours to answer
            reply = super().invoke(ctx)
        _print_envelope({"ok": True, "data": reply.data}, stdout)
        return int(reply.exit_code)


class Program(click.Group):
    """The verbs by name, each imported when it is called."""

    def __init__(self, name: str, places: Mapping[str, Place]) -> None:
        super().__init__(
            name,
            no_args_is_help=False,
            subcommand_metavar="VERB [ARGS]...",
            help="Peer-to-peer distributed optimization over networks of nodes.",
            epilog="p2pdo VERB --help tells more. Start with: p2pdo run quadratic",
            context_settings=_HELP,
            params=[
                click.Option(
                    ["--version"],
                    is_flag=True,
                    expose_value=False,
                    is_eager=True,
                    callback=_print_version,
                    help="Print the version.",
                )
            ],
        )
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module = importlib.import_module(f"p2pdo.cli.{place.module}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, place.help) for name, place in self._places.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word not in self._places and not word.startswith("-") and not ctx.resilient_parsing:
            raise _Told(
                "usage",
                _USAGE,
                f"there is no verb '{word}'",
                hint=did_you_mean(word, list(self._places)),
            )
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "p2pdo",
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - errors and exit codes are told here
        **extra: Any,
    ) -> NoReturn:
        arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
        as_json = "--json" in arguments
        stdout = sys.stdout
        try:
            with interruptible():
                code = super().main(
                    arguments,
                    prog_name,
                    complete_var,
                    standalone_mode=False,
                    obj=arguments,
                    **extra,
                )
        except BrokenPipeError:
            _discard_output()
            sys.exit(_BROKEN_PIPE)
        except SystemExit:  # shell completion
            raise
        except BaseException as error:  # noqa: BLE001 - all of them become one told error
            told = _told(error)
            if as_json:
                _print_envelope({"ok": False, "error": _every_field(told)}, stdout)
            else:
                click.echo(render(told), err=True)
            sys.exit(told.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def _discard_output() -> None:
    """Nobody reads on: what the interpreter flushes at its end goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _told(error: BaseException) -> P2pdoError:
    """Whatever was raised, in the one form in which everything is told."""
    match error:
        case P2pdoError():
            return error
        case Unsaid():
            return _Told("usage", error.exit_code, error.message, hint=error.hint)
        case click.UsageError():
            path = error.ctx.command_path if error.ctx is not None else "p2pdo"
            return _Told("usage", error.exit_code, _plain_message(error), hint=f"{path} --help")
        case click.ClickException():
            return _Told("usage", error.exit_code, error.format_message())
        case click.Abort() | KeyboardInterrupt():
            return _interrupted(error if isinstance(error, Interruption) else error.__cause__)
        case _:
            from p2pdo.runtime import bugs

            return bugs.kept(error)


def _plain_message(error: click.UsageError) -> str:
    """One sentence in one line, beginning as our own do."""
    message = " ".join(error.format_message().split()).rstrip(".")
    return message[:1].lower() + message[1:]


def _interrupted(cause: BaseException | None) -> P2pdoError:
    """What the cancelled verb said of its workload goes with it."""
    interruption = cause if isinstance(cause, Interruption) else Interruption(signal.SIGINT)
    number, last = interruption.number, interruption.__cause__
    code = "interrupted" if number == signal.SIGINT else "terminated"
    where = {"hint": last.hint, "workload": last.workload} if isinstance(last, P2pdoError) else {}
    return _Told(code, 128 + number, f"{code} by {number.name}", **where)


def remark(text: str, *, quiet: bool = False) -> None:
    """A sentence beside the answer, on stderr."""
    if not quiet:
        click.echo(text, err=True)


def _every_field(error: P2pdoError) -> dict[str, Any]:
    names = ("code", "message", "hint", "node", "workload", "iteration")
    return {name: getattr(error, name) for name in names}


def _print_envelope(content: Mapping[str, Any], stdout: IO[str]) -> None:
    envelope = {"schema": SCHEMA, **content}
    if "data" in envelope:
        from p2pdo.reporting.json_lines import encode

        text = encode(envelope)
    else:
        text = json.dumps(envelope)
    click.echo(text, file=stdout)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"p2pdo {VERSION}")
        ctx.exit()
