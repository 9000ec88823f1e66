"""A modality: one sensor channel of the model, declared.

Its kind (`smvae_core/kinds/`) is all that is particular to its family; declared sets stand in
`smvae_core/presets.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core import kinds
from smvae_core.errors import ConfigError, UnknownModality, did_you_mean
from smvae_core.kinds import Kind
from smvae_core.kinds.format_1 import FORMAT_1

#: A name is also a part of topics, parameters and file names.
#: Letters of a name.
LONGEST_NAME = 64
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One sensor channel of the model."""

    name: str
    """Unique name such as 'left_camera', also the parameter and topic prefix on the robot."""
    kind: str
    """Family, by name: picks everything that is particular to it."""
    shape: tuple[int, ...]
    """Shape of the network's input and output: (C, H, W), (C, T) or (C,)."""
    unit: str
    """SI unit of the raw sample, one word per group of fields."""
    fields: tuple[str, ...] = ()
    """Name of each channel, e.g. 'force.x'; empty for images."""
    likelihood: str = ""
    """p(x_m given z): 'gaussian' with a learned scale per modality, 'bernoulli' per element (levels
    between 0 and 1 count as probabilities, as in MVAE), 'categorical', or 'hurdle'; '' = the
    kind's own."""
    options: Any = None
    """What the kind lets be declared beside, an instance of its options (a mapping of them will
    do); None = its defaults."""
    topic: str = ""
    """Relative topic that it is read from unless a robot says otherwise; '' = the kind's own."""
    message_type: str = ""
    """ROS type that it is read from unless a robot says otherwise; '' = the kind's first."""
    source: str = ""
    """Field of the data set that it is read from."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"modality '{self.name}': a name is a small letter and then small letters, digits "
                f"and underscores, such as 'left_camera'"
            )
        if len(self.name) > LONGEST_NAME:  # files and topics are named by it
            raise ConfigError(
                f"modality '{self.name}': a name has at most {LONGEST_NAME} letters, "
                f"got {len(self.name)}"
            )
        try:
            family = self.family
            options = _options(family, self.options)
        except ConfigError as err:
            raise ConfigError(f"modality '{self.name}': {err}") from err
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "likelihood", self.likelihood or family.likelihoods[0])
        if any(side < 1 for side in self.shape):
            raise ConfigError(
                f"modality '{self.name}': each size of it must be at least 1, got {self.shape}"
            )
        if len(self.shape) != family.rank:
            raise ConfigError(
                f"modality '{self.name}': {self.kind} has {family.rank} dimensions, "
                f"got {self.shape}"
            )
        if self.likelihood not in family.likelihoods:
            raise ConfigError(
                f"modality '{self.name}': likelihood of {self.kind} is "
                f"{' or '.join(family.likelihoods)}, got '{self.likelihood}'"
            )
        if self.fields and len(self.fields) != self.shape[0]:
            raise ConfigError(
                f"modality '{self.name}': {len(self.fields)} fields, {self.shape[0]} channels"
            )
        family.check(self)

    @property
    def family(self) -> Kind:
        """What its kind is."""
        return kinds.kind(self.kind)

    @property
    def uncut(self) -> Modality:
        """It for samples that are in the network's view already: predictions, prepared samples.

        A raw sample of such a one is converted, compared and shown without its crop.
        """
        return self.family.uncut(self)

    @property
    def is_image(self) -> bool:
        return self.family.is_image

    @property
    def is_discrete(self) -> bool:
        """Whether p(x_m given z) is a probability, at most 1, rather than a density."""
        return self.family.is_discrete

    @property
    def has_noise(self) -> bool:
        """Whether its likelihood has a scale to learn."""
        return self.likelihood in ("gaussian", "hurdle")

    @property
    def size(self) -> int:
        """Number of elements of one network input."""
        return int(np.prod(self.shape))

    @property
    def default_topic(self) -> str:
        """Relative topic that it is read from unless a robot says otherwise."""
        return self.topic or self.family.default_topic(self)

    def converter(self, message_type: str = "") -> kinds.Converter:
        """Return the conversion from a message type, see `Kind.converter`; '' = as declared.

        Raises:
            ConfigError: If no message carries the kind, or not this type.
        """
        return self.family.converter(self, message_type or self.message_type)

    @property
    def message_types(self) -> tuple[str, ...]:
        """Message types that it is read from, the default first."""
        return tuple(found.message_type for found in self.family.converters(self))

    def plausibility(self, sample: NDArray[Any]) -> str:
        """Return '' or what looks wrong with a raw sample, see `Kind.plausibility`."""
        values = np.asarray(sample)
        return self.family.plausibility(self, values) if values.size else "no values"

    def example(self, batch: int, seed: int = 0) -> NDArray[np.float32]:
        """Return a valid network input (batch, *shape) float32, the start of every model test."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        return self.family.example(self, batch, rng)

    def example_sample(self, seed: int = 0) -> NDArray[Any]:
        """Return a valid raw sample in SI units (`Kind.raw_sample`), at camera size for images."""
        rng = np.random.default_rng([seed, 1, *self.name.encode()])
        return self.family.example_sample(self, rng)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Modality:
        """Rebuild a declaration, also one of format 1, which had no options."""
        values = dict(data)
        if "options" not in values:
            values |= FORMAT_1.get(values["kind"], {})
        values["shape"] = tuple(values["shape"])
        values["fields"] = tuple(values.get("fields", ()))
        return cls(**values)


def _options(family: Kind, given: Any) -> Any:
    """Return an instance of the kind's options.

    Raises:
        ConfigError: If it has no option of a name, or a value cannot be.
    """
    if isinstance(given, family.options):
        return given
    known = tuple(family.options.__dataclass_fields__)
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"options of {family.name} are {family.options.__name__}, got {given!r}")
    for name in given or ():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ConfigError(
                f"{family.name} has no option '{name}', has {listed}.{did_you_mean(name, known)}"
            )
    return family.options(**(given or {}))


def require_messages(modalities: tuple[Modality, ...]) -> None:
    """Refuse modalities that no message carries, as labels.

    Raises:
        ConfigError: If there is one.
    """
    for modality in modalities:
        modality.converter()


def find(modalities: tuple[Modality, ...], name: str) -> Modality:
    """Return the modality called `name`.

    Raises:
        UnknownModality: If there is none.
    """
    for modality in modalities:
        if modality.name == name:
            return modality
    raise UnknownModality(name, [m.name for m in modalities])


def all_subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return all 2^M - 1 non-empty subsets, smallest first, each in declared order."""
    return [s for n in range(1, len(names) + 1) for s in combinations(names, n)]


def subset_name(subset: tuple[str, ...]) -> str:
    """Return the one spelling of a subset used in reports and JSON, e.g. 'force+action'."""
    return "+".join(subset)
