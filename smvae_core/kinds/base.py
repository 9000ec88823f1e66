"""What a kind is: all that is particular to one family of sensors, on the robot's side.

A kind has no state. Its methods take the declared sensor (`smvae_core.modality.Modality`) first and
read its shape, fields and options. A new kind is one file in this folder, one file in
`smvae_core/model/networks/`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key
from smvae_core.errors import ConfigError, SampleError, did_you_mean
from smvae_core.kinds.proposal import Proposal, Seen
from smvae_core.kinds.shown import Shown
from smvae_core.messages.base import set_header
from smvae_core.parameter import Parameter
from smvae_core.reads import Reads

if TYPE_CHECKING:
    from smvae_core.messages.base import ConversionOptions
    from smvae_core.modality import Modality

#: Spelling of a likelihood p(x_m given z); `smvae_core/model/distributions.py` has the densities.
GAUSSIAN, BERNOULLI, CATEGORICAL, HURDLE = "gaussian", "bernoulli", "categorical", "hurdle"


@dataclass(frozen=True)
class Converter:
    """Messages of one type <-> SI array of one kind."""

    message_type: str
    """ROS type, e.g. 'sensor_msgs/msg/Image'."""
    to_array: Callable[[Modality, Any, ConversionOptions], NDArray[Any]]
    """(modality, message, options) -> sample; raises ConversionError."""
    write: Callable[[Modality, Any, NDArray[Any], ConversionOptions], None]
    """(modality, empty message, sample, options): writes all but the header."""
    encoding: str = ""
    """Of the image messages that `write` makes."""
    of_others: Callable[[Modality, Any, ConversionOptions], str] | None = None
    """(modality, message, options) -> what a message on a shared topic is of, if it is nothing of
    this sensor, else ''; None = the sensor has its topic for itself."""
    moved: Callable[[Modality, Any, Any], str] | None = None
    """(modality, its first message, message) -> how the same place in both is not the same place of
    the world, else ''; None = messages do not tell."""

    def fill(
        self,
        modality: Modality,
        message: Any,
        sample: NDArray[Any],
        stamp_ns: int,
        frame_id: str,
        options: ConversionOptions,
    ) -> Any:
        """Write sample, stamp and frame into an empty message and return it."""
        set_header(message, stamp_ns, frame_id)
        self.write(modality, message, sample, options)
        return message


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What messages of one sensor's prediction are made of."""

    decode: Callable[[], NDArray[Any]]
    """Returns it in the raw sample's layout; costs a run of the decoder when first called."""
    stamp_ns: int
    frame_id: str
    options: ConversionOptions
    """As for the sensor's own messages."""
    camera_info: Any = None
    """Of the sensor; None = none has come."""


@dataclass(frozen=True)
class PredictedTopic:
    """One topic of what the model predicts of a sensor: `~/predicted/<sensor>/<name>`."""

    name: str
    """'' = `~/predicted/<sensor>` itself."""
    message_type: str
    content: str
    """What its messages hold, for the table of topics."""
    fill: Callable[[Modality, Any, Prediction], Any]
    """Fills an empty message and returns it; returns None where there is nothing to say."""


def fill_sample(modality: Modality, message: Any, prediction: Prediction) -> Any:
    """Write a prediction into an empty message of the sensor's first type and return it."""
    return modality.family.converters(modality)[0].fill(
        modality,
        message,
        prediction.decode(),
        prediction.stamp_ns,
        prediction.frame_id,
        prediction.options,
    )


#: Messages queued of a topic on which others publish too, e.g. each controller its own joints.
SHARED_DEPTH = 10


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """Of a kind that has nothing to declare."""


