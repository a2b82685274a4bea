"""Schedules as they are written: a kind, and what is said of it.

poisson                            each node by a clock of its own, once in a unit of time
poisson:rate=20                    20 times
poisson:rate=20,3=2,5=10           node 3 ten times, node 5 twice as seldom as the others
markov:fails=0.1,recovers=0.5      in each round the edges that are up, and who is on one
cyclic, cyclic:at_once=2           one after another, or two at once

The unit of time is a second where there are seconds; rounds and turns are one apart, or `every`, as
in "cyclic:every=50ms".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.simulation.activation import cyclic, markov, poisson
from p2pdo.simulation.activation.tick import Schedule
from p2pdo.simulation.links import units

EXAMPLES = (
    "poisson:rate=20, poisson:rate=20,3=2, markov:fails=0.1,recovers=0.5,every=50ms or "
    "cyclic:at_once=2,every=50ms"
)


def read_activation(written: str, nodes: int) -> Schedule:
    """The schedule of that form, for so many nodes.

    Raises:
        ConfigError: it is of none, or names a node that there is not.
    """
    kind, colon, rest = written.partition(":")
    if kind not in _KINDS:
        raise ConfigError(
            f"'{kind}' is no activation", hint=f"--activation {did_you_mean(kind, list(_KINDS))}"
        )
    return _KINDS[kind](_settings(written, rest) if colon else {}, nodes)


def _settings(written: str, rest: str) -> dict[str, float]:
    settings: dict[str, float] = {}
    for part in rest.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            number = units.seconds(value) if name == "every" else float(value)
        except ValueError:
            form = "every=50ms" if name == "every" else "NAME=NUMBER"
            raise _wrong(f"'{part}' in '{written}' is not of the form {form}") from None
        if name in settings:
            raise _wrong(f"'{written}' says '{name}' twice")
        settings[name] = number
    return settings


def _poisson(settings: Mapping[str, float], nodes: int) -> Schedule:
    rates = {name: rate for name, rate in settings.items() if name != "rate"}
    for name, rate in settings.items():
        if not (math.isfinite(rate) and rate > 0):
            raise _wrong(f"a rate must be positive, got {name}={rate:g}: nobody waits for ever")
    for name in rates:
        if not (name.isascii() and name.isdigit() and int(name) < nodes):
            raise _wrong(f"'{name}' is neither 'rate' nor one of {nodes} nodes")
    return poisson.Nodes(settings.get("rate", 1.0), {int(n): rate for n, rate in rates.items()})


def _markov(settings: Mapping[str, float], _nodes: int) -> Schedule:
    _check_names(settings, ("fails", "recovers", "every"))
    if not settings.keys() >= {"fails", "recovers"}:
        raise _wrong("edges that come and go both fail and recover")
    for name in ("fails", "recovers"):
        if not 0 <= settings[name] <= 1:
            raise _wrong(f"{name} is a probability, got {settings[name]:g}")
    if settings["recovers"] == 0:
        raise _wrong("edges that never recover are gone for ever, got recovers=0")
    return markov.Edges(settings["fails"], settings["recovers"], _every(settings))


def _cyclic(settings: Mapping[str, float], nodes: int) -> Schedule:
    _check_names(settings, ("at_once", "every"))
    at_once = settings.get("at_once", 1.0)
    if not (at_once.is_integer() and 1 <= at_once <= nodes):
        raise _wrong(f"at_once is a number of nodes from 1 to {nodes}, got {at_once:g}")
    return cyclic.Nodes(int(at_once), _every(settings))


def _every(settings: Mapping[str, float]) -> float:
    every = settings.get("every", 1.0)
    if every == 0:
        raise _wrong("every is a time between two of them, got 0")
    return every


_KINDS: Mapping[str, Callable[[Mapping[str, float], int], Schedule]] = {
    "poisson": _poisson,
    "markov": _markov,
    "cyclic": _cyclic,
}


def _check_names(settings: Mapping[str, float], known: tuple[str, ...]) -> None:
    strange = next((name for name in settings if name not in known), None)
    if strange is not None:
        raise _wrong(f"there is no '{strange}', only {' and '.join(known)}")


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"the activation is wrong: {what}", hint=f"--activation {EXAMPLES}")
