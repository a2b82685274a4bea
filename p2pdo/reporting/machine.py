"""The machine. Equal bits are promised for one CPU type and one set of library versions.

So a run folder says which they were: when two runs of one seed differ, look here first.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

_PACKAGES = ("p2pdo", "numpy", "grpcio", "protobuf")


def versions() -> dict[str, str]:
    """Of Python, of p2pdo and of the packages that touch a run's numbers and bytes."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}


def fingerprint() -> dict[str, str]:
    """What decides the last bits of a floating-point sum."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(Path("/proc/cpuinfo")),
        "blas": _blas_name(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _cpu_model(cpuinfo: Path) -> str:
    """Linux's own words where there are any; not every architecture has a "model name"."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or "unknown"


def _blas_name() -> str:
    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError):
        return "unknown"
