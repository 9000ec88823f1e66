"""`depth_image`: depth messages <-> (H, W) float32 metres along the optical axis (REP 118).

sensor_msgs/Image, sensor_msgs/CompressedImage and, read only, organised sensor_msgs/PointCloud2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, number, pair
from smvae_core.errors import ConfigError, SampleError
from smvae_core.kinds import depth_color
from smvae_core.kinds.base import Converter, PredictedTopic, Prediction
from smvae_core.kinds.image import FIT, SIZE, ImageKind, ImageOptions, camera_size, shows_depth
from smvae_core.kinds.proposal import Seen, rounded_up
from smvae_core.kinds.registry import register
from smvae_core.kinds.shown import Shown, reduced
from smvae_core.messages import compressed_depth, compressed_image, image_data, organised_cloud
from smvae_core.messages.base import ConversionError, ConversionOptions, set_header
from smvae_core.parameter import Parameter

if TYPE_CHECKING:
    from smvae_core.modality import Modality

ENCODING = "32FC1"
#: Metres per unit of each encoding. mono16 is what several drivers call their millimetres.
METRES_PER_UNIT = {"32FC1": 1.0, "16UC1": 0.001, "mono16": 0.001}
#: A median depth [m] beyond the first is taken for unscaled millimetres; below the second, for
#: metres that were scaled as millimetres. Robots' cameras see neither.
FAR_M, NEAR_M = 50.0, 0.005
#: A warning says so when a larger share of the returns lies outside the declared range.
CUT_SHARE = 0.2
#: Pixels looked at, evenly spread: enough for a median, cheap at any resolution.
_LOOKED_AT = 4096
#: Quantiles of the returns that a proposed range holds.
_MOST = (0.01, 0.99)


@dataclass(frozen=True, kw_only=True)
class DepthOptions(ImageOptions):
    """What is declared of a depth image beside the size of the network's input."""

    range_m: tuple[float, float] = (0.05, 5.0)
    """Depth outside this open interval [m] counts as no return."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "range_m", tuple(float(v) for v in self.range_m))
        good = len(self.range_m) == 2 and all(map(math.isfinite, self.range_m))
        if not (good and 0.0 <= self.range_m[0] < self.range_m[1]):
            raise ConfigError(f"range_m must be near and far in metres, got {list(self.range_m)}")


class DepthImage(ImageKind):
    """Depth of every pixel; 0 in a prepared sample is no return."""

    name = "depth_image"
    raw_sample = "(H, W) float32 metres along the optical axis; 0 or NaN = no return"
    channels = 1
    unit = "m"
    options = DepthOptions
    keys = (
        SIZE,
        FIT,
        Key(
            name="range_m",
            read=pair(number, "[0.05, 3.0]"),
            default=list(DepthOptions().range_m),
            description="Depth outside this interval [m] counts as no return.",
        ),
    )
    parameters = (
        Parameter(
            name="depth_scale",
            default=0.0,
            low=0.0,
            high=1000.0,
            live=True,
            description="Metres per unit; 0 = by encoding (32FC1 metres, 16 bit millimetres).",
        ),
        Parameter(
            name="color_min_m",
            default=0.0,
            low=0.0,
            high=1000.0,
            live=True,
            description="Depth at the near end of the coloured prediction [m].",
        ),
        Parameter(
            name="color_max_m",
            default=0.0,
            low=0.0,
            high=1000.0,
            live=True,
            description="Depth at its far end [m]; 0 = both ends of the model's range, 0 to 2 m.",
        ),
    )

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        near, far = modality.options.range_m
        low, high = max(0.3, near), min(1.0, far)
        if not low < high:  # a range of its own
            low, high = near + 0.25 * (far - near), far - 0.25 * (far - near)
        return rng.uniform(low, high, camera_size(modality)).astype(np.float32)

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.float32]:
        """Return (1, H, W) float32 m, the mean over pixels within the range, 0 where none is.

        Raises:
            SampleError: As always; 'empty' if no pixel lies within the declared range.
        """
        depth = np.ascontiguousarray(self._seen(modality, sample), np.float32)
        inside = _inside(modality, depth)
        if not inside.any():
            near, far = modality.options.range_m
            raise SampleError(
                modality.name,
                "empty",
                expected=f"a pixel between {near:g} and {far:g} m (the sensor's range_m)",
                got=_extent(depth),
                reason="empty",
            )
        whole = bool(inside.all())
        if not whole:
            returns = np.zeros_like(depth)
            np.copyto(returns, depth, where=inside)
            depth = returns
        size = modality.shape[2], modality.shape[1]
        if depth.shape != size[::-1]:
            weight: NDArray[Any] = (
                _weight_of_all(depth.shape, size)
                if whole
                else cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            )
            total = cv2.resize(depth, size, interpolation=cv2.INTER_AREA)
            mean = np.where(weight > 0, total / np.maximum(weight, 1e-6), np.float32(0.0))
            return mean[None].astype(np.float32, copy=False)
        return np.array(depth[None])  # the message's own memory, it may be

    def check_sample(self, modality: Modality, sample: NDArray[Any]) -> None:
        """Raise what `prepare` would; as a rule a few pixels show that some lie in range."""
        few = looked_at(self._seen(modality, sample)).astype(np.float32)
        if not _inside(modality, few).any():
            self.prepare(modality, sample)

    def _seen(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.floating]:
        """Return what the network sees of an image, at the camera's size."""
        if sample.ndim == 3 and sample.shape[2] == 1:
            sample = sample[:, :, 0]
        if sample.ndim != 2 or sample.dtype.kind != "f" or 0 in sample.shape:
            got = f"{sample.shape} {sample.dtype}"
            raise SampleError(modality.name, "image", expected=self.raw_sample, got=got)
        return self.cut(modality, sample)

    def clip(self, modality: Modality, si: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.maximum(si, 0.0)

    def measured(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.bool_]:
        return si > 0

    def proposed(self, seen: Seen) -> bool:
        if seen.message_type == CLOUD.message_type:
            return True
        return seen.message_type in (IMAGE.message_type, COMPRESSED.message_type) and shows_depth(
            seen
        )

    def proposed_beside(self, samples: list[NDArray[Any]]) -> tuple[dict[str, Any], list[str]]:
        """Return a range that holds all but the nearest and farthest hundredth of the returns."""
        returns = np.concatenate([looked_at(sample) for sample in samples])
        returns = returns[np.isfinite(returns) & (returns > 0)]
        if not returns.size:
            return {}, ["hardly any return"]
        low, high = (float(v) for v in np.quantile(returns, _MOST))
        near, far = math.floor(low * 20) / 20, rounded_up(high * 1.05)
        inside = float(((returns > near) & (returns < far)).mean())
        said = [
            f"{inside:.1%} of the returns lie within range_m, the median is "
            f"{np.median(returns):.3g} m"
        ]
        if not NEAR_M <= np.median(returns) <= FAR_M:
            said.append("another unit? then say depth_scale")
        return {"range_m": [near, far]}, said

    def content(self, modality: Modality) -> str:
        return "depth along the optical axis: 32FC1 in m, 16 bit in mm, 0 = no return"

    def notes(self, modality: Modality) -> str:
        return "metres along the optical axis, 0 = no return"

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.float32]:
        return np.ascontiguousarray(si[0])

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return IMAGE, COMPRESSED, CLOUD

    def predicted(self, modality: Modality) -> tuple[PredictedTopic, ...]:
        return *super().predicted(modality), COLORS

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when depth looks like another unit or frame, or the range cuts much of it."""
        looked = looked_at(sample)
        finite = looked[np.isfinite(looked)]
        if finite.size and (finite < 0).mean() > 0.01:
            return (
                "negative depth: is the cloud or image in the camera's optical frame (z forward)?"
            )
        returns = finite[finite > 0]
        if not returns.size:
            return ""  # those that there are were not looked at
        median = float(np.median(returns))
        if median > FAR_M:
            return f"median depth {median:.4g} m looks like millimetres: set depth_scale to 0.001"
        if median < NEAR_M:
            return (
                f"median depth {median:.4g} m looks like metres read as millimetres: "
                "set depth_scale"
            )
        near, far = modality.options.range_m
        cut = float(((returns <= near) | (returns >= far)).mean())
        if cut > CUT_SHARE:
            return (
                f"{cut:.0%} of the returns lie outside the model's range, {near:.3g} to {far:g} m "
                f"(median {median:.3g} m): another unit, or a model for nearer scenes?"
            )
        return ""

    def shown(self, modality: Modality, sample: NDArray[Any]) -> Shown:
        """Return the part that the network sees; a pixel is one of the camera's, never a mean."""
        plane = sample[:, :, 0] if sample.ndim == 3 else sample
        depth = reduced(self.cut(modality, plane), cv2.INTER_NEAREST).astype(np.float32)
        near, far = modality.options.range_m
        inside = (depth > near) & (depth < far)
        return Shown(
            form="field",
            values=np.where(inside, depth, np.float32(np.nan)),
            unit=modality.unit,
            limits=self.shown_range(modality),
        )

    def shown_range(self, modality: Modality) -> tuple[float, float]:
        """Return 0 and the far end of the range [m]."""
        return 0.0, modality.options.range_m[1]

    def errors(
        self, modality: Modality, truth: NDArray[Any], predicted: NDArray[Any]
    ) -> dict[str, float]:
        """Return the mean absolute error over pixels with a return in the truth."""
        valid = truth > 0
        return {"mae_m": float(np.abs(predicted - truth)[valid].mean()) if valid.any() else np.nan}


