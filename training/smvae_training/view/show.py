"""Plays a source once, to rerun and to the picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from smvae_core.errors import ConfigError
from smvae_core.view.glance import Glance
from smvae_core.view.process import Viewer
from smvae_core.view.scene import Scene
from smvae_training.view.options import ViewOptions
from smvae_training.view.page import Page
from smvae_training.view.source import open_source, what


def view(path: Path, options: ViewOptions) -> int:
    """Show what is at a path and return how many moments there were.

    Raises:
        ConfigError: If there is nothing to see, or no display for a window.
        NoViewer: If no Python with rerun is found.
        ViewerError: If rerun fails.
    """
    what(path)  # before all else: what cannot be seen needs no display
    wanted = options.picture is None or options.save is not None
    if wanted and options.save is None and not has_display():
        raise ConfigError(
            "there is no display for rerun's window: write a file by --save FILE.rrd, or a picture "
            "by --picture FILE.png"
        )
    with ExitStack() as stack:
        viewer = stack.enter_context(_viewer(options)) if wanted else None
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="smvae-view-")))
        source = open_source(path, options, folder)
        modalities, thresholds = source.modalities, source.thresholds
        scene = Scene(
            source.name,
            modalities,
            thresholds=thresholds,
            targets=source.targets,
            has_model=source.has_model,
        )
        page = Page(modalities, title=source.name, thresholds=thresholds)
        count = 0

        def show(glance: Glance) -> None:
            nonlocal count
            count += 1
            if options.picture is not None:
                page.add(glance)
            if viewer is not None:
                for frame in scene.frames(glance):
                    viewer.send(*frame)

        if viewer is not None:
            viewer.send(*scene.opening())
        became = source.play(show)
        if not count:
            why = f": {became}" if became else ""
            raise ConfigError(f"{path}: there is not one moment to see{why}")
        if options.picture is not None:
            page.save(options.picture)
    return count


def has_display() -> bool:
    """Return whether a window can open."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


@contextmanager
def _viewer(options: ViewOptions) -> Iterator[Viewer]:
    """Yield the viewer; a file it writes has its name only once it is whole."""
    python = options.viewer_python
    if options.save is None:
        with Viewer(python=python) as viewer:
            yield viewer
        return
    part = options.save.with_name(f".{options.save.name}.{os.getpid()}.part.rrd")
    try:
        with Viewer(["--save", part], python=python) as viewer:
            yield viewer
        os.replace(part, options.save)
    finally:
        part.unlink(missing_ok=True)
