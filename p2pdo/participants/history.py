"""History: what is recorded at a node, iteration by iteration, in a file of its own folder.

    history.npz     NAME             shape (T, …): one row a recording
                    NAME.iteration   shape (T,): when

    with np.load("history.npz") as history:
        plt.plot(history["x.iteration"], np.linalg.norm(history["x"], axis=1))

While the run lasts there are NAME.npy and NAME.iteration.npy, which `np.load` reads at any time:
a row is appended, then the header says so. At the end they are put into the .npz.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.lib import format as npy

from p2pdo.errors import ConfigError
from p2pdo.storage.drafts import whole
from p2pdo.storage.trouble import writing
from p2pdo.types import Array

FILE = "history.npz"


class History:
    """The recordings of one run at one node; a context manager, which puts them together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns: dict[str, tuple[_Column, _Column]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def names(self) -> Collection[str]:
        """Of which there are recordings that are not put together yet."""
        return self._columns.keys()

    def append(self, name: str, iteration: int, row: Array) -> None:
        """Adds a row.

        Raises:
            ConfigError: it does not have the shape and dtype of the first; or no disk.
        """
        row = np.asarray(row)
        if name not in self._columns:
            self._columns[name] = self._begin(name, row)
        values, iterations = self._columns[name]
        if (row.shape, row.dtype) != (values.shape, values.dtype):
            raise ConfigError(
                f"'{name}' was recorded as {values.dtype} {values.shape}, "
                f"now it is {row.dtype} {row.shape}",
                hint="record each shape under a name of its own",
                iteration=iteration,
            )
        with self._writing():
            values.append(row)
            iterations.append(np.asarray(iteration, np.int64))

    def _begin(self, name: str, row: Array) -> tuple[_Column, _Column]:
        if not (name.isidentifier() and row.dtype.kind in "fciub"):
            raise ConfigError(
                f"'{name}', {row.dtype}, cannot be recorded",
                hint="record arrays of numbers under names of letters and digits",
            )
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return (
                _Column(self._folder / f"{name}.npy", row),
                _Column(self._folder / f"{name}.iteration.npy", np.asarray(0, np.int64)),
            )

    def close(self) -> None:
        """Puts the columns into one file.

        Raises:
            ConfigError: it cannot be written; the columns stay.
        """
        columns = [column for pair in self._columns.values() for column in pair]
        self._columns = {}
        if not columns:
            return
        import zipfile  # 1 MB that a node needs when the first of these ends

        with self._writing():
            for column in columns:
                column.close()
            with (
                whole(self._folder / FILE, durable=True) as draft,
                zipfile.ZipFile(draft, "w") as file,
            ):
                for column in columns:
                    file.write(column.path, column.path.name)
            for column in columns:
                column.path.unlink()

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self._folder, "choose another state folder", what="keep the history in")


class _Column:
    """A .npy file that grows by rows; its header has room for any number of them."""

    def __init__(self, path: Path, like: Array) -> None:
        self.path = path
        self.shape = like.shape
        self.dtype = like.dtype
        self._rows = 0
        self._file: IO[bytes] = path.open("wb")
        self._write_header()

    def append(self, row: Array) -> None:
        self._file.seek(0, 2)
        self._file.write(row.tobytes())
        self._rows += 1
        self._write_header()

    def _write_header(self) -> None:
        header: dict[str, Any] = {
            "descr": npy.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self._rows, *self.shape),
        }
        self._file.seek(0)
        npy.write_array_header_1_0(self._file, header)  # padded for a first axis of 20 digits
        self._file.flush()

    def close(self) -> None:
        self._file.close()
