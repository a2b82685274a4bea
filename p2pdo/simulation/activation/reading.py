"""Schedules as they are written: a kind, and what is said of it.

poisson                            each node by a clock of its own, once in a unit of time
poisson:rate=2                     twice
poisson:3=0.1,5=0.5                node 3 ten times, node 5 twice as seldom as the others
markov:fails=0.1,recovers=0.5      in each round the edges that are up, and who is on one
cyclic, cyclic:at_once=2           one after another, or two at once
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.simulation.activation import cyclic, markov, poisson
from p2pdo.simulation.activation.tick import Schedule

EXAMPLES = "poisson:rate=2, poisson:3=0.1, markov:fails=0.1,recovers=0.5 or cyclic:at_once=2"


def read_activation(written: str, nodes: int) -> Schedule:
    """The schedule of that form, for so many nodes.

    Raises:
        ConfigError: it is of none, or names a node that there is not.
    """
    kind, _, rest = written.partition(":")
    if kind not in _KINDS:
        raise ConfigError(
            f"'{kind}' is no activation", hint=f"--activation {did_you_mean(kind, list(_KINDS))}"
        )
    return _KINDS[kind](_settings(written, rest), nodes)


def _settings(written: str, rest: str) -> dict[str, float]:
    settings: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        try:
            settings[name.strip()] = float(value)
        except ValueError:
            raise _wrong(f"'{part}' in '{written}' is not of the form NAME=NUMBER") from None
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
    _check_names(settings, ("fails", "recovers"))
    if settings.keys() != {"fails", "recovers"}:
        raise _wrong("edges that come and go both fail and recover")
    return markov.Edges(settings["fails"], settings["recovers"])


def _cyclic(settings: Mapping[str, float], _nodes: int) -> Schedule:
    _check_names(settings, ("at_once",))
    at_once = settings.get("at_once", 1.0)
    if not at_once.is_integer():
        raise _wrong(f"at_once is a number of nodes, got {at_once:g}")
    return cyclic.Nodes(int(at_once))


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
