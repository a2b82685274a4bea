"""What a configuration lets workloads run: the site's problems, participants and parameters.

`offers_of` refuses what cannot work. `check_names` besides finds names that mean nothing here: a
node would start with them, and never do what its owner wanted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from p2pdo.algorithms.catalogue import names as names_of_algorithms
from p2pdo.data import catalogue
from p2pdo.errors import ConfigError
from p2pdo.node.configuration.building import add_python_path
from p2pdo.node.configuration.findings import Findings
from p2pdo.node.configuration.reading import Source
from p2pdo.node.offers import Offers
from p2pdo.participants.definition import Participant

_FEW = 12


def offers_of(source: Source) -> Offers:
    """What the site lets workloads run.

    Raises:
        ConfigError: a problem or participant is not where the file says; with every mistake.
    """
    found = Findings(source)
    made = offers_with(found)
    found.check()
    return made


def offers_with(found: Findings) -> Offers:
    """The same; the mistakes are in `found`."""
    add_python_path(found.source)
    file = found.source.configuration
    allow = file.allow.model_dump(exclude={"executors"}, exclude_none=True)
    parameters = {name: table.parameters for name, table in file.workloads.items()}
    return Offers(
        _loaded(found, "problems", callable, "cannot be called"),
        _loaded(
            found,
            "participants",
            lambda thing: isinstance(thing, Participant),
            "is no participant; write @p2pdo.participant above the function",
        ),
        allow,
        parameters,
    )


def _loaded(
    found: Findings, kind: str, fits: Callable[[Any], bool], else_words: str
) -> dict[str, Any]:
    loaded = {}
    for name, where in getattr(found.source.configuration, kind).items():
        thing = found.load(where, kind, name)
        if thing is not None and not fits(thing):
            found.add(f"{where} {else_words}", kind, name)
        elif thing is not None:
            loaded[name] = thing
    return loaded


def check_names(found: Findings, offers: Offers, executors: Iterable[str]) -> None:
    """Finds names in [allow] and [workloads] that nothing here has, and parameters none takes."""
    file = found.source.configuration
    problems, participants = found.source.names("problems"), found.source.names("participants")
    known = {
        "algorithms": names_of_algorithms(),
        "problems": [*catalogue.PROBLEMS, *problems],
        "participants": participants,
        "executors": [*executors],
    }
    for kind, names in known.items():
        for name in getattr(file.allow, kind) or ():
            if name not in names:
                what = f"this site has no {kind.removesuffix('s')} '{name}'"
                found.add(f"allow.{kind}: {what} ({_hint(name, names)})", "allow", kind)
    workloads = [*participants, *problems, *catalogue.PROBLEMS]
    for name, table in file.workloads.items():
        place = ("workloads", name)
        if name not in workloads:
            found.add(
                f"workloads.{name}: this site has no participant or problem '{name}' "
                f"({_hint(name, workloads)})",
                *place,
            )
        else:
            _check_parameters(found, offers, name, table.parameters, *place, "parameters")


def _hint(name: str, known: list[str]) -> str:
    """The nearest name; all of them only where there is none near and they are few."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    if not known:
        return "it has none"
    return f"known: {', '.join(known)}" if len(known) <= _FEW else f"it has {len(known)} others"


def _check_parameters(
    found: Findings, offers: Offers, name: str, values: Mapping[str, Any], *place: str
) -> None:
    """Whether the workload of that name takes these; what it lacks a run may bring."""
    what = f"workloads.{name}.parameters"
    participant, factory = offers.participants.get(name), offers.problems.get(name)
    if isinstance(participant, Participant):
        signature = inspect.signature(participant.function)
        found.require_call(lambda: signature.bind_partial(None, **values), what, *place)
    if factory is not None:
        asked = (0, 1, "iid", 0, "float64")
        found.require_call(
            lambda: inspect.signature(factory).bind_partial(*asked, **values), what, *place
        )
    elif name in catalogue.PROBLEMS:
        try:
            catalogue.check_parameters(name, values)
        except ConfigError as error:
            found.add(f"{what}: {error.message} ({error.hint})", *place)
