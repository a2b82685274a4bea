"""The laws that every algorithm obeys, for those of the library and for yours.

    from p2pdo.testing import laws

    @pytest.mark.parametrize("law", laws.LAWS, ids=laws.name_of)
    def test_my_method(law):
        law(laws.Case(MyMethod(step_size=0.05), recursion=my_recursion))

or, without a test file, on anything that can be imported:

    pytest --p2pdo-laws my_package:MyMethod

A law returns if it holds, and raises `BrokenLaw`, an AssertionError that tells the network, the
cost and the iteration. Where nothing was given that it could test it raises `NothingToTest`, and
the test is skipped with the reason. `case` says what is held to them, `networks` and `costs` on
what, `dense` what a recursion is given, `held` has the laws themselves. Asynchronous
algorithms have a case and laws of their own, in `asynchronous`; `laws_of(case)` are the right ones.
"""

from p2pdo.testing.laws.asynchronous import (
    ASYNCHRONOUS_LAWS,
    AsynchronousCase,
    AsynchronousLaw,
    AsynchronousRecursion,
)
from p2pdo.testing.laws.case import Case, Recursion
from p2pdo.testing.laws.cases import cases_at, laws_of, library_cases
from p2pdo.testing.laws.costs import COSTS, Cost
from p2pdo.testing.laws.dense import Dense
from p2pdo.testing.laws.held import LAWS, Law, name_of
from p2pdo.testing.laws.networks import NETWORKS, networks_for
from p2pdo.testing.outcomes import BrokenLaw, NothingToTest

__all__ = [
    "ASYNCHRONOUS_LAWS",
    "COSTS",
    "LAWS",
    "NETWORKS",
    "AsynchronousCase",
    "AsynchronousLaw",
    "AsynchronousRecursion",
    "BrokenLaw",
    "Case",
    "Cost",
    "Dense",
    "Law",
    "NothingToTest",
    "Recursion",
    "cases_at",
    "laws_of",
    "library_cases",
    "name_of",
    "networks_for",
]
