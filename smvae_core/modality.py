"""THE place where modalities are declared.

A modality is one sensor channel. Its `kind` picks preprocessing (`preprocessing.py`), networks
(`model/networks.py`) and message conversion (`messages/`); nothing else in the code names a
modality. To add one: append it to a list here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, UnknownModality

Kind = Literal[
    "color_image", "depth_image", "grey_image", "force_window", "vector", "label", "attributes"
]
Likelihood = Literal["gaussian", "bernoulli", "categorical"]

#: Raw sample of each kind, in SI units, as sensors and episode files give it.
RAW_SAMPLE = {
    "color_image": "(H, W, 3) uint8, RGB",
    "depth_image": "(H, W) float32 metres along the optical axis; 0 or NaN = no return",
    "grey_image": "(H, W) uint8",
    "force_window": "(T, C) float32 N and N m, oldest first, one reading per millisecond",
    "vector": "(C,) float32, SI units",
    "label": "() integer class, 0 to C - 1",
    "attributes": "(C,) 0 or 1",
}

#: A name is also a part of topics, parameters and file names.
_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Number of dimensions of the network's input, by kind; of images 3.
_RANK = {"force_window": 2, "vector": 1, "label": 1, "attributes": 1}
#: Likelihoods that a kind can have; labels are categorical, attributes independent Bernoullis.
_LIKELIHOODS = {
    "color_image": ("gaussian", "bernoulli"),
    "grey_image": ("gaussian", "bernoulli"),
    "label": ("categorical",),
    "attributes": ("bernoulli",),
}
_SIDES = (28, 32, 64, 128)


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One sensor channel of the model."""

    name: str
    """Unique name such as 'left_camera', also the parameter and topic prefix on the robot."""
    kind: Kind
    """Family: picks preprocessing, networks and message conversion."""
    shape: tuple[int, ...]
    """Shape of the network's input and output: (C, H, W), (C, T) or (C,)."""
    unit: str
    """SI unit of the raw sample, one word per group of fields."""
    fields: tuple[str, ...] = ()
    """Name of each channel, e.g. 'force.x'; empty for images."""
    likelihood: Likelihood = "gaussian"
    """p(x_m given z): Gaussian with a learned scale per modality, Bernoulli per element (levels
    between 0 and 1 count as probabilities, as in MVAE), or categorical."""
    source: str = ""
    """Field of the data set that it is read from."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"modality '{self.name}': a name is a small letter and then small letters, digits "
                f"and underscores, such as 'left_camera'"
            )
        if self.kind not in get_args(Kind):
            raise ConfigError(
                f"modality '{self.name}': kind '{self.kind}' is not one of {get_args(Kind)}"
            )
        rank = _RANK.get(self.kind, 3)
        if len(self.shape) != rank or any(side < 1 for side in self.shape):
            raise ConfigError(
                f"modality '{self.name}': {self.kind} has {rank} dimensions, got {self.shape}"
            )
        if self.is_image and self.shape[1:] not in {(side, side) for side in _SIDES}:
            raise ConfigError(
                f"modality '{self.name}': images are {' or '.join(map(str, _SIDES))} square, "
                f"got {self.shape[1:]}"
            )
        possible = _LIKELIHOODS.get(self.kind, ("gaussian",))
        if self.likelihood not in possible:
            raise ConfigError(
                f"modality '{self.name}': likelihood of {self.kind} is {' or '.join(possible)}, "
                f"got '{self.likelihood}'"
            )
        if self.fields and len(self.fields) != self.shape[0]:
            raise ConfigError(
                f"modality '{self.name}': {len(self.fields)} fields, {self.shape[0]} channels"
            )

    @property
    def is_image(self) -> bool:
        return self.kind in ("color_image", "depth_image", "grey_image")

    @property
    def is_discrete(self) -> bool:
        """Whether p(x_m given z) is a probability, at most 1, rather than a density."""
        return self.kind in ("label", "attributes")

    @property
    def size(self) -> int:
        """Number of elements of one network input."""
        return int(np.prod(self.shape))

    def example(self, batch: int, seed: int = 0) -> NDArray[np.float32]:
        """Return a valid network input (batch, *shape) float32, the start of every model test."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        if self.is_image:
            return rng.random((batch, *self.shape), dtype=np.float32)
        if self.kind == "label":
            return np.eye(self.shape[0], dtype=np.float32)[rng.integers(self.shape[0], size=batch)]
        if self.kind == "attributes":
            return rng.integers(2, size=(batch, *self.shape)).astype(np.float32)
        return rng.standard_normal((batch, *self.shape), dtype=np.float32)

    def example_sample(self, seed: int = 0) -> NDArray[Any]:
        """Return a valid raw sample in SI units (see RAW_SAMPLE), at camera size for images."""
        rng = np.random.default_rng([seed, 1, *self.name.encode()])
        if self.kind == "color_image":
            return rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
        if self.kind == "depth_image":
            return rng.uniform(0.3, 1.0, (128, 128)).astype(np.float32)
        if self.kind == "grey_image":
            return rng.integers(0, 256, (128, 128), dtype=np.uint8)
        if self.kind == "label":
            return np.asarray(rng.integers(self.shape[0]))
        if self.kind == "attributes":
            return rng.integers(2, size=self.shape)
        if self.kind == "force_window":
            return rng.normal(0.0, 3.0, self.shape[::-1]).astype(np.float32)
        return rng.normal(0.0, 0.01, self.shape).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Modality:
        values = dict(data)
        values["shape"] = tuple(values["shape"])
        values["fields"] = tuple(values.get("fields", ()))
        return cls(**values)


