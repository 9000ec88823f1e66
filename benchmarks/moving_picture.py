"""README's moving picture: sensors lost, memory, a peg, each beside the truth.

    python -m benchmarks.moving_picture RUN BUNDLE EPISODES OUT
    python -m benchmarks.moving_picture runs/demo/run runs/demo/bundle runs/demo/episodes demo.gif

One model draws all, by the node's own rules. Nothing is chosen by its looks. The first two parts
show the first held-out trajectory: from its begin, sensors are lost in turn; then both cameras die
in its middle. The third is the first of the demo's attempts that loses both cameras half-way,
whether its peg is seated or not, at twice the speed. The second is left out where the bundle has no
memory. Before it, and in what is called "without memory", the node's `memory_s` is 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.command import parser_of, status_of
from smvae_core.bundle import Bundle
from smvae_core.modality import Modality, find
from smvae_core.preprocessing import in_si, prepare, raw_sample
from smvae_datasets.dataset import Dataset
from smvae_datasets.simulation.closed_loop.attempt import STEP_S, Moment
from smvae_datasets.simulation.closed_loop.methods import Latents
from smvae_datasets.simulation.closed_loop.workers import Task, Worker
from smvae_training.evaluate.insertions.film import LEGEND, belief_map
from smvae_training.evaluate.insertions.pairs import HELPED, plan, shown
from smvae_training.evaluate.measures import blind, images, in_levels, picture, shown_range
from smvae_training.run import load_run, split_episodes
from smvae_training.trainer import prepare_data

Picture = NDArray[np.uint8]

#: Pixels: side of a panel, margin, line of text.
SIDE, MARGIN, LINE = 176, 8, 22
PANELS = 4
#: Seconds of the robot from one frame to the next, and of each frame on the screen.
FRAME_S = 0.1
#: Seconds that each set of sensors lasts in the first part; of the second before and after the
#: cameras die, and of what is remembered before; a part's last frame stays.
PHASE_S, BEFORE_S, AFTER_S, REMEMBERED_S, LAST_S = 1.5, 0.5, 2.0, 5.0, 1.0
#: How much faster the third part is shown.
SPEED = 2
COLOURS = 128
INK, SOFT, ALIVE, LOST = (30, 30, 30), (120, 120, 120), (43, 138, 62), (201, 42, 42)
#: Colours of words and signs, which every frame keeps as they are.
FIXED = ((255, 255, 255), INK, SOFT, ALIVE, LOST, *(colour for _, colour in LEGEND))
#: Defaults of `scripts/demo.py`: pairs of attempts, and their seed.
ATTEMPTS, SEED = 20, 2000


class Panel(NamedTuple):
    """A picture and what stands above it."""

    title: str
    pixels: Picture | None


class Trajectory:
    """The first held-out trajectory of a run, as raw samples."""

    def __init__(self, run_folder: Path, episodes: Path) -> None:
        run = load_run(run_folder)
        self.data: Dataset = prepare_data(run.config, episodes)
        held_out = split_episodes(run.config, self.data).held_out
        same = self.data.group[held_out] == self.data.group[held_out[0]]
        self.records: NDArray[np.int64] = held_out[same]
        self.sensors: tuple[Modality, ...] = self.data.sensors

    def samples(self, step: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return what these sensors deliver in a step."""
        record = int(self.records[step])
        return {n: raw_sample(find(self.sensors, n), self.data.arrays[n][record]) for n in names}


