"""How the messages of one modality are read: conversion, options, expected frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from smvae_core.errors import SampleError, SMVAEError, Unforeseen
from smvae_core.kinds import Converter
from smvae_core.messages import ConversionError, ConversionOptions
from smvae_core.modality import Modality

#: What says that one message is bad, and that the next may be good.
REFUSALS = (ConversionError, SampleError)


@dataclass(frozen=True, kw_only=True)
class Source:
    """How the messages of one modality are read."""

    converter: Converter
    """For the message type that its topic carries."""
    options: ConversionOptions = field(default_factory=ConversionOptions)
    frame_id: str = ""
    """Frame that its messages must have; '' = any."""

    def of_others(self, modality: Modality, message: Any) -> str:
        """Return what a message on a shared topic is of, if it is nothing of this sensor.

        Else, and where it cannot be told, ''.
        """
        told = self.converter.of_others
        try:
            return told(modality, message, self.options) if told else ""
        except Exception:  # whatever it is, `read` says why
            return ""

    def moved(self, modality: Modality, first: Any, message: Any) -> str:
        """Return how a message is laid out otherwise than its sensor's first one, or ''."""
        try:
            return self.converter.moved(modality, first, message) if self.converter.moved else ""
        except Exception:  # whatever it is, `read` says why
            return ""

    def read(self, modality: Modality, message: Any) -> NDArray[Any]:
        """Return a message as a raw sample in SI units; of a window: one reading (C,).

        Raises:
            ConversionError: If the message is not what the modality declares.
            Unforeseen: If its conversion fails without saying why.
        """
        try:  # as `refusing`, without a context manager for each of 1000 readings per second
            return self.converter.to_array(modality, message, self.options)
        except SMVAEError:
            raise
        except Exception as err:
            raise Unforeseen(modality.name, err) from err
