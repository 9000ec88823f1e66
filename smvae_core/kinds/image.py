"""What kinds of images share: sizes that networks take, and which part of a camera's view is seen.

H, W height and width of the network's input; a camera's image may have any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, pair, whole
from smvae_core.errors import ConfigError, SampleError
from smvae_core.kinds.base import Kind, PredictedTopic, Prediction
from smvae_core.kinds.proposal import Proposal, Seen, converted, words
from smvae_core.kinds.shown import Shown, reduced
from smvae_core.messages import camera_info
from smvae_core.messages.base import set_header

if TYPE_CHECKING:
    from smvae_core.modality import Modality

Fit = Literal["crop", "pad", "stretch"]
#: Shorter side of an image -> halvings before the last convolution: every network ends at 5 rows.
HALVINGS = {32: 2, 64: 3, 128: 4}
#: The longest side that a network is built for.
LONGEST_SIDE = 512
#: Side of the features that images are compared by.
_FEATURE_SIDE = 8


class View(NamedTuple):
    """A rectangle of a camera's image, in its pixels; it may reach beyond it where `fit` pads."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """What is declared of an image beside the size of the network's input."""

    fit: Fit = "crop"
    """How a view of another shape is brought to the network's: 'crop' cuts the longer side at both
    ends, 'pad' adds an empty margin, 'stretch' distorts."""
    crop: tuple[int, int, int, int] | None = None
    """Top, left, bottom, right [px] of the part that is looked at, before `fit`; None = all."""

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise ConfigError(f"fit must be one of {', '.join(get_args(Fit))}, got '{self.fit}'")
        if self.crop is not None:
            object.__setattr__(self, "crop", tuple(self.crop))
            box = self.crop
            whole = len(box) == 4 and all(isinstance(v, int) for v in box)
            if not (whole and 0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
                raise ConfigError(
                    f"crop must be top, left, bottom, right in pixels, the first two smaller than "
                    f"the last two, got {list(box)}"
                )


def _read_fit(value: Any) -> dict[str, Any]:
    """Return options of a word, or of {crop: [top, left, bottom, right], fit: word}."""
    given = {"fit": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not given or set(given) - {"crop", "fit"}:
        raise ValueError(f"{', '.join(get_args(Fit))}, or {{crop: [top, left, bottom, right]}}")
    if "crop" in given and not isinstance(given["crop"], list):
        raise ValueError("crop: [top, left, bottom, right]")
    return dict(given)


#: Of every image that a robot has.
SIZE = Key(
    name="size",
    read=pair(whole, "[64, 64]"),
    default=[64, 64],
    description="Height and width of the network's image [px].",
)
FIT = Key(
    name="fit",
    read=_read_fit,
    default="crop",
    description="How a camera's image is brought to that shape: crop, pad or stretch; or {crop: "
    "[top, left, bottom, right]}, the part that is looked at [px], with fit: beside it.",
)


def camera_size(modality: Modality) -> tuple[int, int]:
    """Return height and width of an example of the camera's image: the declared crop fits in."""
    _, _, bottom, right = modality.options.crop or (0, 0, 0, 0)
    return max(128, bottom), max(128, right)