class Canvas:
    """Draws frames of four panels below a title and the sensors' lamps."""

    def __init__(self, sensors: Sequence[Modality]) -> None:
        self._sensors = [m.name for m in sensors]
        self._limits: dict[str, tuple[float, float] | None] = {}
        self._fonts = {
            size: ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
            for size in (11, 15)
        }
        self.frames: list[Image.Image] = []

    def panel(self, modality: Modality, raw: NDArray[Any] | None) -> Picture | None:
        """Return a raw sample in colours; depth in those of the first one drawn."""
        if raw is None:
            return None
        si = in_si(modality, prepare(modality.uncut, raw)[None])[0]
        limits = self._limits.setdefault(modality.name, shown_range(modality, si))
        return np.asarray(np.rint(255 * picture(modality, si, limits)), np.uint8)

    def add(
        self, title: str, panels: Sequence[Panel], alive: Sequence[str], note: str = ""
    ) -> None:
        """Add a frame; without pixels a panel is empty."""
        width = PANELS * (SIDE + MARGIN) + MARGIN
        frame = Image.new("RGB", (width, 3 * LINE + SIDE + MARGIN), (255, 255, 255))
        draw = ImageDraw.Draw(frame)
        draw.text((MARGIN, 4), title, INK, self._fonts[15])
        left = MARGIN
        for name in self._sensors:
            colour = ALIVE if name in alive else LOST
            word = name if name in alive else f"{name} lost"
            draw.ellipse((left, LINE + 8, left + 9, LINE + 17), fill=colour)
            draw.text((left + 13, LINE + 5), word, colour, self._fonts[11])
            left += 96
        draw.text((width - MARGIN, LINE + 5), note, INK, self._fonts[11], anchor="ra")
        for number, (label, pixels) in enumerate(panels):
            left = MARGIN + number * (SIDE + MARGIN)
            draw.text((left, 2 * LINE + 4), label, SOFT, self._fonts[11])
            if pixels is not None:
                frame.paste(Image.fromarray(_sized(pixels)), (left, 3 * LINE))
        self.frames.append(frame)

    def legend(self, lines: Sequence[tuple[str, tuple[int, int, int]]]) -> Picture:
        """Return a panel of coloured points with words."""
        found = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
        draw = ImageDraw.Draw(found)
        for number, (word, colour) in enumerate(lines):
            top = 8 + number * LINE
            draw.ellipse((2, top + 3, 11, top + 12), fill=colour)
            draw.text((18, top), word, INK, self._fonts[11])
        return np.asarray(found)

    def rest(self) -> None:
        """Let the last frame stay."""
        self.frames += [self.frames[-1]] * round(LAST_S / FRAME_S)


