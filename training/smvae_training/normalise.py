"""Normalisation of a batch on the device, equal to `smvae_core.preprocessing.normalise`.

The numpy function is the definition; this one exists because a GPU should get uint8 images, a
quarter of the bytes. A test holds the two equal for every kind.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics, is_standardised


class BatchNormaliser(nn.Module):
    """Prepared samples (B, *shape) -> float32 network input, per modality, on any device."""

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        statistics: Mapping[str, Statistics],
        channels_last: bool = False,
    ) -> None:
        """Store the statistics as buffers, so that they move with the module.

        Raises:
            ConfigError: If a modality has no statistics or the wrong number of channels.
        """
        super().__init__()
        self._modalities = {m.name: m for m in modalities}
        self._tanh = {name for name, s in statistics.items() if s.force_scaling == "tanh"}
        self._channels_last = channels_last
        for modality in modalities:
            if modality.name not in statistics:
                raise ConfigError(f"no statistics for modality '{modality.name}'")
            self._register(modality, statistics[modality.name])

    def _register(self, modality: Modality, statistics: Statistics) -> None:
        if not is_standardised(modality):
            return
        channels = modality.shape[0]
        if len(statistics.mean) != channels:
            raise ConfigError(
                f"modality '{modality.name}': statistics of {len(statistics.mean)} channels "
                f"for {channels}"
            )
        shape = (-1,) + (1,) * (len(modality.shape) - 1)
        for what, values in (("mean", statistics.mean), ("scale", statistics.scale)):
            buffer = torch.tensor(values, dtype=torch.float32).reshape(shape)
            self.register_buffer(f"{modality.name}_{what}", buffer, persistent=False)

    def forward(self, prepared: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._one(name, x) for name, x in prepared.items()}

    def _one(self, name: str, x: Tensor) -> Tensor:
        modality = self._modalities[name]
        x = x.to(torch.float32)
        if modality.kind in ("color_image", "grey_image"):
            x = x / 255.0
        elif name in self._tanh:
            return torch.tanh(x)
        elif is_standardised(modality):
            mean: Tensor = self.get_buffer(f"{name}_mean")
            return (x - mean) / self.get_buffer(f"{name}_scale")
        if modality.is_image and self._channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x
