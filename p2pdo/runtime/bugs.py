"""A bug as it is told: one line, and the traceback in a file."""

from __future__ import annotations

from pathlib import Path

from p2pdo.errors import P2pdoError


class Bug(P2pdoError):
    code = "bug"


def kept(error: BaseException, folder: Path | None = None) -> Bug:
    """The bug to tell; its traceback is in the folder, or in a file of its own."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        if folder is None:
            with tempfile.NamedTemporaryFile(
                prefix="p2pdo-crash-", suffix=".txt", delete=False
            ) as file:
                where = Path(file.name)
        else:
            where = folder / "crash.txt"
        where.write_text(text, encoding="utf-8")
        hint = f"report it, with the traceback in {where}"
    except OSError as unwritten:
        hint = f"report it; the traceback could not be kept ({unwritten.strerror})"
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return Bug(f"this is p2pdo's fault, not yours: {message}", hint=hint)