class ImageKind(Kind):
    """A picture (C, H, W)."""

    rank = 3
    is_image = True
    kept = 8  # 133 ms at 60 Hz: a reference of a camera that is slow to deliver
    may_follow = True  # an image a little later shows the same scene
    options: ClassVar[type[Any]] = ImageOptions
    channels: ClassVar[int]
    unit: ClassVar[str] = "1"
    small: ClassVar[bool] = False
    """Whether there are networks for 28 x 28."""

    def spacing_s(self, modality: Modality) -> float:
        """Return so much that of 30 Hz all count, of 60 Hz every other: they cost most."""
        return 0.025

    def check(self, modality: Modality) -> None:
        """Refuse a number of channels or a size that no network takes."""
        channels, height, width = modality.shape
        if channels != self.channels:
            raise ConfigError(
                f"modality '{modality.name}': {self.name} has {self.channels} channels, "
                f"got {channels}"
            )
        if self.small and (height, width) == (28, 28):
            return
        step = 2 ** HALVINGS.get(min(height, width), 0)  # 1 of a side that no network has
        if step == 1 or max(height, width) > LONGEST_SIDE or height % step or width % step:
            sides = "28, " if self.small else ""
            raise ConfigError(
                f"modality '{modality.name}': the shorter side of an image is {sides}32, 64 or 128 "
                f"px, the longer one the same, or a multiple of {_steps()}, at most "
                f"{LONGEST_SIDE}; got {height} x {width}"
            )

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        beside = {k: v for k, v in values.items() if k not in ("size", "fit")}
        options = self.options(**beside, **values["fit"])
        return {"shape": (self.channels, *values["size"]), "unit": self.unit, "options": options}

    def declaration(self, modality: Modality) -> dict[str, Any]:
        """Return size and fit, and every option beside them."""
        options: ImageOptions = modality.options
        beside = {k: v for k, v in vars(options).items() if k not in ("fit", "crop")}
        fit: Any = options.fit
        if options.crop is not None:
            fit = {"crop": list(options.crop)} | ({"fit": fit} if fit != ImageOptions.fit else {})
        size = list(modality.shape[1:])
        return {"size": size, "fit": fit, **{k: list(v) for k, v in beside.items()}}

    def propose(self, seen: Seen) -> Proposal | None:
        """Return a square from the middle of the image."""
        if self.keys is None or not self.proposed(seen):
            return None
        probe = seen.declare(self.name, {})
        samples, refused = converted(probe, probe.converter(seen.message_type), seen)
        height, width = samples[0].shape[:2]
        entry: dict[str, Any] = {"size": list(probe.shape[1:])}
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        about = [f"{width} x {height} at {seen.rate_hz:.4g} Hz"]
        if sizes := {s.shape[:2] for s in samples} - {(height, width)}:
            others = ", ".join(f"{w} x {h}" for h, w in sorted(sizes))
            about.append(f"but also {others}; of each the middle")
        elif height != width:
            entry["fit"] = {"crop": [top, left, top + side, left + side]}
        if refused:
            about.append(f"{len(refused)} of {len(seen.messages)} unreadable: {refused[0]}")
        beside, said = self.proposed_beside(samples)
        return Proposal(keys={**entry, **beside}, about=", ".join([*about, *said]))

    def proposed(self, seen: Seen) -> bool:
        """Return whether messages are of this kind rather than of another one of images."""
        return False

    def proposed_beside(self, samples: list[NDArray[Any]]) -> tuple[dict[str, Any], list[str]]:
        """Return more keys of a declaration, and what is said of them."""
        return {}, []

    def example(self, modality: Modality, batch: int, rng: np.random.Generator) -> NDArray[Any]:
        return rng.random((batch, *modality.shape), dtype=np.float32)

    def default_topic(self, modality: Modality) -> str:
        return f"{modality.name}/image"

    def predicted(self, modality: Modality) -> tuple[PredictedTopic, ...]:
        """Return the image and the calibration of what it shows."""
        return tuple(
            found
            for image in super().predicted(modality)
            for found in (replace(image, name="image"), CAMERA_INFO)
        )

    def prediction(self, modality: Modality) -> str:
        encoding = self.converters(modality)[0].encoding
        return f"prediction of {modality.name}, {encoding} [{modality.unit}]"

    def view(self, modality: Modality, height: int, width: int) -> View:
        """Return the part of a camera's image (height, width) that fills the network's input.

        Raises:
            SampleError: If the image is smaller than the declared crop.
        """
        options: ImageOptions = modality.options
        view = View(*(options.crop or (0, 0, height, width)))
        if view.bottom > height or view.right > width:
            raise SampleError(
                modality.name,
                "image",
                expected=f"at least {view.bottom} x {view.right} pixels for the declared crop",
                got=f"{height} x {width}",
                reason="size",
            )
        if options.fit == "stretch":
            return view
        _, rows, columns = modality.shape
        tall, wide = view.bottom - view.top, view.right - view.left
        larger = max if options.fit == "pad" else min
        unit = larger(tall / rows, wide / columns)
        extra_y, extra_x = round(unit * rows) - tall, round(unit * columns) - wide
        top, left = view.top - extra_y // 2, view.left - extra_x // 2
        return View(top, left, top + tall + extra_y, left + wide + extra_x)

    def cut(self, modality: Modality, image: NDArray[Any]) -> NDArray[Any]:
        """Return the view of an image (H', W') or (H', W', C), zeros where it reaches beyond."""
        height, width = image.shape[:2]
        if (
            modality.options.crop is None
            and height * modality.shape[2] == width * modality.shape[1]
        ):
            return image  # the whole of it, whatever the fit
        view = self.view(modality, height, width)
        inside = image[
            max(view.top, 0) : min(view.bottom, height), max(view.left, 0) : min(view.right, width)
        ]
        margins = (
            max(-view.top, 0),
            max(view.bottom - height, 0),
            max(-view.left, 0),
            max(view.right - width, 0),
        )
        if not any(margins):
            return inside
        return cv2.copyMakeBorder(inside, *margins, cv2.BORDER_CONSTANT, value=(0, 0, 0))

    def uncut(self, modality: Modality) -> Modality:
        """Return it without its crop, whose pixels are those of a camera's image."""
        if modality.options.crop is None:
            return modality
        return replace(modality, options=replace(modality.options, crop=None))

    def second_differences(self, modality: Modality, x: NDArray[Any]) -> NDArray[Any]:
        """Return the Laplacian, over both axes."""
        inner = 4.0 * x[:, :, 1:-1, 1:-1]
        around = x[:, :, :-2, 1:-1] + x[:, :, 2:, 1:-1] + x[:, :, 1:-1, :-2] + x[:, :, 1:-1, 2:]
        return np.asarray(inner - around)

    def features(self, modality: Modality, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return pixels averaged over cells."""
        channels, height, width = modality.shape
        rows, columns = (_FEATURE_SIDE if s % _FEATURE_SIDE == 0 else 4 for s in (height, width))
        cells = x.reshape(-1, channels, rows, height // rows, columns, width // columns)
        return cells.mean(axis=(3, 5)).reshape(len(x), -1)


def fill_camera_info(modality: Modality, message: Any, prediction: Prediction) -> Any:
    """Write the calibration of a predicted image; None where that of its camera says nothing.

    Raises:
        SampleError: If the camera's images are smaller than the declared crop.
    """
    info, family = prediction.camera_info, modality.family
    if info is None or not all(camera_info.image_size(info)):
        return None
    assert isinstance(family, ImageKind)
    set_header(message, prediction.stamp_ns, prediction.frame_id)
    view = family.view(modality, *camera_info.image_size(info))
    camera_info.fill(message, info, view, *modality.shape[1:])
    return message


CAMERA_INFO = PredictedTopic(
    "camera_info",
    "sensor_msgs/msg/CameraInfo",
    "calibration of the input, rescaled",
    fill_camera_info,
)


def _steps() -> str:
    """Return in words what a longer side must be a multiple of."""
    return ", ".join(f"{2**halvings} (at {side})" for side, halvings in HALVINGS.items())


def seen(modality: Modality) -> str:
    """Return in words which part of a camera's image the network sees."""
    crop, fit = modality.options.crop, modality.options.fit
    part = "whole frame" if crop is None else "rows {0} to {2}, columns {1} to {3}".format(*crop)
    return f"{part} resized" if fit == "stretch" else f"{part}, {fit} to the network's shape"


def shows_depth(seen: Seen) -> bool:
    """Return whether images are depth by their encoding; where it may be either, by their topic."""
    first = seen.messages[0]
    said = str(getattr(first, "format", ""))
    encoding = str(getattr(first, "encoding", "")) or said.partition(";")[0].strip()
    if "compresseddepth" in said.lower() or encoding in ("16UC1", "32FC1"):
        return True
    return encoding in ("mono16", "png") and "depth" in words(seen.topic)


class LevelImage(ImageKind):
    """An image of 8-bit levels, [0, 1] in the network."""

    likelihoods = ("gaussian", "bernoulli")

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.uint8]:
        """Return (C, H, W) uint8, area-averaged to the network's size."""
        _, height, width = modality.shape
        seen: NDArray[Any] = self._seen(modality, sample)
        if seen.shape[:2] != (height, width):
            seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(seen.transpose(2, 0, 1) if self.channels > 1 else seen[None])

    def check_sample(self, modality: Modality, sample: NDArray[Any]) -> None:
        self._seen(modality, sample)

    def _seen(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.uint8]:
        """Return what the network sees of an image, at the camera's size."""
        colors = sample.shape[2:] == ((self.channels,) if self.channels > 1 else ())
        if sample.ndim < 2 or not colors or sample.dtype != np.uint8 or 0 in sample.shape:
            got = f"{sample.shape} {sample.dtype}"
            raise SampleError(modality.name, "image", expected=self.raw_sample, got=got)
        return self.cut(modality, sample)

    def constants(self, modality: Modality) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return np.zeros(1, np.float32), np.full(1, 255.0, np.float32)

    def clip(self, modality: Modality, si: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip(si, 0.0, 1.0)

    def shown(self, modality: Modality, sample: NDArray[Any]) -> Shown:
        """Return the part of a picture that the network sees."""
        seen = reduced(self.cut(modality, sample))
        colors = seen if seen.ndim == 3 else np.repeat(seen[:, :, None], 3, axis=2)
        return Shown(form="picture", values=np.ascontiguousarray(colors, np.uint8))

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when every value is the same: a covered lens."""
        flat = sample.reshape(-1)
        step = max(1, flat.size // 4096)  # enough to find a difference nearly always
        if (flat[::step] != flat[0]).any() or (flat != flat[0]).any():
            return ""
        return f"every value of every pixel is {flat[0]}"
