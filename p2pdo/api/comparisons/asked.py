"""What is compared: algorithms under labels, trials, and one request for all the rest.

Trial t has the seed of the request + t, and all algorithms see the same data, graph and start in
it. `-s NAME=VALUE` is a parameter of all algorithms, `-s LABEL.NAME=VALUE` of one, and
`-s problem.NAME=VALUE` of the problem.

What a method cannot do is found out before any begins: it is refused with the reason, and the
others run. `force` lets those run that would diverge.

What can be said in plain data is written into the manifest, and runs in worker processes, which
are told names. Objects stay in this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.catalogue import name_of, require_declared
from p2pdo.api.comparisons.trial import looked_at
from p2pdo.api.jobs import Job, with_tolerance
from p2pdo.api.parameters import PROBLEM_PREFIX
from p2pdo.api.requests import Request
from p2pdo.api.resolving.algorithms import algorithm_class
from p2pdo.api.runs import Executor, check_executor
from p2pdo.api.topology_files import read_topology
from p2pdo.errors import ConfigError, P2pdoError, did_you_mean
from p2pdo.types import Plain

_OF_CONTENDERS = ("algorithm",)
GIVEN = "given as an object"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One algorithm with its parameters; its label names it in folders, tables and figures."""

    label: str
    algorithm: str | Algorithm[Any]
    parameters: Mapping[str, Plain]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A comparison as it was asked for.

    Attributes:
        base: all settings but the algorithm and its parameters.
        force: whether methods run that would diverge.
    """

    base: Request
    contenders: tuple[Contender, ...]
    trials: int
    executor: Executor
    force: bool = False

    def request(self, contender: Contender, trial: int) -> Request:
        """The run of one algorithm in one trial."""
        return replace(
            self.base,
            algorithm=contender.algorithm,
            parameters={**self.base.parameters, **contender.parameters},
            seed=self.base.seed + trial,
        )

    @property
    def is_plain(self) -> bool:
        """Whether workers can be told it."""
        algorithms = [one.algorithm for one in self.contenders]
        return all(_is_plain(value) for value in (*algorithms, *_settings(self.base).values()))

    def to_plain(self) -> dict[str, Plain]:
        """For the manifest; objects are only said to have been given."""
        return {
            "executor": self.executor,
            "trials": self.trials,
            "force": self.force,
            "settings": {name: _said(value) for name, value in _settings(self.base).items()},
            "algorithms": {
                one.label: {"name": _said(one.algorithm), "parameters": dict(one.parameters)}
                for one in self.contenders
            },
        }


def from_plain(plain: Mapping[str, Any]) -> Asked:
    """What a manifest says.

    Raises:
        ConfigError: it was made of objects, or by another version of p2pdo.
    """
    known = {field.name for field in fields(Request)}
    settings = dict(plain["settings"])
    if unknown := sorted(settings.keys() - known):
        raise ConfigError(
            f"the comparison has settings that this version does not know: {', '.join(unknown)}",
            hint="go on with the version of p2pdo that began it",
        )
    contenders = tuple(
        Contender(label=label, algorithm=one["name"], parameters=one["parameters"])
        for label, one in plain["algorithms"].items()
    )
    if GIVEN in (*settings.values(), *(one.algorithm for one in contenders)):
        raise ConfigError(
            "the comparison was made of objects, which its folder does not hold",
            hint="go on with it from the script that began it: p2pdo.compare(…, out=DIR)",
        )
    return Asked(
        base=Request(**settings),
        contenders=contenders,
        trials=int(plain["trials"]),
        executor=check_executor(plain["executor"]),
        force=bool(plain.get("force")),
    )


def plain_of(request: Request) -> dict[str, Any]:
    """A request by its fields; plain data where nothing in it was given as an object."""
    return {field.name: getattr(request, field.name) for field in fields(request)}


def _settings(base: Request) -> dict[str, Any]:
    return {name: value for name, value in plain_of(base).items() if name not in _OF_CONTENDERS}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float)


def _said(value: Any) -> Plain:
    if not _is_plain(value):
        return GIVEN
    return list(value) if isinstance(value, tuple) else value


# ---- from names ----


def named(text: str) -> list[tuple[str, str]]:
    """(label, name) of "dgd,extra,slow=dgd"; a file's class is labelled by its own name.

    Raises:
        ConfigError: a name is missing, or a label stands twice.
    """
    pairs = []
    for word in text.split(","):
        label, equals, name = word.strip().partition("=")
        pairs.append((label, name) if equals else (label.rpartition(":")[2], label))
    if not all(label and name for label, name in pairs):
        raise ConfigError(f"'{text}' names no list of algorithms", hint="-a dgd,extra,slow=dgd")
    return _distinct(pairs)


def labelled(
    algorithms: Mapping[str, str | Algorithm[Any]] | Sequence[str | Algorithm[Any]],
) -> list[tuple[str, str | Algorithm[Any]]]:
    """(label, algorithm) of what a script gave."""
    if isinstance(algorithms, str):
        return list(named(algorithms))
    if isinstance(algorithms, Mapping):
        return list(algorithms.items())
    pairs: list[tuple[str, str | Algorithm[Any]]] = []
    for one in algorithms:
        pairs += [(name_of(type(one)), one)] if isinstance(one, Algorithm) else named(one)
    return _distinct(pairs)


def _distinct(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    labels = [label for label, _ in pairs]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"'{twice}' is compared with itself",
            hint=f"give each a label: slow={twice}, and -s slow.NAME=VALUE",
        )
    return pairs


def contenders_of(
    pairs: Iterable[tuple[str, str | Algorithm[Any]]], parameters: Mapping[str, Plain]
) -> tuple[tuple[Contender, ...], dict[str, Plain]]:
    """Each with its parameters, and those of the problem.

    Raises:
        ConfigError: a parameter's label is no algorithm's.
    """
    pairs = list(pairs)
    of_problem = {k: v for k, v in parameters.items() if k.startswith(PROBLEM_PREFIX)}
    own: dict[str, dict[str, Plain]] = {label: {} for label, _ in pairs}
    of_one = [k for k in parameters if "." in k and k not in of_problem]
    for key, value in parameters.items():  # what is said of one comes after what is said of all
        if "." not in key:
            for ones in own.values():
                ones[key] = value
    for key in of_one:
        label, _, name = key.rpartition(".")
        if label not in own:
            raise ConfigError(
                f"'{key}' is a parameter of '{label}', which is not compared",
                hint=did_you_mean(label, list(own)),
            )
        own[label][name] = parameters[key]
    made = [Contender(label=label, algorithm=a, parameters=own[label]) for label, a in pairs]
    return tuple(made), of_problem


# ---- before anything runs ----


@dataclass(frozen=True)
class Checked:
    """A comparison that may begin.

    Attributes:
        asked: with its tolerance, and its topology's file read.
        job: one of those that run.
        refused: what cannot run, by its label.
        warnings: what will diverge and is forced to run, by its label.
    """

    asked: Asked
    job: Job
    refused: Mapping[str, P2pdoError]
    warnings: Mapping[str, str]

    def remarks(self) -> list[str]:
        """What is told before anything runs."""
        refused = [
            f"{label} is refused: {error.message}" + (f"; try: {error.hint}" if error.hint else "")
            for label, error in self.refused.items()
        ]
        return refused + [f"warning: {label}: {words}" for label, words in self.warnings.items()]


def checked(asked: Asked, default_tol: float | None = None) -> Checked:
    """Looks at each algorithm's first trial, so that what cannot run is told before anything does.

    A trial is looked at once more before it runs: its data are its own.

    Raises:
        ConfigError: something is unknown, or no algorithm can run; why the first one cannot.
    """
    if asked.trials < 1:
        raise ConfigError(f"trials must be one or more, got {asked.trials}", hint="--trials 5")
    for one in asked.contenders:
        cls, _ = algorithm_class(one.algorithm)
        require_declared(cls, one.parameters)
    paths = {k: str(v) for k, v in _settings(asked.base).items() if isinstance(v, Path)}
    base = replace(asked.base, **{**paths, "topology": read_topology(asked.base.topology)})
    asked = replace(asked, base=base)
    jobs: dict[str, Job] = {}
    refused: dict[str, P2pdoError] = {}
    for one in asked.contenders:
        try:
            jobs[one.label] = looked_at(asked.request(one, 0), asked.executor, force=asked.force)
        except ConfigError as error:
            refused[one.label] = error
    if not jobs:
        raise next(iter(refused.values()))
    job = next(iter(jobs.values()))
    if default_tol is not None:
        base = replace(base, tol=with_tolerance(job, default_tol).request.tol)
    warnings = {label: "; ".join(job.warnings) for label, job in jobs.items() if job.warnings}
    return Checked(replace(asked, base=base), job, refused, warnings)
