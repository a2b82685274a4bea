"""Draws the pictures of the pages: `python docs/make_pictures.py`. Committed, as small SVG files.

They are what the pages' own commands draw, with coordinates rounded to a tenth of a point.
"""

from __future__ import annotations

import re
from pathlib import Path

import p2pdo

PICTURES = Path(__file__).parent / "pictures"
COMPARED = ("dgd", "extra", "lt-admm", "wild=extra")


def main() -> None:
    """The picture of how-to/compare-algorithms.md."""
    comparison = p2pdo.compare(
        "breast-cancer",
        COMPARED,
        parameters={"wild.step_size": 20.0, "problem.test": 0.2},
        trials=5,
        rounds=2000,
        tol=1e-6,
        out="runs/four",
        quiet=False,
    )
    picture = PICTURES / "compare-algorithms.svg"
    comparison.plot(picture, against="bytes")
    rounded(picture)


def rounded(picture: Path) -> None:
    text = picture.read_text(encoding="utf-8")
    picture.write_text(re.sub(r"(\d\.\d)\d+", r"\1", text), encoding="utf-8")


if __name__ == "__main__":
    main()
