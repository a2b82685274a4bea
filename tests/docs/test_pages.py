"""The pages that the registry tells: one for each algorithm, linked from the overview."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from p2pdo.algorithms.catalogue import ALGORITHMS
from p2pdo.api.jobs import resolve
from p2pdo.api.requests import Request

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_algorithm_has_a_page_with_its_update_and_parameters(pages: ModuleType) -> None:
    for name in pages.PAGES:
        text = pages.page(name)
        assert text.startswith(f"# {name}\n\n")
        assert f"![A run of {name}]({name}.svg)" in text
    extra = pages.page("extra")
    assert "x¹ = W x⁰ − α ∇f(x⁰)" in extra
    assert "| `step_size` | 1/L, L = the largest Lᵢ" in extra


def test_the_overview_links_to_each_page(pages: ModuleType, tmp_path: Path) -> None:
    overview = tmp_path / "algorithms.md"
    overview.write_text((DOCS / "reference" / "algorithms.md").read_text())
    pages.link_names(overview)
    text = overview.read_text()
    for name in pages.PAGES:
        assert f"| [`{name}`](algorithms/{name}.md) |" in text


ONE_OF_EACH = {cls.requires.oracle: name for name, cls in ALGORITHMS.items()}.values()


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_run_is_drawn_whatever_the_algorithm_needs(
    pages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(pages, "ROUNDS", 12)
    pages.draw(name, tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_page_has_a_command_that_is_not_refused(pages: ModuleType) -> None:
    told = {name: pages.command(name) for name in pages.PAGES}
    assert all("p2pdo run" in command for command in told.values())
    for name in ONE_OF_EACH:
        _, ran, problem, *_ = [*told[name].split(), ""]
        if ran == "run":
            look = Request(problem=problem, algorithm=name, nodes=pages.NODES)
            assert resolve(look).algorithm == name


def test_the_index_lists_every_page_and_every_link_leads_to_one() -> None:
    links = set(re.findall(r"\]\(([^)]+)\)", (DOCS / "README.md").read_text(encoding="utf-8")))
    written = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"README.md"}
    assert links == written | {"../README.md"}
