"""Where a bundle parameter points: an absolute path, file:// or package://PACKAGE/PATH."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from smvae_core.errors import ConfigError


def resolve(bundle: str) -> Path:
    """Return the folder a bundle parameter names; a node has no working directory to rely on.

    Raises:
        ConfigError: If it is empty, relative, another kind of URI, or names an unknown package.
    """
    if not bundle:
        raise ConfigError("parameter bundle is empty: give the absolute path of an exported bundle")
    path = Path(bundle).expanduser()
    if re.match(r"[a-z][a-z0-9+.-]+:", bundle, re.IGNORECASE):
        uri = urlsplit(bundle)
        if uri.scheme not in ("file", "package") or uri.query or uri.fragment:
            raise ConfigError(
                f"parameter bundle must be absolute, file:// or package://, got '{bundle}'; "
                "in a URI '#' is written %23 and '?' %3F"
            )
        if uri.scheme == "package":
            return _in_package(uri.netloc, unquote(uri.path).lstrip("/"))
        path = Path(unquote(uri.path if uri.netloc in ("", "localhost") else ""))
    if not path.is_absolute():
        raise ConfigError(
            f"parameter bundle must be absolute, file:// or package://, got '{bundle}'; "
            f"for example bundle:=$(pwd)/{bundle}"
        )
    return path


def _in_package(package: str, path: str = "") -> Path:
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(package)) / path
    except (PackageNotFoundError, ValueError) as err:
        raise ConfigError(
            f"parameter bundle names the unknown package '{package}': `ros2 pkg list` has those "
            "of the workspaces that are sourced here"
        ) from err