class Kind:
    """One family of sensors. Every attribute and method has the answer of the simplest kind.

    Shapes: H, W of an image; C channels; T readings; N records.
    """

    name: ClassVar[str]
    raw_sample: ClassVar[str]
    """Raw sample in SI units, as sensors and episode files give it."""
    rank: ClassVar[int] = 1
    """Number of dimensions of the network's input."""
    likelihoods: ClassVar[tuple[str, ...]] = (GAUSSIAN,)
    """Likelihoods that it can have, the default first."""
    options: ClassVar[type[Any]] = NoOptions
    """Frozen dataclass of what is declared of a sensor beside its shape, kept in the manifest."""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    """Parameters of the node that only sensors of this kind have."""
    keys: ClassVar[tuple[Key, ...] | None] = None
    """Keys of robot.yaml that only sensors of this kind have; None = no robot has such a sensor."""

    is_image: ClassVar[bool] = False
    """Whether samples are pictures (C, H, W) that a person can look at."""
    is_discrete: ClassVar[bool] = False
    """Whether p(x_m given z) is a probability, at most 1, rather than a density."""
    is_window: ClassVar[bool] = False
    """Whether a sample is made of many messages: readings (C,) that are converted as they come."""
    is_standardised: ClassVar[bool] = False
    """Whether `normalise` subtracts the training mean and divides by its deviation, per channel."""
    floor: ClassVar[float] = 1e-6
    """Smallest deviation that divides [SI unit]: a channel that never moved cannot blow up."""

    kept: ClassVar[int] = 2048
    """Messages that a channel keeps: 256 ms at 8 kHz."""
    may_follow: ClassVar[bool] = False
    """Whether a sample a little later than the reference may stand for it."""
    any_message: ClassVar[bool] = False
    """Whether any message type will do that has the declared fields."""
    queue_depth: ClassVar[int] = 1
    """Messages that the middleware queues: a longer queue only adds latency."""
    rate: ClassVar[str] = "as it comes"
    """Rate of its topic, for the table of topics."""

    def depth(self, converter: Converter) -> int:
        """Return how many messages the middleware queues of a topic.

        One that others may share keeps theirs too: of a burst the sensor's own must not be lost.
        """
        return max(self.queue_depth, SHARED_DEPTH if converter.of_others else 1)

    # --- declaration -----------------------------------------------------------------------------

    def check(self, modality: Modality) -> None:
        """Refuse a declaration that no network can take.

        Raises:
            ConfigError: Says what is wrong and what would be right.
        """

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        """Return what a robot's declaration makes of a sensor: arguments of `Modality`.

        Shape, unit, and, where the kind has them, fields and options.

        Args:
            values: Of every one of `keys`, by name.
            message_type: That the channel names, '' = it names none; None = a column of a data
                set, which no message carries.

        Raises:
            ConfigError: If the values do not fit together.
        """
        raise NotImplementedError(f"{self.name} has keys but does not read them")

    def declaration(self, modality: Modality) -> dict[str, Any]:
        """Return the value of every one of `keys` that declares a sensor; `declare` inverted."""
        raise NotImplementedError(f"{self.name} has keys but does not write them")

    def propose(self, seen: Seen) -> Proposal | None:
        """Return how a topic of a recording would be declared; None = such messages are another's.

        Raises:
            ConfigError: If it reads messages of that type, but not these; says why.
        """
        return None

    def pace(
        self, modality: Modality, rate_hz: float, settings: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Return why messages at a rate make no sample, and what is odd about it; '' = nothing.

        Args:
            modality: The sensor.
            rate_hz: Of its messages; 0 = unknown.
            settings: Parameters of the node that the declaration says of it.
        """
        return "", ""

    def example(self, modality: Modality, batch: int, rng: np.random.Generator) -> NDArray[Any]:
        """Return a valid network input (batch, *shape)."""
        return rng.standard_normal((batch, *modality.shape), dtype=np.float32)

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        """Return a valid raw sample, at camera size for images."""
        return rng.normal(0.0, 0.01, modality.shape).astype(np.float32)

    # --- raw sample -> network input -> SI units -------------------------------------------------

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[Any]:
        """Return one raw sample as a compact array of `modality.shape`.

        Raises:
            SampleError: If shape, dtype or values are not what the kind declares.
        """
        if sample.dtype.kind not in "fiu":
            raise SampleError(modality.name, "dtype", expected="a number", got=sample.dtype)
        if sample.shape != modality.shape:
            raise SampleError(modality.name, "shape", expected=modality.shape, got=sample.shape)
        return finite_floats(modality, sample)

    def check_sample(self, modality: Modality, sample: NDArray[Any]) -> None:
        """Raise what `prepare` would raise of a raw sample; kinds may have a shorter way.

        Raises:
            SampleError: See `prepare`.
        """
        self.prepare(modality, sample)

    def uncut(self, modality: Modality) -> Modality:
        """Return it without what is declared to be cut from a raw sample, see `Modality.uncut`."""
        return modality

    def constants(
        self, modality: Modality
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Return fixed (offset, scale) that normalise a prepared sample; None = it stays as it is.

        Of a kind that is not standardised.
        """
        return None

    def clip(self, modality: Modality, si: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a reconstruction (..., *shape) in SI units, within what the unit can be."""
        return si

    def measured(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which elements of samples (..., *shape) in SI units were measured at all."""
        return np.ones(si.shape, bool)

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[Any]:
        """Return one sample (*shape) in SI units in the raw sample's layout and type."""
        return si

    # --- messages --------------------------------------------------------------------------------

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        """Return its conversions, the default first; none = no message carries the kind."""
        return ()

    def converter(self, modality: Modality, message_type: str = "") -> Converter:
        """Return the conversion from a message type; '' = the default.

        The array of a sample does not depend on the message type that carried it.

        Raises:
            ConfigError: If no message carries the kind, or not this type; names those that do.
        """
        found = self.converters(modality)
        if not found:
            raise ConfigError(
                f"modality '{modality.name}': no sensor message carries a {self.name}"
            )
        for each in found:
            if message_type in ("", each.message_type):
                return each
        types = [each.message_type for each in found]
        raise ConfigError(
            f"modality '{modality.name}': a {self.name} is read from {', '.join(types)}, "
            f"got '{message_type}'.{did_you_mean(message_type, types)}"
        )

    def predicted(self, modality: Modality) -> tuple[PredictedTopic, ...]:
        """Return the topics of its predictions; none = no message carries the kind."""
        return tuple(
            PredictedTopic("", first.message_type, self.prediction(modality), fill_sample)
            for first in self.converters(modality)[:1]
        )

    def prediction(self, modality: Modality) -> str:
        """Return what messages of its predictions hold, for the table of topics."""
        return f"prediction of {modality.name} [{modality.unit}]"

    def content(self, modality: Modality) -> str:
        """Return what its messages hold, for the table of topics."""
        return self.raw_sample

    def notes(self, modality: Modality) -> str:
        """Return the conventions that no message carries, for ModelInfo."""
        return self.raw_sample

    def reads(self, modality: Modality) -> Reads:
        """Return which numbers of a message it reads; by default all that there are."""
        return Reads(modality.name)

    def default_topic(self, modality: Modality) -> str:
        """Return the relative topic that is listened to where none is declared."""
        return modality.name

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Return '' or what looks wrong with a sample in SI units, as one phrase for a warning.

        Such a sample is used, and the robot's operator is told; what cannot be used at all its
        conversion has refused. Of a window `sample` may be a single reading.
        """
        return ""

    # --- fusion ----------------------------------------------------------------------------------

    def span_s(self, modality: Modality) -> float:
        """Return the time that one sample covers [s]."""
        return 0.0

    def spacing_s(self, modality: Modality) -> float:
        """Return how far apart samples count for memory that are fused into no moment [s].

        Of a sensor of 100 Hz all, though its stamps jitter.
        """
        return 0.009

    def assemble(
        self,
        modality: Modality,
        stamps_ns: NDArray[np.int64],
        values: Sequence[Any],
        min_samples: int,
    ) -> Any:
        """Return the sample that ends with the last of the messages kept, oldest first.

        Raises:
            SampleError: If it is not covered yet; a window only.
        """
        return values[-1]

    # --- what people and scores look at ----------------------------------------------------------

    def shown_range(self, modality: Modality) -> tuple[float, float] | None:
        """Return the values of the first and last colour that an image is shown in [SI unit].

        None = it is shown as it is, or is no image.
        """
        return None

    def shown(self, modality: Modality, sample: NDArray[Any]) -> Shown:
        """Return what a person is shown of a sample in the raw sample's layout.

        By default each channel is a curve; a sample may also be a single reading of a window.
        """
        names = modality.fields or tuple(map(str, range(modality.shape[0])))
        values = np.asarray(sample, np.float32).reshape(-1, len(names))
        return Shown(form="curves", values=values, names=names, unit=modality.unit)

    def errors(
        self, modality: Modality, truth: NDArray[Any], predicted: NDArray[Any]
    ) -> dict[str, float]:
        """Return the errors of predictions (N, *shape) in units a user knows, unit in the name.

        By default the root mean squared error of each group of fields.
        """
        return {
            f"rmse_{name}": float(np.sqrt(np.square(predicted[:, rows] - truth[:, rows]).mean()))
            for name, rows in field_groups(modality).items()
        }

    def second_differences(self, modality: Modality, x: NDArray[Any]) -> NDArray[Any] | None:
        """Return second differences of network inputs (N, *shape) between neighbours.

        None for a kind without neighbours. Their energy is the texture of `novelty/scale.py`.
        """
        return None

    def slowed(self, modality: Modality, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return network inputs (N, *shape) as sensors of several rates would have given them."""
        return [x]

    def features(self, modality: Modality, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return low-dimensional features (N, F) of network inputs, for nearest neighbours."""
        return x.reshape(len(x), -1)


def finite_floats(modality: Modality, array: NDArray[Any]) -> NDArray[np.float32]:
    """Return an array as contiguous float32.

    Raises:
        SampleError: If a number is not finite.
    """
    if not np.isfinite(array).all():
        raise SampleError(modality.name, "values", expected="finite numbers", got="NaN or infinity")
    return np.ascontiguousarray(array, dtype=np.float32)


def field_groups(modality: Modality) -> dict[str, list[int]]:
    """Return the channels of each unit, e.g. {'force_N': [0, 1, 2], 'torque_Nm': [3, 4, 5]}.

    Fields are named 'group.axis'; the n-th word of the modality's unit belongs to the n-th group.
    """
    units = [unit.replace(" ", "") for unit in modality.unit.split(",")]
    channels = modality.shape[0]
    names = [field.partition(".")[0] for field in modality.fields] or ["all"] * channels
    groups = list(dict.fromkeys(names))
    if len(groups) != len(units):
        return {f"all_{'_'.join(units)}": list(range(channels))}
    return {
        f"{group}_{unit}": [i for i, name in enumerate(names) if name == group]
        for group, unit in zip(groups, units, strict=True)
    }


def beyond(values: NDArray[Any], limit: float, unit: str) -> str:
    """Return '' or a warning that a value is beyond a limit, as another unit would be."""
    largest = float(np.abs(values).max())
    return "" if largest <= limit else f"{largest:.4g} {unit} is beyond {limit:g}: another unit?"
