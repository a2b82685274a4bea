"""Options that several verbs have, and how text from a shell becomes a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from p2pdo.cli.program import Unsaid
from p2pdo.errors import ConfigError

_EXAMPLE = "127.0.0.1:7443"  # where the README's coordinator listens

F = TypeVar("F", bound=Callable[..., Any])


def _parse_settings(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """KEY=VALUE …; a value is a JSON scalar, or else text."""
    settings: dict[str, Any] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not (equals and key):
            raise click.BadParameter(f"'{value}' is not of the form KEY=VALUE", ctx, parameter)
        settings[key] = _scalar(text)
    return settings


def _scalar(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


def some_rounds(_ctx: click.Context, _parameter: click.Parameter, value: int | None) -> int | None:
    """Refuses a run of nothing; from Python one judges its start."""
    if value is not None and value < 1:
        raise ConfigError(f"rounds must be one or more, got {value}", hint="--rounds 100")
    return value


def group(options: Iterable[Callable[[F], F]], section: str = "") -> Callable[[F], F]:
    """Several options as one decorator; with a section of their own in the verb's help."""
    listed = list(options)

    def add(function: F) -> F:
        for option in reversed(listed):
            function = option(function)
        if section:
            for parameter in function.__click_params__[-len(listed) :]:  # type: ignore[attr-defined]
                parameter.section = section
        return function

    return add


what_runs = group(
    [
        click.option(
            "-a",
            "--algorithm",
            default="gradient-tracking",
            show_default=True,
            metavar="A",
            help="A name (see p2pdo algorithms).",
        ),
        click.option(
            "-n", "--nodes", type=int, default=8, show_default=True, metavar="N", help="How many."
        ),
        click.option(
            "-t",
            "--topology",
            default="ring",
            show_default=True,
            metavar="T",
            help="ring, directed-ring, path, star, complete, grid, torus, hypercube, tree, "
            "barbell, hierarchical, exponential, one-peer-exponential, erdos-renyi[:P], "
            "k-regular[:K], small-world, geometric, or a file of edges or of a matrix.",
        ),
        click.option(
            "--weights",
            metavar="W",
            help="metropolis, uniform, push, max-degree, lazy, laplacian, fdla or "
            "active-links[:P]; the default is the topology's own.",
        ),
        click.option(
            "-s",
            "--set",
            "parameters",
            metavar="KEY=VALUE",
            multiple=True,
            callback=_parse_settings,
            help="A parameter of the algorithm, or of the problem as problem.KEY=VALUE; repeat it.",
        ),
    ]
)


def monitor(words: tuple[str, ...], help: str) -> Callable[[F], F]:  # noqa: A002 - click's word
    """How often what the algorithm keeps is looked at: a word, the default first, or M."""

    def parse(ctx: click.Context, parameter: click.Parameter, value: str) -> str | int:
        if value.isdecimal() and int(value) > 0:
            return int(value)
        if value not in words:
            known = ", ".join(words)
            raise click.BadParameter(
                f"'{value}' is neither a number of iterations nor one of {known}", ctx, parameter
            )
        return value

    return click.option(
        "--monitor",
        default=words[0],
        show_default=True,
        metavar="|".join([*words, "M"]),
        callback=parse,
        help=help,
    )


lane = click.option(
    "--lane",
    type=click.Choice(["auto", "grpc", "shared-memory"]),
    default="auto",
    show_default=True,
    help="How values go between node processes; auto: by memory on one host, else gRPC.",
)

codec = click.option(
    "--codec",
    default="none",
    show_default=True,
    metavar="NAME[:NUMBER]",
    help="Sends what is mixed as fewer bytes: fp16, bf16, top-k:SHARE, rand-k:SHARE, sign, "
    "qsgd:LEVELS, scaled-qsgd:LEVELS or max-qsgd:LEVELS.",
)

_data_and_looks = [
    click.option(
        "--observe-every",
        type=int,
        default=50,
        show_default=True,
        metavar="M",
        help="Iterations between two observations.",
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        metavar="S",
        help="Of data, start, random graphs and steps.",
    ),
    click.option(
        "--partition",
        default="iid",
        show_default=True,
        metavar="P",
        help="How data are shared out: iid, label-skew, dirichlet:A, shards:K or by-size:S.",
    ),
    click.option(
        "--dtype",
        metavar="D",
        help="float64 or float32; by default what the problem computes in, mostly float64.",
    ),
]

what_is_foreseen = group([*_data_and_looks, codec])
"""Of how a run goes, what its prediction depends on."""

how_it_runs = group(
    [
        *_data_and_looks,
        click.option(
            "--record",
            multiple=True,
            metavar="NAME",
            help="x: each node keeps its history of x, in its own folder and nowhere else.",
        ),
        lane,
        codec,
        click.option(
            "--settle",
            type=float,
            metavar="EPS",
            help="Stop where no node's x moves by more than EPS in an iteration; the nodes find "
            "out among themselves, and nobody needs to see their states.",
        ),
    ]
)

quiet = click.option("-q", "--quiet", is_flag=True, help="No progress; print the id alone.")


def coordinator_option(function: F) -> F:
    return click.option(
        "--coordinator",
        envvar="P2PDO_COORDINATOR",
        metavar="HOST:PORT",
        callback=_require_coordinator,
        help="The coordinator to speak with; or the environment's P2PDO_COORDINATOR.",
    )(function)


def _require_coordinator(
    ctx: click.Context, _parameter: click.Parameter, value: str | None
) -> str | None:
    if not value and not ctx.resilient_parsing:
        raise Unsaid(
            "which coordinator? Neither --coordinator nor the environment's P2PDO_COORDINATOR says",
            ctx,
            *("--coordinator", _EXAMPLE),
            more=f", or for all commands: export P2PDO_COORDINATOR={_EXAMPLE}",
        )
    return value