def losses(canvas: Canvas, trajectory: Trajectory, latents: Latents) -> None:
    """Draw the first part: every camera's truth, and what the latent draws of it."""
    cameras = images(trajectory.sensors)[: PANELS // 2]
    names = [m.name for m in trajectory.sensors]
    lost: list[tuple[str, ...]] = [(), (cameras[0].name,), tuple(m.name for m in cameras)]
    every = round(FRAME_S / STEP_S)
    latents.begin()
    steps = min(len(lost) * round(PHASE_S / STEP_S), len(trajectory.records))
    for step in range(0, steps, every):
        gone = lost[step // round(PHASE_S / STEP_S)]
        alive = [n for n in names if n not in gone]
        _see(latents, trajectory.samples(step, alive))
        truth = trajectory.samples(step, [m.name for m in cameras])
        panels = []
        for camera in cameras:
            panels += [
                Panel(_truth(camera, alive), canvas.panel(camera, truth[camera.name])),
                Panel(
                    f"{camera.name}: drawn by the latent",
                    canvas.panel(camera, latents.imagined(camera.name)),
                ),
            ]
        note = f"{step * STEP_S:.1f} s"
        canvas.add("Sensors are lost. One latent draws all, from those alive", panels, alive, note)
    canvas.rest()


def memory(
    canvas: Canvas, trajectory: Trajectory, remembering: Latents, forgetting: Latents
) -> None:
    """Draw the second part: what is imagined after both cameras died."""
    camera = images(trajectory.sensors)[0]
    names, others = [m.name for m in trajectory.sensors], list(blind(trajectory.sensors))
    died = len(trajectory.records) // 2
    first, last = died - round(REMEMBERED_S / STEP_S), died + round(AFTER_S / STEP_S)
    shown_from, every = died - round(BEFORE_S / STEP_S), round(FRAME_S / STEP_S)
    remembering.begin()
    forgetting.begin()
    frame = None
    for step in range(max(first, 0), min(last + 1, len(trajectory.records))):
        alive = names if step < died else others
        samples = trajectory.samples(step, alive)
        for latents in (remembering, forgetting):
            _see(latents, samples)
        truth = trajectory.samples(step, [camera.name])[camera.name]
        frame = truth if step < died else frame
        if step < shown_from or (step - shown_from) % every:
            continue
        panels = [
            Panel(_truth(camera, alive), canvas.panel(camera, truth)),
            Panel("imagined with memory", canvas.panel(camera, remembering.imagined(camera.name))),
            Panel("without memory", canvas.panel(camera, forgetting.imagined(camera.name))),
            Panel("last frame held", canvas.panel(camera, frame)),
        ]
        since_s = (step - died) * STEP_S
        note = f"cameras dead for {since_s:.1f} s" if step >= died else "all sensors alive"
        canvas.add("A memory keeps what lost cameras showed", panels, alive, note)
    canvas.rest()


class Watcher:
    """Draws the third part: every step of an attempt, at twice the speed."""

    def __init__(self, canvas: Canvas, worker: Worker, task: Task) -> None:
        assert isinstance(worker.method, Latents)
        self._canvas, self._robot, self._latents = canvas, worker.robot, worker.method
        self._task = task
        colour = [m for m in images(self._latents.modalities) if in_levels(m)]
        self._camera, self._steps = colour[0], 0
        self._names = [m.name for m in self._latents.modalities]
        self._last: Moment | None = None

    def __call__(self, moment: Moment) -> None:
        """Draw a moment, of those that are shown."""
        self._last = moment
        if not self._steps % round(SPEED * FRAME_S / STEP_S):
            self._draw(moment, moment.phase.value)
        self._steps += 1

    def end(self, *, seated: bool) -> None:
        """Draw how it ended."""
        assert self._last is not None
        self._draw(self._last, "seated" if seated else "not seated")
        self._canvas.rest()

    def _draw(self, moment: Moment, word: str) -> None:
        seen, _ = self._robot.render()
        imagined = self._latents.imagined(self._camera.name)
        alive = [n for n in self._names if n not in moment.failing]
        legend = self._canvas.legend([(text, colour) for text, colour in LEGEND])
        panels = [
            Panel(_truth(self._camera, alive), seen),
            Panel("drawn by the latent", imagined),
            Panel("the hole, from above", belief_map(moment)),
            Panel(f"operator: {self._task.operator.replace('_', ' ')}", legend),
        ]
        title = "The latent helps an operator with a peg; cameras are lost half-way"
        self._canvas.add(title, panels, alive, f"{moment.time_s:.1f} s, {word}")


def insertion(canvas: Canvas, bundle: Path, attempts: int, seed: int) -> None:
    """Play the attempt again, which comes out the same, and draw it.

    Raises:
        SMVAEError: If the bundle cannot be used, or tells nothing of the hole.
    """
    task = shown(plan(attempts, seed))[-1]
    worker = Worker(HELPED, bundle, seed)
    watcher = Watcher(canvas, worker, task)
    watcher.end(seated=worker.play(task, watcher).seated)
    worker.close()


def write(frames: Sequence[Image.Image], path: Path) -> None:
    """Write frames as a GIF that repeats, in colours that are chosen once for all."""
    some = Image.fromarray(
        np.concatenate([np.asarray(f) for f in frames[:: len(frames) // 12 + 1]])
    )
    found = some.quantize(COLOURS - len(FIXED)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for colour in FIXED for level in colour] + found)
    reduced = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    reduced[0].save(
        path, save_all=True, append_images=reduced[1:], duration=round(1e3 * FRAME_S), loop=0,
        optimize=True,
    )  # fmt: skip


def _truth(camera: Modality, alive: Sequence[str]) -> str:
    """Return what stands above what a camera sees, or would see."""
    return f"{camera.name}: truth" + ("" if camera.name in alive else ", not seen")


def _see(latents: Latents, samples: Mapping[str, NDArray[Any]]) -> None:
    """Make the latent of a step; nobody asks where a hole is."""
    latents.see(dict(samples), np.zeros(4), np.zeros(4))


def _sized(pixels: Picture) -> Picture:
    """Return a picture of a panel's side: pixels stay pixels, a drawing is shrunk smoothly."""
    grows = pixels.shape[0] < SIDE
    how = cv2.INTER_NEAREST if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=how), np.uint8)


def film(given: argparse.Namespace) -> None:
    """Draw what was asked for, and print how large it became.

    Raises:
        SMVAEError: If run, bundle or episodes cannot be used.
    """
    bundle = Bundle.load(given.bundle)
    trajectory = Trajectory(given.run, given.episodes)
    canvas = Canvas(trajectory.sensors)
    forgetting = Latents(bundle, memory_s=0.0)
    losses(canvas, trajectory, forgetting)
    if bundle.manifest.memory is not None:
        memory(canvas, trajectory, Latents(bundle), forgetting)
    insertion(canvas, given.bundle, given.attempts, given.seed)
    write(canvas.frames, given.out)
    print(f"{given.out}: {len(canvas.frames)} frames, {given.out.stat().st_size / 1e6:.2f} MB")


def main(arguments: list[str] | None = None) -> int:
    """Draw the three parts and write them; 2 with a line when something cannot be used."""
    parser = parser_of("benchmarks.moving_picture", __doc__)
    parser.add_argument("run", type=Path, help="run whose held-out trajectories are shown")
    parser.add_argument("bundle", type=Path, help="its bundle, with targets")
    parser.add_argument("episodes", type=Path, help="what the run was trained on")
    parser.add_argument("out", type=Path, help="GIF to write")
    parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="as the demo's")
    parser.add_argument("--seed", type=int, default=SEED, help="of the demo's attempts")
    given = parser.parse_args(arguments)
    return status_of("moving_picture", lambda: film(given))


if __name__ == "__main__":
    sys.exit(main())
