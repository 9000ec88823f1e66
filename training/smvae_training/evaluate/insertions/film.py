"""A short video of attempts, and a contact sheet of it: what was seen, imagined and believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.controller import Phase
from smvae_core.assistance.pose import Pose
from smvae_core.messages.image_file import encode_png
from smvae_datasets.simulation.closed_loop.attempt import STEP_S, Moment
from smvae_datasets.simulation.closed_loop.methods import Latents
from smvae_datasets.simulation.closed_loop.workers import Task, Worker
from smvae_training.evaluate.bag.pictures import Video
from smvae_training.evaluate.measures import images, in_levels

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

#: Pixels: side of a panel, margin, line of text; and of a millimetre on the map.
SIDE, MARGIN, LINE, PX_PER_MM = 256, 6, 20, 6.0
#: Pictures of an attempt on the contact sheet, one below the other.
ROWS = 6
INK: Colour = (30, 30, 30)
SOFT: Colour = (130, 130, 130)
TRUTH: Colour = (43, 138, 62)
BELIEF: Colour = (201, 120, 18)
TIP: Colour = (28, 98, 201)
LOST: Colour = (201, 42, 42)
LEGEND = (
    ("hole", TRUTH),
    ("belief, 2 deviations", BELIEF),
    ("peg's tip", TIP),
    ("operator's aim", SOFT),
)
#: Seconds that an attempt's last picture stays.
LAST_S = 1.0


class Film:
    """Draws every moment of an attempt."""

    def __init__(self, worker: Worker, task: Task) -> None:
        """Prepare.

        Args:
            worker: Plays the attempt, by latents.
            task: The attempt.
        """
        assert isinstance(worker.method, Latents)
        self._robot, self._latents, self._task = worker.robot, worker.method, task
        colour = [m.name for m in images(self._latents.modalities) if in_levels(m)]
        self._camera = colour[0] if colour else ""
        self.frames: list[Picture] = []

    def __call__(self, moment: Moment) -> None:
        """Draw a moment."""
        image, _ = self._robot.render()
        camera = _panel(image)
        if self._camera in moment.failing:
            camera = np.asarray(camera // 3 + 150, np.uint8)
            _write(camera, "lost", SIDE // 2 - 26, SIDE // 2, LOST, 0.9)
        imagined = self._latents.imagined(self._camera) if self._camera else None
        panels = [
            ("camera", camera),
            ("imagined by the latent", _panel(imagined)),
            ("the hole, from above", belief_map(moment)),
        ]
        width = len(panels) * (SIDE + MARGIN) - MARGIN
        frame = np.full((3 * LINE + SIDE + MARGIN, width, 3), 255, np.uint8)
        _write(frame, f"{moment.time_s:5.2f} s   {moment.phase.value}", 4, LINE - 5, INK)
        gone = ", ".join(moment.failing)
        said, colour = (f"lost: {gone}", LOST) if gone else ("all sensors alive", TRUTH)
        _write(frame, said, SIDE + MARGIN, LINE - 5, colour)
        operator = self._task.operator.replace("_", " ")
        _write(frame, f"operator: {operator}", 2 * (SIDE + MARGIN), LINE - 5, INK)
        for turn, (title, panel) in enumerate(panels):
            left = turn * (SIDE + MARGIN)
            _write(frame, title, left + 4, 2 * LINE - 5, SOFT)
            frame[2 * LINE : 2 * LINE + SIDE, left : left + SIDE] = panel
        left = 4
        for word, colour in LEGEND:
            cv2.circle(frame, (left + 4, frame.shape[0] - 9), 4, colour, -1, cv2.LINE_AA)
            _write(frame, word, left + 14, frame.shape[0] - 5, INK)
            left += 30 + 8 * len(word)
        self.frames.append(frame)

    def end(self, *, seated: bool) -> None:
        """Let the last picture stay, with how the attempt ended."""
        frame = self.frames[-1].copy()
        frame[:LINE] = 255
        word, colour = ("seated", TRUTH) if seated else ("not seated", LOST)
        seconds = len(self.frames) * STEP_S
        _write(frame, f"{seconds:5.2f} s   {word}", 4, LINE - 5, colour)
        self.frames += [frame] * round(LAST_S / STEP_S)


def film(bundle: Path, tasks: Sequence[Task], seed: int, video: Path, sheet: Path) -> str:
    """Play attempts again, which come out the same, and draw them.

    Args:
        bundle: Whose latents help.
        tasks: The attempts, in the order of the video.
        seed: Of their cells, starts and operators.
        video: The mp4 to write; is not there where OpenCV cannot.
        sheet: The contact sheet to write, a PNG.

    Returns:
        Why there is no video; empty where there is one.
    """
    worker = Worker("helped", bundle, seed)
    made, columns, count = Video(video), [], 0
    for task in tasks:
        drawn = Film(worker, task)
        drawn.end(seated=worker.play(task, drawn).seated)
        for frame in drawn.frames:
            made.add(count * STEP_S, frame)
            count += 1
        chosen = np.linspace(0, len(drawn.frames) - 1, ROWS).round().astype(int)
        columns.append(np.concatenate([drawn.frames[at] for at in chosen], axis=0))
    worker.close()
    sheet.write_bytes(encode_png(_beside(columns)[:, :, ::-1]))
    made.close()
    return made.why_not


def belief_map(moment: Moment) -> Picture:
    """Return the hole's surroundings from above, x upwards and y to the left, the hole amid."""
    panel = np.full((SIDE, SIDE, 3), 245, np.uint8)
    for mm in range(5, 25, 5):
        cv2.circle(panel, (SIDE // 2, SIDE // 2), round(mm * PX_PER_MM), (225, 225, 225), 1)
        _write(panel, f"{mm} mm", SIDE // 2 + 2, SIDE // 2 - round(mm * PX_PER_MM) - 2, SOFT, 0.3)
    _cross(panel, moment, moment.aim, SOFT, 7)
    _cross(panel, moment, moment.hole, TRUTH, 11)
    if np.isfinite(moment.unsure[:2]).all():
        x, y = _place(moment, moment.believed)
        axes = [max(round(2e3 * PX_PER_MM * float(moment.unsure[k])), 1) for k in (1, 0)]
        cv2.ellipse(panel, (x, y), axes, 0, 0, 360, BELIEF, 2, cv2.LINE_AA)
        if np.isfinite(moment.unsure[3]):
            _cross(panel, moment, moment.believed, BELIEF, 9)
    pressed = moment.phase is not Phase.APPROACH
    cv2.circle(panel, _place(moment, moment.tip), 5, TIP, -1 if pressed else 2, cv2.LINE_AA)
    return panel


def _cross(panel: Picture, moment: Moment, pose: Pose, colour: Colour, arm: int) -> None:
    """Draw where a pose is, turned by its yaw."""
    x, y = _place(moment, pose)
    for angle in (pose[3], pose[3] + 0.5 * np.pi):
        dx, dy = -arm * np.sin(angle), -arm * np.cos(angle)
        begin, end = (round(x - dx), round(y - dy)), (round(x + dx), round(y + dy))
        cv2.line(panel, begin, end, colour, 2, cv2.LINE_AA)


def _place(moment: Moment, pose: Pose) -> tuple[int, int]:
    """Return the pixel of a pose on the map."""
    mm = 1e3 * (pose[:2] - moment.hole[:2])
    return round(SIDE / 2 - PX_PER_MM * float(mm[1])), round(SIDE / 2 - PX_PER_MM * float(mm[0]))


def _panel(image: NDArray[np.uint8] | None) -> Picture:
    if image is None:
        return np.full((SIDE, SIDE, 3), 235, np.uint8)
    grown = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(grown, np.uint8)


def _beside(columns: Sequence[Picture]) -> Picture:
    """Return columns of pictures beside each other."""
    gap = np.full((columns[0].shape[0], 3 * MARGIN, 3), 255, np.uint8)
    parts = [part for column in columns for part in (column, gap)][:-1]
    return np.concatenate(parts, axis=1)


def _write(
    picture: Picture, text: str, left: int, base: int, ink: Colour, size: float = 0.42
) -> None:
    cv2.putText(picture, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