def looked_at(sample: NDArray[Any]) -> NDArray[Any]:
    """Return some pixels, evenly spread."""
    flat = sample.reshape(-1)
    return flat[:: max(1, flat.size // _LOOKED_AT)]


@lru_cache(maxsize=16)
def _weight_of_all(shape: tuple[int, int], size: tuple[int, int]) -> NDArray[Any]:
    """Return the weights (H, W) of an image (H', W') whose pixels all lie within the range."""
    weight = cv2.resize(np.ones(shape, np.float32), size, interpolation=cv2.INTER_AREA)
    weight.flags.writeable = False
    return weight


def _inside(modality: Modality, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which numbers lie within the declared range."""
    near, far = modality.options.range_m
    return (depth > near) & (depth < far)  # NaN compares False


def _extent(depth: NDArray[np.float32]) -> str:
    returns = depth[np.isfinite(depth) & (depth > 0)]
    if not returns.size:
        return "no return at all"
    return f"returns from {returns.min():.4g} to {returns.max():.4g} m"


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return (H, W) float32 m of a depth message; 0, NaN and infinities mean no return and stay.

    Raises:
        ConversionError: If the encoding is not a depth one, sizes do not match, or no pixel has a
            return.
    """
    image = image_data.decode(modality.name, message, tuple(METRES_PER_UNIT))
    return _metres(modality.name, image, message.encoding, options)


def write(
    modality: Modality, message: Any, sample: NDArray[np.float32], options: ConversionOptions
) -> None:
    """Write (H, W) float32 m into an empty image message as 32FC1."""
    image_data.fill(message, np.asarray(sample, np.float32), ENCODING)


def fill_colors(modality: Modality, message: Any, prediction: Prediction) -> Any:
    """Write a predicted depth image in colours, as rgb8, into an empty message and return it."""
    set_header(message, prediction.stamp_ns, prediction.frame_id)
    shown = modality.family.shown_range(modality)
    assert shown is not None
    own = prediction.options.own
    limits = depth_color.limits_m(shown, own.get("color_min_m", 0.0), own.get("color_max_m", 0.0))
    image_data.fill(message, depth_color.colored(prediction.decode(), *limits), "rgb8")
    return message


def compressed_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return (H, W) float32 m of a CompressedImage: compressedDepth, or a PNG of 16 bits.

    Raises:
        ConversionError: See `compressed_image.decode_depth`; if no pixel has a return.
    """
    image, encoding = compressed_image.decode_depth(modality.name, message)
    return _metres(modality.name, image, encoding, options)


def write_compressed(
    modality: Modality, message: Any, sample: NDArray[np.float32], options: ConversionOptions
) -> None:
    """Write (H, W) float32 m into an empty CompressedImage as compressedDepth.

    With the loss that `compressed_depth.encode` states.
    """
    data = compressed_depth.encode(np.asarray(sample, np.float32))
    compressed_image.fill(message, data, "32FC1; compressedDepth png")


def cloud_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return (H, W) float32 m of an organised PointCloud2: z in its frame, an optical one.

    Raises:
        ConversionError: See `organised_cloud.depth`; if no point is before the camera.
    """
    image = organised_cloud.depth(modality.name, message)
    return _metres(modality.name, image, "32FC1", options)


def write_cloud(modality: Modality, *_: Any) -> None:
    """Refuse: points need a camera's intrinsics, which a sample of depth does not carry.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(
        f"modality '{modality.name}': point clouds are read, not written; "
        f"write {IMAGE.message_type}"
    )


def _metres(
    name: str, image: NDArray[Any], encoding: str, options: ConversionOptions
) -> NDArray[np.float32]:
    scale = options.depth_scale or METRES_PER_UNIT[encoding]
    if image.dtype == np.float32 and scale == 1.0:
        metres = image
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN mean no return
            metres = image.astype(np.float32) * np.float32(scale)
    # a few pixels decide nearly always
    if not (_has_return(metres[::16, ::16]) or _has_return(metres)):
        got = "0, negative, NaN or infinite everywhere"
        raise ConversionError(name, "empty", expected="a pixel before the camera", got=got)
    return metres


def _has_return(metres: NDArray[np.float32]) -> bool:
    return bool(((metres > 0) & (metres < np.inf)).any())


IMAGE = Converter("sensor_msgs/msg/Image", to_array, write, ENCODING)
COMPRESSED = Converter(
    "sensor_msgs/msg/CompressedImage", compressed_to_array, write_compressed, "compressedDepth"
)
CLOUD = Converter("sensor_msgs/msg/PointCloud2", cloud_to_array, write_cloud)
COLORS = PredictedTopic(
    "color/image",
    IMAGE.message_type,
    "the same in colours, rgb8, fixed limits in m",
    fill_colors,
)
register(DepthImage())
