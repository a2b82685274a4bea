"""Spreads, the processes' figures, and the problem that is measured with."""

import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from p2pdo.benchmarks.costs import Distance
from p2pdo.benchmarks.processes import cpu_seconds, peak_memory
from p2pdo.benchmarks.ring import Ring
from p2pdo.benchmarks.spread import Spread, figure
from p2pdo.errors import ConfigError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_a_spread_is_a_median_between_its_extremes() -> None:
    spread = Spread.of([3.0, 1.0, 10.0])
    assert spread is not None
    assert spread.to_plain() == {"median": 3.0, "min": 1.0, "max": 10.0, "runs": [3.0, 1.0, 10.0]}
    assert spread.in_words(figure) == "3 (1-10)"


def test_a_run_that_cannot_tell_makes_a_figure_unknown() -> None:
    assert Spread.of([1.0, None]) is None
    assert Spread.of([]) is None


@pytest.mark.parametrize(
    ("x", "text"), [(0.012345, "0.0123"), (4.5612, "4.56"), (99.96, "100"), (12345.6, "12,346")]
)
def test_a_figure_has_three_digits_and_no_power_of_ten(x: float, text: str) -> None:
    assert figure(x) == text


@linux
def test_the_cpu_time_of_processes_is_what_they_used() -> None:
    me = os.getpid()
    before = cpu_seconds([me])
    began = time.process_time()
    while time.process_time() < began + 0.1:
        pass
    after = cpu_seconds([me])
    assert before is not None
    assert after is not None
    assert after - before >= 0.08
    assert cpu_seconds([me, me]) == pytest.approx(2 * after, abs=0.1)


@linux
def test_the_peak_of_memory_is_remembered() -> None:
    code = "import sys; x = bytearray(200_000_000); del x; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        peak = peak_memory([child.pid])
        child.communicate()
    assert peak is not None
    assert 200 < peak < 300


@linux
def test_memory_that_two_processes_share_is_counted_once() -> None:
    code = (
        "import sys, mmap; m = mmap.mmap(int(sys.argv[1]), 0); s = sum(m[::4096]); "
        "print(flush=True); sys.stdin.read()"
    )
    size = 200_000_000
    segment = os.memfd_create("shared")
    os.truncate(segment, size)
    with contextlib.ExitStack() as both:
        peaks = []
        for _ in range(2):
            child = subprocess.Popen(
                [sys.executable, "-c", code, str(segment)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[segment],
            )
            both.enter_context(child)
            assert child.stdin is not None
            both.callback(child.stdin.close)
            assert child.stdout is not None
            child.stdout.readline()
            peaks.append(child.pid)
        os.close(segment)
        each = [peak_memory([pid]) for pid in peaks]
    assert all(peak is not None and 100 < peak < 160 for peak in each), each


def test_a_process_that_is_gone_has_no_figures() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert cpu_seconds([os.getpid(), gone.pid]) is None
    assert peak_memory([os.getpid(), gone.pid]) is None


def test_the_gradient_is_that_of_the_value() -> None:
    problem = Distance(4, centre=2.0)
    x = np.array([1.0, 2.0, -3.0, 0.5])
    step = 1e-6
    slopes = [
        (problem.value(x + step * e) - problem.value(x - step * e)) / (2 * step) for e in np.eye(4)
    ]
    assert problem.gradient(x) == pytest.approx(slopes, abs=1e-6)
    assert problem.gradient(x.astype("float32")).dtype == np.float32


def test_what_does_not_fit_into_the_memory_is_refused_before_it_starts() -> None:
    with pytest.raises(ConfigError, match="GB of memory"):
        Ring(sizes=(10**12,)).check()
