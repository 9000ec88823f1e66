"""Which packages read images and point clouds here: found before the first message comes.

Finding out takes seconds, since they are tried on known data, and what is wrong with them belongs
in the node's own log and diagnostics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smvae_core.kinds import Converter
from smvae_core.messages import decoder, organised_cloud

#: The message type that the cloud reader is for.
CLOUD = "sensor_msgs/msg/PointCloud2"


@dataclass(frozen=True)
class Readers:
    """Names, and what is not used and why ('' = nothing to tell)."""

    image: str
    """Packages, e.g. 'cv_bridge, rosbags-image'."""
    image_note: str
    cloud: str = ""
    """Package; '' where no modality is read from a cloud, so that it was not tried."""
    cloud_note: str = ""


def find_readers(converters: Sequence[Converter]) -> Readers:
    """Return what reads the messages of these converters; tried once in a process.

    Raises:
        MissingDependency: If no image decoder works here.
        ConfigError: If those that work leave an encoding to nobody.
    """
    image, _, image_note = decoder()
    if all(c.message_type != CLOUD for c in converters):
        return Readers(image, image_note)
    cloud, _, cloud_note = organised_cloud.reader()
    return Readers(image, image_note, cloud, cloud_note)
