"""Where a bundle parameter points: an absolute path, file:// or package://PACKAGE/PATH."""

from __future__ import annotations

from pathlib import Path

from smvae_core.errors import ConfigError


def resolve(bundle: str) -> Path:
    """Return the folder a bundle parameter names; a node has no working directory to rely on.

    Raises:
        ConfigError: If it is empty, relative, or names an unknown package.
    """
    if not bundle:
        raise ConfigError("parameter bundle is empty: give the absolute path of an exported bundle")
    if bundle.startswith("file://"):
        bundle = bundle.removeprefix("file://")
    elif bundle.startswith("package://"):
        return _in_package(*bundle.removeprefix("package://").split("/", 1))
    path = Path(bundle).expanduser()
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
        raise ConfigError(f"parameter bundle names the unknown package '{package}'") from err
