"""A run folder gives back what was put into it, also after a crash."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2pdo.errors import ConfigError, Conflict, NotFound
from p2pdo.reporting import machine
from p2pdo.reporting.records import Metric, Summary
from p2pdo.reporting.run_folder import RunFolder

METRIC = Metric(1, 0.1, 0.1 + 0.2, 5e-324, None, 123, 4)
SUMMARY = Summary(
    workload_id="k3v9",
    status="done",
    problem="quadratic",
    algorithm="dgd",
    topology="ring",
    nodes=8,
    executor="dense",
    iterations=10,
    gap=1 / 3,
    consensus_error=None,
    value=1.5,
    optimum=None,
    distance_to_optimum=None,
    bytes_sent=1,
    messages_sent=2,
    seconds=0.25,
    run_dir="runs/k3v9",
    state_sha256="00",
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "k3v9")


def test_without_a_place_the_folder_is_named_after_the_workload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunFolder.create(None, "k3v9").path == Path("runs/k3v9")
    assert (tmp_path / "runs/k3v9").is_dir()


def test_an_empty_folder_is_accepted(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, "k3v9").path == tmp_path


def test_a_folder_with_files_in_it_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(Conflict, match="is not empty") as refusal:
        RunFolder.create(tmp_path, "k3v9")
    assert "--out" in str(refusal.value.hint)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(ConfigError, match=r"cannot write .*out"):
        RunFolder.create(tmp_path / "out", "k3v9")
    with pytest.raises(ConfigError, match="Not a directory"):
        RunFolder.create(tmp_path / "out" / "deeper", "k3v9")


def test_a_folder_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(ConfigError, match="cannot write"):
        RunFolder.create(tmp_path, "k3v9")


def test_a_folder_that_vanished_is_reported_not_crashed_on(folder: RunFolder) -> None:
    folder.path.rmdir()
    with pytest.raises(ConfigError, match="cannot write"):
        folder.append_metric(METRIC)
    with pytest.raises(ConfigError, match="cannot write"):
        folder.write_summary(SUMMARY)


def test_settings_come_back_with_versions_and_machine_beside_them(folder: RunFolder) -> None:
    settings = {"seed": 0, "tol": math.inf, "algorithm": {"name": "dgd", "step_size": 0.1}}
    folder.write_settings(settings)
    assert folder.read_settings() == settings
    whole = tomllib.loads((folder.path / "run.toml").read_text())
    assert set(whole["versions"]) == {"python", "p2pdo", "numpy", "grpcio", "protobuf"}
    assert set(whole["machine"]) == {"system", "machine", "cpu", "blas"}


def test_metrics_are_on_disk_as_soon_as_they_are_appended(folder: RunFolder) -> None:
    later = replace(METRIC, iteration=2)
    with folder:
        folder.append_metric(METRIC)
        assert RunFolder(folder.path).read_metrics() == [METRIC]
        folder.append_metric(later)
    assert folder.read_metrics() == [METRIC, later]


def test_nan_and_inf_become_null(folder: RunFolder) -> None:
    with folder:
        folder.append_metric(replace(METRIC, gap=math.nan, consensus_error=math.inf))
    [line] = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["gap"] is None
    [back] = folder.read_metrics()
    assert (back.gap, back.consensus_error) == (None, None)


def test_scalars_of_numpy_are_numbers(folder: RunFolder) -> None:
    with folder:
        folder.append_metric(replace(METRIC, gap=np.float32(0.5), bytes_sent=np.int64(7)))  # type: ignore[arg-type]
    assert folder.read_metrics() == [replace(METRIC, gap=0.5, bytes_sent=7)]


def test_a_torn_last_line_is_skipped(folder: RunFolder) -> None:
    with folder:
        folder.append_metric(METRIC)
    with (folder.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"iteration": 2, "seco')
    assert folder.read_metrics() == [METRIC]


def test_appending_after_a_crash_does_not_glue_onto_the_torn_line(folder: RunFolder) -> None:
    with folder:
        folder.append_metric(METRIC)
    with (folder.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"iteration": 2, "seco')
    with RunFolder(folder.path) as again:
        again.append_metric(replace(METRIC, iteration=2))
    assert [m.iteration for m in folder.read_metrics()] == [1, 2]


@pytest.mark.parametrize("line", [b"{]\n", b"\xff\n", b"[1]\n"])
def test_a_damaged_line_is_named(folder: RunFolder, line: bytes) -> None:
    (folder.path / "metrics.jsonl").write_bytes(line)
    with pytest.raises(ConfigError, match=r"metrics\.jsonl, line 1"):
        folder.read_metrics()


def test_events_come_back_in_order(folder: RunFolder) -> None:
    with folder:
        folder.append_event("lost", seconds=0.5, node="site-5", iteration=41)
        folder.append_event("back", seconds=0.75, node="site-5", edges=[[1, 2], {"w": 0.5}])
    assert folder.read_events() == [
        {"seconds": 0.5, "event": "lost", "node": "site-5", "iteration": 41},
        {"seconds": 0.75, "event": "back", "node": "site-5", "edges": [[1, 2], {"w": 0.5}]},
    ]


def test_a_run_without_metrics_yet_has_none(folder: RunFolder) -> None:
    assert folder.read_metrics() == []
    assert folder.read_states() == {}


@pytest.mark.parametrize(
    "x",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">f8"),
        np.float32(2.5) * np.ones((), dtype=np.float32),
        np.zeros((0, 4)),
    ],
)
def test_a_state_comes_back_whatever_its_layout(folder: RunFolder, x: np.ndarray) -> None:
    folder.write_state("site-1", x)
    back = folder.read_states()["site-1"]
    np.testing.assert_array_equal(back, x, strict=False)
    assert back.shape == x.shape


def test_states_are_found_by_the_names_of_their_nodes(folder: RunFolder) -> None:
    names = ["b", "a/b", "../../out", ".hidden", "Zürich"]
    for i, name in enumerate(names):
        folder.write_state(name, np.array([i]))
    assert {name: x.tolist() for name, x in folder.read_states().items()} == {
        name: [i] for i, name in enumerate(names)
    }
    assert {p.parent for p in folder.path.rglob("*.safetensors")} == {folder.path / "states"}
    assert not list(folder.path.parent.glob("out*"))


def test_a_state_that_cannot_be_held_is_refused(folder: RunFolder) -> None:
    with pytest.raises(ConfigError, match="'site-1' has dtype complex128"):
        folder.write_state("site-1", np.zeros(1, dtype=complex))


def test_the_summary_comes_back(folder: RunFolder) -> None:
    folder.write_summary(SUMMARY)
    assert folder.read_summary() == SUMMARY


def test_no_draft_is_left_behind(folder: RunFolder) -> None:
    folder.write_summary(SUMMARY)
    folder.write_summary(SUMMARY)
    assert [p.name for p in folder.path.iterdir()] == ["summary.json"]


def test_a_running_workload_has_no_summary_yet(folder: RunFolder) -> None:
    with pytest.raises(NotFound, match=r"no summary\.json") as missing:
        folder.read_summary()
    assert "not ended" in str(missing.value.hint)


READERS: list[Callable[[RunFolder], object]] = [
    RunFolder.read_settings,
    RunFolder.read_metrics,
    RunFolder.read_events,
    RunFolder.read_states,
    RunFolder.read_summary,
]


@pytest.mark.parametrize("read", READERS)
def test_a_folder_that_is_not_there_is_not_found(
    tmp_path: Path, read: Callable[[RunFolder], object]
) -> None:
    with pytest.raises(NotFound, match="no run folder"):
        read(RunFolder(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("run.toml", RunFolder.read_settings),
        ("summary.json", RunFolder.read_summary),
        ("states/a.safetensors", RunFolder.read_states),
    ],
)
@pytest.mark.parametrize("content", [b"= [", b"\xff\xfe", b""])
def test_a_damaged_file_is_named(
    folder: RunFolder, name: str, read: Callable[[RunFolder], object], content: bytes
) -> None:
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if name == "run.toml" and not content:
        assert read(folder) == {}
        return
    with pytest.raises(ConfigError, match="damaged"):
        read(folder)


def test_a_summary_that_is_no_object_is_damaged(folder: RunFolder) -> None:
    (folder.path / "summary.json").write_text("[]")
    with pytest.raises(ConfigError, match="damaged"):
        folder.read_summary()


def test_the_machine_is_described_where_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert machine._cpu_model(tmp_path / "nothing") == "unknown"
    assert machine._blas_name() == "unknown"
    assert machine._version("no-such-package-here") == "unknown"


def test_the_cpu_is_what_linux_calls_it(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast One\n")
    assert machine._cpu_model(tmp_path / "cpuinfo") == "Fast One"
