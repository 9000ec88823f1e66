"""Messages <-> SI arrays, one module per kind; the only implementation, live and offline.

Messages are duck-typed: those of rclpy and of rosbags have the same fields. No ROS is imported.
"""

from collections.abc import Sequence

from smvae_core.conversions import color_image, depth_image, force_window, vector
from smvae_core.conversions.base import ConversionError, ConversionOptions, Converter, stamp_ns
from smvae_core.conversions.image_data import decoder
from smvae_core.errors import ConfigError
from smvae_core.modality import Kind, Modality

#: The one table kind -> conversion.
CONVERTERS: dict[Kind, Converter] = {
    "color_image": color_image.CONVERTER,
    "depth_image": depth_image.CONVERTER,
    "force_window": force_window.CONVERTER,
    "vector": vector.CONVERTER,
}


def require_converters(modalities: Sequence[Modality]) -> None:
    """Refuse modalities that no message carries, as labels.

    Raises:
        ConfigError: If there is one.
    """
    for modality in modalities:
        if modality.kind not in CONVERTERS:
            raise ConfigError(
                f"modality '{modality.name}': no sensor message carries a {modality.kind}; a "
                f"robot's model has {', '.join(CONVERTERS)}"
            )


__all__ = [
    "CONVERTERS",
    "ConversionError",
    "ConversionOptions",
    "Converter",
    "decoder",
    "require_converters",
    "stamp_ns",
]
