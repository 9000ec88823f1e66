"""Declared sets of modalities: the robot of the paper, and the image sets."""

from __future__ import annotations

from smvae_core.kinds.depth_image import DepthOptions
from smvae_core.kinds.image import ImageOptions
from smvae_core.kinds.signal import SignalOptions
from smvae_core.modality import Modality

#: Depth range [m] of the Vision&Touch loader.
VISION_TOUCH_RANGE_M = (1e-7, 2.0)


def vision_touch(side: int = 64) -> tuple[Modality, ...]:
    """Return the modalities of the paper's robot experiment (section 4.4), at `side` pixels."""
    wrench = ("force.x", "force.y", "force.z", "torque.x", "torque.y", "torque.z")
    return (
        Modality(
            name="rgb",
            kind="color_image",
            shape=(3, side, side),
            unit="1",
            options=ImageOptions(fit="stretch"),
            source="image",
        ),
        Modality(
            name="depth",
            kind="depth_image",
            shape=(1, side, side),
            unit="m",
            options=DepthOptions(range_m=VISION_TOUCH_RANGE_M, fit="stretch"),
            source="depth_data",
        ),
        Modality(
            name="force",
            kind="signal",
            shape=(6, 32),
            unit="N, N m",
            fields=wrench,
            options=SignalOptions(rate_hz=1000.0, below="wrench"),
            topic="wrench",
            source="ee_forces_continuous",
        ),
        Modality(
            name="action",
            kind="command",
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
