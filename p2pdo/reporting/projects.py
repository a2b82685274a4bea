"""Makes a project out of a template of the package's."""

from __future__ import annotations

import keyword
from importlib.resources import files
from pathlib import Path

from p2pdo.errors import ConfigError, Conflict
from p2pdo.storage.trouble import writing

_PLACEHOLDER = "PROJECT"


def make_project(folder: Path, template: str) -> list[Path]:
    """Writes the template's files into a folder of the project's name; returns their paths.

    Raises:
        ConfigError: the name is none for a module of Python, or the folder cannot be written.
        Conflict: the folder exists.
    """
    name = folder.name
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigError(
            f"'{name}' cannot be imported by that name",
            hint="letters, digits and underscores, not beginning with a digit",
        )
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise Conflict(f"{folder} exists already", hint="choose another name") from None
    except OSError as error:
        raise ConfigError(
            f"cannot make {folder}: {error.strerror}", hint="choose another place"
        ) from None
    made = []
    for source in sorted(files("p2pdo.templates").joinpath(template).iterdir(), key=str):
        if source.is_file():
            target = folder / source.name.replace(_PLACEHOLDER, name)
            text = source.read_text(encoding="utf-8").replace(_PLACEHOLDER, name)
            with writing(target, "choose another place"):
                target.write_text(text, encoding="utf-8")
            made.append(target)
    return made
