"""What is made of a run's readings, and how long a run is to be."""

import asyncio

import pytest

from p2pdo.api.network import local
from p2pdo.benchmarks.costs import Distance
from p2pdo.benchmarks.windows import (
    Arrival,
    Reading,
    Window,
    calibrate,
    measured,
    window_of,
)


def window(iterations: int, seconds: float) -> Window:
    return Window(4, iterations, Reading(1.0, 2.0, 0, None), Reading(1.0 + seconds, 3.0, 8, None))


def test_a_windows_figures_are_those_between_its_readings() -> None:
    first = Reading(seconds=10.0, cpu=1.0, sent=1_000_000, memory=50.0)
    last = Reading(seconds=12.0, cpu=3.0, sent=41_000_000, memory=70.0)
    seen = Window(4, 100, first, last)
    assert seen.rate == 50.0
    assert seen.cpu_ms == 5.0  # 2 s over 400 node-iterations
    assert seen.sent_mb == 5.0  # 40 MB in 2 s from four nodes


def test_where_the_cpu_time_is_unknown_there_is_no_figure_of_it() -> None:
    silent = Reading(0.0, None, 0, None)
    assert Window(1, 1, silent, Reading(1.0, None, 0, None)).cpu_ms is None


@pytest.mark.parametrize("rate", [0.2, 30.0, 4321.0, 2e6])
@pytest.mark.parametrize("guess", [1, 100])
def test_calibration_ends_near_the_seconds_asked_for(rate: float, guess: int) -> None:
    start = 0.01  # what does not grow with the iterations misleads short runs

    async def measure(iterations: int) -> Window:
        return window(iterations, start + iterations / rate)

    iterations = asyncio.run(calibrate(measure, 2.0, guess))
    assert iterations == 1 or 1.6 <= iterations / rate <= 2.0 + 1 / rate


def test_a_run_is_read_where_its_window_begins_and_where_it_ends() -> None:
    async def work() -> tuple[Window, int]:
        seen = 0

        def resources(_run: object) -> tuple[float, float]:
            nonlocal seen
            seen += 1
            return float(seen), 100.0 * seen

        async with local(3, "ring", on="inprocess") as net:
            problems = [Distance(5, float(node)) for node in range(3)]
            return await measured(net, "consensus", problems, 7, resources), seen

    found, readings = asyncio.run(work())
    assert readings == 3  # at 0, 7 and 14
    assert (found.nodes, found.iterations) == (3, 7)
    assert (found.first.cpu, found.last.cpu) == (2.0, 3.0)
    assert found.last.sent - found.first.sent == 7 * 6 * 5 * 8  # six arcs, five float64
    assert found.seconds > 0


def test_a_window_of_daemons_has_their_clocks_and_the_cpu_time_between_arrivals() -> None:
    begin = Arrival(at=0.0, cpu=1.0, memory=60.0, seconds=0.0, sent=0)
    first = Arrival(at=2.0, cpu=5.0, memory=70.0, seconds=1.9, sent=100)
    last = Arrival(at=4.5, cpu=10.0, memory=80.0, seconds=3.9, sent=1_000_100)
    found = window_of([begin, first, last], nodes=5, iterations=100)
    assert found.seconds == pytest.approx(2.0)  # and not the 2.5 between arrivals
    assert found.rate == pytest.approx(50.0)
    assert found.cpu_ms == pytest.approx(1e3 * (5.0 / 2.5) * 2.0 / 500)
    assert found.sent_mb == pytest.approx(1 / 2.0 / 5)
    assert found.last.memory == 80.0


def test_what_arrives_together_shares_the_cpu_time_since_the_start() -> None:
    begin = Arrival(at=0.0, cpu=1.0, memory=None, seconds=0.0, sent=0)
    first = Arrival(at=0.5, cpu=4.99, memory=None, seconds=0.2, sent=0)
    last = Arrival(at=0.501, cpu=5.0, memory=None, seconds=0.4, sent=0)
    assert window_of([begin, first, last], 2, 10).cpu_ms == pytest.approx(1e3 * 4.0 / (20 * 2))


def test_the_cpu_time_of_daemons_is_unknown_where_the_system_does_not_tell() -> None:
    silent = [Arrival(float(i), None, None, float(i), 0) for i in range(3)]
    assert window_of(silent, 2, 10).cpu_ms is None
