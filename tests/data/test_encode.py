import importlib.machinery
import json
import math
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file

from p2pdo.algorithms import GradientTracking, GtAdam
from p2pdo.data.catalogue import PROBLEMS, build
from p2pdo.data.encode import SCRIPT_PREFIX, from_fields, load, locate, to_fields
from p2pdo.errors import ConfigError
from p2pdo.problems import LeastSquares, Quadratic
from p2pdo.types import Array, Plain


@dataclass(frozen=True, eq=False)
class Layered:
    """A problem of a user, with one field of each kind."""

    layers: tuple[Array, ...]
    scale: float
    names: list[str]
    options: dict[str, Plain]
    mask: Array = field(default_factory=lambda: np.ones(2, bool))
    note: str | None = None
    calls: int = field(default=0, init=False)

    @cached_property
    def total(self) -> float:
        return float(sum(layer.sum() for layer in self.layers))


@dataclass(frozen=True)
class Holder:
    value: Any


class NoDataclass:
    pass


def travelled(problem: Any, folder: Path) -> Any:
    """The problem after a journey through two files."""
    plain, arrays = to_fields(problem)
    (folder / "plain.json").write_text(json.dumps(plain, allow_nan=False))
    save_file(arrays, folder / "arrays.safetensors")
    cls = load(locate(type(problem)))
    read = json.loads((folder / "plain.json").read_text())
    return from_fields(cls, read, load_file(folder / "arrays.safetensors"))


# Fields


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_a_catalogued_problem_arrives_bit_for_bit(name: str, dtype: str, tmp_path: Path) -> None:
    problem = build(name, 1, 3, dtype=dtype)
    x = np.linspace(-1, 1, problem.dimension).astype(dtype)
    arrived = travelled(problem, tmp_path)
    assert type(arrived) is type(problem)
    if hasattr(problem, "gradient"):  # a cost of shared resources has none
        assert arrived.gradient(x).tobytes() == problem.gradient(x).tobytes()
    assert arrived.value(x) == problem.value(x)


@pytest.mark.parametrize("algorithm", [GradientTracking(0.1, tracker_start="zero"), GtAdam()])
def test_an_algorithm_arrives_equal(algorithm: Any, tmp_path: Path) -> None:
    assert travelled(algorithm, tmp_path) == algorithm


def test_every_kind_of_field_arrives(tmp_path: Path) -> None:
    layers = (np.arange(6.0).reshape(2, 3), np.array(7, np.int32), np.zeros((0, 2), np.uint8))
    sent = Layered(layers, 0.5, ["a", "b"], {"deep": [1, {"x": None, "y": True}]}, note="Σ")
    assert sent.total == 22  # what is cached is made again, not sent
    arrived = travelled(sent, tmp_path)
    for got, expected in zip(arrived.layers, layers, strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected, strict=True)
    assert (arrived.scale, arrived.names, arrived.options) == (0.5, ["a", "b"], sent.options)
    assert (arrived.mask.tolist(), arrived.note, arrived.total) == ([True, True], "Σ", 22)


def test_a_tuple_of_no_arrays_arrives_as_one() -> None:
    sent = Layered((), 1.0, [], {})
    assert from_fields(Layered, *to_fields(sent)).layers == ()


def test_defaults_stand_in_for_fields_that_were_not_sent() -> None:
    assert from_fields(GtAdam, {"beta1": 0.5}, {}) == GtAdam(beta1=0.5)


@settings(max_examples=40)
@given(
    array=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.dtype(">f8")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    fortran=st.booleans(),
)
def test_any_array_crosses_in_row_order_and_native_bytes(array: Array, fortran: bool) -> None:
    sent = np.asfortranarray(array).reshape(array.shape) if fortran else array[...]
    _, arrays = to_fields(Holder(sent))
    assert arrays["value"].flags.c_contiguous
    assert arrays["value"].dtype.isnative
    np.testing.assert_array_equal(arrays["value"], array)
    assert arrays["value"].shape == array.shape


