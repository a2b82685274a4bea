"""Costs: what a node minimises, and the oracles that an algorithm may call on it."""

from typing import TYPE_CHECKING

from p2pdo.on_use import attributes

if TYPE_CHECKING:
    from p2pdo.problems.base import (
        Classifier,
        Composite,
        Coupling,
        DualGradient,
        FiniteSum,
        Gradient,
        Hessian,
        Private,
        Problem,
        Prox,
        Secret,
        Smooth,
        Solvable,
        Stackable,
        Startable,
        StochasticGradient,
    )
    from p2pdo.problems.combined import Scaled, Sum
    from p2pdo.problems.constrained import Affine, Ball, Box, Constrained, Halfspace
    from p2pdo.problems.coupled import Coupled
    from p2pdo.problems.distance import Distance
    from p2pdo.problems.hinge import Hinge
    from p2pdo.problems.jax_problem import JaxProblem
    from p2pdo.problems.lasso import Lasso
    from p2pdo.problems.least_squares import LeastSquares
    from p2pdo.problems.logistic import Logistic
    from p2pdo.problems.private import PrivateDistance, PrivateLogistic, fresh_secret
    from p2pdo.problems.quadratic import Quadratic
    from p2pdo.problems.regression import Huber, Ridge
    from p2pdo.problems.softmax import Softmax
    from p2pdo.problems.torch_problem import TorchProblem
else:
    __getattr__ = attributes(
        __name__,
        {
            "base": "Classifier Composite Coupling DualGradient FiniteSum Gradient Hessian Private "
            "Problem Prox Secret Smooth Solvable Stackable Startable StochasticGradient",
            "combined": "Scaled Sum",
            "constrained": "Affine Ball Box Constrained Halfspace",
            "coupled": "Coupled",
            "distance": "Distance",
            "hinge": "Hinge",
            "jax_problem": "JaxProblem",
            "lasso": "Lasso",
            "least_squares": "LeastSquares",
            "logistic": "Logistic",
            "private": "PrivateDistance PrivateLogistic fresh_secret",
            "quadratic": "Quadratic",
            "regression": "Huber Ridge",
            "softmax": "Softmax",
            "torch_problem": "TorchProblem",
        },
    )

__all__ = [
    "Affine",
    "Ball",
    "Box",
    "Classifier",
    "Composite",
    "Constrained",
    "Coupled",
    "Coupling",
    "Distance",
    "DualGradient",
    "FiniteSum",
    "Gradient",
    "Halfspace",
    "Hessian",
    "Hinge",
    "Huber",
    "JaxProblem",
    "Lasso",
    "LeastSquares",
    "Logistic",
    "Private",
    "PrivateDistance",
    "PrivateLogistic",
    "Problem",
    "Prox",
    "Quadratic",
    "Ridge",
    "Scaled",
    "Secret",
    "Smooth",
    "Softmax",
    "Solvable",
    "Stackable",
    "Startable",
    "StochasticGradient",
    "Sum",
    "TorchProblem",
    "fresh_secret",
]


def __dir__() -> list[str]:
    return __all__
