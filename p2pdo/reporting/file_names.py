"""File names. A node's name comes from the network, so it is never trusted as a path.

Whatever is not a letter, a digit, a dot, a dash or an underscore is percent-encoded as UTF-8.
The encoding is reversible and two names never share a file.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from p2pdo.errors import ConfigError


def to_file_name(name: str) -> str:
    """The name as one component of a path.

    Raises:
        ConfigError: the name is empty, "." or "..", or no Unicode text.
    """
    if name in {"", ".", ".."}:
        raise ConfigError(f"{name!r} cannot name a file", hint="give the node another name")
    try:
        return quote(name, safe="").replace("~", "%7E")
    except UnicodeEncodeError:
        raise ConfigError(
            f"{name!r} is not Unicode text", hint="give the node another name"
        ) from None


def from_file_name(file_name: str) -> str:
    """The name that `to_file_name` encoded."""
    return unquote(file_name)