def test_what_arrives_owns_its_data_at_an_aligned_address() -> None:
    misaligned = np.frombuffer(b"\0" + np.arange(4.0).tobytes(), np.float64, offset=1)
    arrived = from_fields(Holder, {}, {"value": misaligned}).value
    assert arrived.flags.owndata
    assert arrived.flags.aligned
    assert arrived.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "said", "remedy"),
    [
        (np.float64(0.1), "of type float64", "float(…)"),
        (np.int64(1), "of type int64", "int(…)"),
        (np.ma.masked_array([1.0]), "of type MaskedArray", "np.asarray(…)"),
        (np.array([object()]), "an array of object", "64 bits"),
        (np.array(["x"]), "an array of <U1", "64 bits"),
        (np.array([1j]), "an array of complex128", "64 bits"),
        (np.zeros(2, np.longdouble), "an array of", "64 bits"),
        (math.inf, "of type float", "put it into an array"),
        ((1, 2), "of type tuple", "make it a list"),
        ((np.ones(1), 2), "of type tuple", "make it a list"),
        ({1: "one"}, "of type dict", "keys of plain data are text"),
        ({"f": [math.sin]}, r"Holder.value\['f'\]\[0\] is of type builtin", "cached_property"),
        ({1, 2}, "of type set", "use an array"),
        (lambda x: x, "<lambda> is not what", "top level"),
        ((np.ones(1), np.array(["x"])), r"Holder.value\[1\] is an array of <U1", "64 bits"),
    ],
)
def test_a_field_that_cannot_cross_is_named_with_a_remedy(
    value: object, said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        to_fields(Holder(value))
    assert "Holder.value" in caught.value.message
    assert caught.value.hint is not None
    assert remedy in caught.value.hint


def test_only_dataclasses_cross() -> None:
    for cross in (lambda: to_fields(NoDataclass()), lambda: from_fields(NoDataclass, {}, {})):
        with pytest.raises(ConfigError, match=r"NoDataclass .* is no dataclass") as caught:
            cross()
        assert "@dataclass(frozen=True)" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("plain", "arrays", "said"),
    [
        ({}, {"A": np.eye(2)}, "LeastSquares lacks its field 'b'"),
        ({"z": 1}, {"A": np.eye(2), "b": np.ones(2)}, "LeastSquares has no field 'z'"),
        ({"b.length": 2}, {"A": np.eye(2), "b.0": np.ones(2)}, "lacks 'b.1'"),
        ({}, {"A": np.eye(2), "b.0": np.ones(2)}, "lacks 'b.length'"),
        ({"b": "x"}, {"A": np.eye(2)}, "b must be float32 or float64"),
    ],
)
def test_fields_that_do_not_fit_are_refused(
    plain: dict[str, Plain], arrays: dict[str, Array], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        from_fields(LeastSquares, plain, arrays)
    assert caught.value.hint


# Classes


class Outer:
    class Inner:
        pass


SCRIPT = """\
from __future__ import annotations
from dataclasses import dataclass
import {helper}

@dataclass(frozen=True)
class Mine:
    scale: float = {helper}.SCALE

number = 3

if __name__ == "__main__":
    from p2pdo.data.encode import locate
    print(locate(Mine))
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    """A script with a module beside it; what importing it leaves behind is removed again."""
    modules, path = set(sys.modules), list(sys.path)
    helper = f"helper_of_{tmp_path.name}"
    (tmp_path / f"{helper}.py").write_text("SCALE = 2.5\n")
    (tmp_path / "script.py").write_text(SCRIPT.format(helper=helper))
    yield tmp_path / "script.py"
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def pretend_main(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> type:
    """A class of a main program that has these attributes."""
    main = ModuleType("__main__")
    cls = type("Mine", (), {"__module__": "__main__"})
    vars(main).update(attributes, Mine=cls)
    monkeypatch.setitem(sys.modules, "__main__", main)
    return cls


@pytest.mark.parametrize("cls", [Quadratic, GradientTracking, Outer.Inner, Layered])
def test_a_class_is_found_again_where_it_is_placed(cls: type) -> None:
    where = locate(cls)
    assert where == f"{cls.__module__}:{cls.__qualname__}"
    assert load(where) is cls


def test_a_class_of_a_script_is_placed_by_its_path(
    monkeypatch: pytest.MonkeyPatch, script: Path
) -> None:
    assert locate(pretend_main(monkeypatch, __file__=str(script))) == f"{script}:Mine"


def test_a_relative_path_of_a_script_becomes_absolute(
    monkeypatch: pytest.MonkeyPatch, script: Path
) -> None:
    monkeypatch.chdir(script.parent)
    assert locate(pretend_main(monkeypatch, __file__="script.py")) == f"{script}:Mine"


def test_a_class_of_a_package_that_is_run_is_placed_by_its_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = importlib.machinery.ModuleSpec("package.tool", None)
    cls = pretend_main(monkeypatch, __spec__=spec, __file__="/package/tool.py")
    assert locate(cls) == "package.tool:Mine"


@pytest.mark.parametrize("attributes", [{}, {"__file__": "<stdin>"}])
def test_a_class_of_a_notebook_is_refused(
    monkeypatch: pytest.MonkeyPatch, attributes: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match="only in this notebook or prompt") as caught:
        locate(pretend_main(monkeypatch, **attributes))
    assert "put it into a file" in (caught.value.hint or "")


def test_a_class_of_a_function_is_refused() -> None:
    class Local:
        pass

    with pytest.raises(ConfigError, match="only inside a function") as caught:
        locate(Local)
    assert "put it into a file" in (caught.value.hint or "")


@pytest.mark.parametrize("module", ["p2pdo.problems", "nowhere.at.all"])
def test_a_class_that_its_module_does_not_have_is_refused(module: str) -> None:
    with pytest.raises(ConfigError, match=r"Quadratic is not what .* has under that name"):
        locate(type("Quadratic", (), {"__module__": module}))


def test_a_script_is_imported_once_and_never_as_the_main_program(script: Path) -> None:
    cls = load(f"{script}:Mine")
    assert cls.__module__.startswith(SCRIPT_PREFIX)
    assert cls().scale == 2.5
    assert load(f"{script}:Mine") is cls
    assert sys.modules["__main__"] is not sys.modules[cls.__module__]
    assert sys.path[-1] == str(script.parent)


def test_a_class_loaded_from_a_script_is_placed_at_the_script_again(script: Path) -> None:
    assert locate(load(f"{script}:Mine")) == f"{script}:Mine"


@pytest.mark.slow
def test_a_class_crosses_from_a_running_script_to_this_process(script: Path) -> None:
    printed = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, cwd=Path.cwd()
    ).stdout
    assert load(printed.strip())().scale == 2.5


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("raise ValueError('no luck')", "ValueError: no luck", "__main__"),
        ("import sys; sys.exit(2)", "SystemExit: 2", "__main__"),
        ("def", "SyntaxError", "correct line 1"),
        ("import no_such_module", "no_such_module", "installed"),
        ("import p2pdo; p2pdo.run('quadratic')", "starts a run", "__main__"),
    ],
)
def test_a_script_that_fails_is_told_and_not_kept(
    script: Path, text: str, said: str, remedy: str
) -> None:
    working = script.read_text()
    script.write_text(textwrap.dedent(text))
    with pytest.raises(ConfigError, match=said) as caught:
        load(f"{script}:Mine")
    assert remedy in (caught.value.hint or "")
    script.write_text(working + "\n# corrected\n")
    assert load(f"{script}:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    ("where", "said", "remedy"),
    [
        ("Quadratic", "names no class", "module:Class"),
        ("p2pdo.problems:", "names no class", "module:Class"),
        ("__main__:Mine", "names no class", "module:Class"),
        ("no_such_module:Mine", "cannot import no_such_module", "installed"),
        ("/no/such/script.py:Mine", "there is no script /no/such/script.py", "moved"),
        ("p2pdo.problems:Quadratik", "no class 'Quadratik'", "did you mean 'Quadratic'?"),
        ("p2pdo.problems:Quadratic.value", "no class 'Quadratic.value'", "known"),
        ("p2pdo.problems:Quadratic.a.b", "no class", "known"),
    ],
)
def test_a_place_without_a_class_is_refused_with_a_remedy(
    where: str, said: str, remedy: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(where)
    assert remedy in (caught.value.hint or "")


# Functions


def doubled(x: float) -> float:
    return 2 * x


@pytest.mark.parametrize("value", [doubled, Layered, json.dumps])
def test_a_function_or_class_of_a_module_crosses_by_its_place(value: Any) -> None:
    plain, arrays = to_fields(Holder(value))
    assert plain == {"value.place": f"{value.__module__}:{value.__qualname__}"}
    assert from_fields(Holder, plain, arrays).value is value


class Caller:
    def __call__(self) -> None: ...


@pytest.mark.parametrize("value", [lambda: 0, Caller(), Caller().__call__, math.floor.__call__])
def test_what_is_called_but_cannot_be_imported_is_refused_with_a_remedy(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"Holder\.value") as caught:
        to_fields(Holder(value))
    assert "top level" in str(caught.value.hint)
