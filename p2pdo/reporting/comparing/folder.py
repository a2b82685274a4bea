"""The folder of a comparison.

    comparison.json              what was asked: settings, algorithms, trials
    ALGORITHM/trial-0/           a run folder; trial t has the seed of the comparison + t
    output.log                   what trials printed, if they did
    .lock                        held while a process works on it

A trial has ended where its run folder has a summary, or says that it failed or was refused. Any
other was interrupted, and begins anew when the comparison goes on. One process at a time works on a
folder.

A comparison may grow: more trials, and those that were refused by force. What it was asked first is
then asked with these.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from p2pdo.errors import Conflict, NotFound
from p2pdo.reporting import json_lines, machine
from p2pdo.reporting.file_names import to_file_name
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.storage.drafts import whole
from p2pdo.storage.ownership import own
from p2pdo.storage.trouble import damaged, writing
from p2pdo.types import Plain

MANIFEST = "comparison.json"
LOG = "output.log"
_LOCK = ".lock"
_HINT = "name a folder that you may write to with --out"
_VERSIONS = "versions"
_TRIALS, _FORCE = "trials", "force"


class ComparisonFolder:
    """One comparison's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a comparison has begun there."""
        return (self.path / MANIFEST).is_file()

    def begin(self, manifest: Mapping[str, Plain]) -> None:
        """Begins one in an empty folder, or goes on with the same one, which may have grown.

        Raises:
            Conflict: there are files of something else, or another comparison: says how it differs.
            ConfigError: the folder cannot be written.
        """
        if self.exists:
            self._require_same(manifest)
            return
        RunFolder.create(self.path, self.path.name)
        self._write(manifest)

    def grow(self, manifest: Mapping[str, Plain]) -> None:
        """Keeps what is asked beyond what was; for who works on the folder."""
        if differences(self.manifest(), json.loads(json_lines.encode(manifest))):
            self._write(manifest)

    def _write(self, manifest: Mapping[str, Plain]) -> None:
        text = json_lines.encode({**manifest, _VERSIONS: machine.versions()}, indent=2)
        path = self.path / MANIFEST
        with writing(path, _HINT), whole(path, durable=True) as draft:
            draft.write_text(f"{text}\n", encoding="utf-8")

    def manifest(self) -> dict[str, Any]:
        """What was asked.

        Raises:
            NotFound: there is no comparison.
        """
        if not self.exists:
            raise NotFound(
                f"there is no comparison in {self.path}",
                hint="p2pdo run PROBLEM -a ONE,OTHER --trials 5 makes one",
            )
        try:
            found = json.loads((self.path / MANIFEST).read_bytes())
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise damaged(self.path / MANIFEST)
        found.pop(_VERSIONS, None)
        return found

    def trial(self, label: str, number: int) -> Path:
        return self.path / to_file_name(label) / f"trial-{number}"

    def has_ended(self, label: str, number: int) -> bool:
        folder = RunFolder(self.trial(label, number))
        if not folder.path.is_dir():
            return False
        is_told = failure(folder) is not None or refusal(folder) is not None
        return is_told or (folder.path / "summary.json").is_file()

    def is_refused(self, label: str, number: int) -> bool:
        """Whether the trial has ended before it began."""
        folder = RunFolder(self.trial(label, number))
        return folder.path.is_dir() and refusal(folder) is not None

    def clear(self, label: str, number: int) -> None:
        """Removes what an interrupted trial has left."""
        shutil.rmtree(self.trial(label, number), ignore_errors=True)

    def worked_on(self) -> IO[bytes]:
        """Until closed, only this process runs trials in it.

        Raises:
            Conflict: another process does.
            ConfigError: the folder cannot be written.
        """
        return own(
            self.path / _LOCK,
            owner="process",
            place="the comparison in",
            if_taken="wait for it, or stop it",
            if_unwritable=_HINT,
        )

    def _require_same(self, asked: Mapping[str, Plain]) -> None:
        there, here = self.manifest(), json.loads(json_lines.encode(asked))
        there.setdefault(_FORCE, False)
        for name in (_TRIALS, _FORCE):
            if name in here and there.get(name, here[name]) < here[name]:
                there[name] = here[name]
        found = differences(there, here)
        if found:
            raise Conflict(
                f"{self.path} holds another comparison: {'; '.join(found)}",
                hint=f"p2pdo run --resume {shlex.quote(str(self.path))} goes on with that one; "
                "name another --out for this one",
            )


def failure(folder: RunFolder) -> dict[str, Any] | None:
    """The event of a run's failure; None where it has not failed."""
    return _last_event(folder, "failed")


def refusal(folder: RunFolder) -> dict[str, Any] | None:
    """The event of its being refused, before it began; None where it was not."""
    return _last_event(folder, "refused")


def _last_event(folder: RunFolder, name: str) -> dict[str, Any] | None:
    found = [event for event in folder.read_events() if event.get("event") == name]
    return found[-1] if found else None


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """In words, where two manifests differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = [*there, *(key for key in here if key not in there)]
        return [
            words
            for key in keys
            for words in differences(there.get(key), here.get(key), _below(name, key))
        ]
    return [] if there == here else [f"{name} is {_shown(there)} there and {_shown(here)} here"]


def _below(name: str, key: str) -> str:
    return f"{name} {key}" if name and name not in ("settings", "algorithms") else key


def _shown(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)
