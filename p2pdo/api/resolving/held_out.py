"""Samples that no node has: of the data set's, from a file, or from the user's hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from p2pdo.api.requests import Request
from p2pdo.data import catalogue, encode
from p2pdo.errors import ConfigError
from p2pdo.node.offers import Offers
from p2pdo.problems.base import Classifier
from p2pdo.types import Plain


def held_out_for(
    request: Request, parameters: Mapping[str, Plain], problems: Sequence[Any], site: Offers
) -> Any:
    """A cost that classifies them, or None; `parameters` are the problem's.

    Raises:
        ConfigError: what was given classifies nothing, or is for another x.
    """
    asked, name = request.test, request.problem
    if asked is None:
        if not isinstance(name, str) or name in site.problems or name not in catalogue.PROBLEMS:
            return None
        return catalogue.held_out(name, request.seed, site.parameters_for(name, parameters))
    found = _loaded(asked, request.seed) if isinstance(asked, str) else asked
    if not isinstance(found, Classifier):
        raise ConfigError(
            f"the test is {type(found).__name__}, which classifies nothing",
            hint="give it classified(x): (rightly classified samples, samples); Logistic, "
            "Softmax, Hinge and TorchProblem have it",
        )
    if found.dimension != problems[0].dimension:
        raise ConfigError(
            f"the test's problem has dimension {found.dimension}, the nodes' "
            f"{problems[0].dimension}",
            hint="it is of the same x",
        )
    return found


def _loaded(where: str, seed: int) -> Any:
    if ":" not in where:
        raise ConfigError(
            f"the test '{where}' is no place of a problem",
            hint="FILE.py:NAME; of a data set's own samples: problem.test=0.2",
        )
    found = encode.load_object(where)
    if isinstance(found, Classifier) or not callable(found):
        return found
    try:
        return found(seed)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{where} failed: {type(error).__name__}: {error}",
            hint="it is called as NAME(seed) and returns a problem",
        ) from error