def vision_touch(side: int = 64) -> tuple[Modality, ...]:
    """Return the modalities of the paper's robot experiment (section 4.4), at `side` pixels."""
    wrench = ("force.x", "force.y", "force.z", "torque.x", "torque.y", "torque.z")
    return (
        Modality(name="rgb", kind="color_image", shape=(3, side, side), unit="1", source="image"),
        Modality(
            name="depth", kind="depth_image", shape=(1, side, side), unit="m", source="depth_data"
        ),
        Modality(
            name="force",
            kind="force_window",
            shape=(6, 32),
            unit="N, N m",
            fields=wrench,
            source="ee_forces_continuous",
        ),
        Modality(
            name="action",
            kind="vector",
            shape=(4,),
            unit="m, rad",
            fields=("linear.x", "linear.y", "linear.z", "angular.z"),
            source="action",
        ),
    )


VISION_TOUCH = vision_touch()


def _image_and_label(classes: tuple[str, ...]) -> tuple[Modality, ...]:
    return (
        Modality(
            name="image",
            kind="grey_image",
            shape=(1, 28, 28),
            unit="1",
            likelihood="bernoulli",
            source="image",
        ),
        Modality(
            name="label",
            kind="label",
            shape=(len(classes),),
            unit="1",
            fields=classes,
            likelihood="categorical",
            source="label",
        ),
    )


MNIST = _image_and_label(tuple("0123456789"))
FASHION = _image_and_label(
    (
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
)

#: The 18 attributes of MVAE's CelebA experiment, in the order of list_attr_celeba.txt.
CELEBA_ATTRIBUTES = (
    "Bald",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Gray_Hair",
    "Heavy_Makeup",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Pale_Skin",
    "Receding_Hairline",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Hat",
)
CELEBA = (
    Modality(
        name="image",
        kind="color_image",
        shape=(3, 64, 64),
        unit="1",
        likelihood="bernoulli",
        source="image",
    ),
    Modality(
        name="attributes",
        kind="attributes",
        shape=(18,),
        unit="1",
        fields=CELEBA_ATTRIBUTES,
        likelihood="bernoulli",
        source="attributes",
    ),
)


def vision_tasks(side: int = 64) -> tuple[Modality, ...]:
    """Return the six modalities of the paper's computer-vision experiment (section 4.3)."""
    color = ("image", "occluded", "watermarked")
    return tuple(
        Modality(
            name=name,
            kind="color_image" if name in color else "grey_image",
            shape=(3 if name in color else 1, side, side),
            unit="1",
            likelihood="bernoulli",
            source=name,
        )
        for name in ("image", "grey", "edges", "mask", "occluded", "watermarked")
    )


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
