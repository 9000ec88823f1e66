"""From a bag's message definitions to decoders, one message type at a time, through rosbags.

Each type has definitions of its own: one that cannot be read spoils no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import shorten
from typing import Any

from smvae_core.errors import MissingDependency, did_you_mean, one_line

#: Definitions for bags that bring none (sqlite3 bags of Humble and older).
DEFAULT_TYPESTORE = "ros2_jazzy"
_EMPTY = "empty"
#: Of a parser's complaint, which quotes the whole definition.
_LONGEST = 200
#: Encodings of messages: of ROS 2, and of ROS 1.
CDR, ROS1 = "cdr", "ros1"

Decoder = Callable[[bytes], Any]
"""CDR bytes -> message; raises ValueError."""


def typestore(distribution: str) -> Any:
    """Return rosbags' types of a distribution, e.g. 'ros2_jazzy', or none at all: 'empty'.

    Raises:
        ValueError: If rosbags has none of that name.
        MissingDependency: If rosbags is not installed.
    """
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as err:
        raise MissingDependency("rosbags", "bags") from err
    known = [s.value for s in Stores if s.value.startswith("ros2_")]
    if distribution not in (*known, _EMPTY):
        hint = did_you_mean(distribution, known)
        raise ValueError(
            f"unknown typestore '{distribution}': rosbags has {', '.join(known)}.{hint}"
        )
    return get_typestore(Stores(distribution))


class MessageTypes:
    """Makes decoders; what the bag does not define is taken from a distribution."""

    def __init__(self, distribution: str) -> None:
        """Load a distribution's definitions, e.g. of 'ros2_humble'.

        Raises:
            ValueError: If rosbags has none of that name.
            MissingDependency: If rosbags is not installed.
        """
        self.distribution = distribution
        self._assumed = typestore(distribution)

    def decoder(
        self,
        message_type: str,
        definitions: Sequence[tuple[str, str]],
        type_hash: str,
        encoding: str = CDR,
    ) -> Decoder:
        """Return what decodes messages of a type.

        Args:
            message_type: E.g. 'sensor_msgs/msg/Image'.
            definitions: (format, text) of the type that the bag has, best first; may be empty.
            type_hash: RIHS01 that the definition must have; '' where none is known.
            encoding: Of the messages, `CDR` or `ROS1`.

        Raises:
            ValueError: If nobody defines the type, or the definition cannot be read or is another
                than that of the hash.
        """
        stored = next((d for d in definitions if d[0] in _PARSERS and d[1]), None)
        store = self._own(message_type, *stored, type_hash) if stored else self._assumed
        if message_type not in store.types:
            raise ValueError(
                f"no definition of {message_type}, neither in the bag nor in {self.distribution}"
            )
        hint = (
            ""
            if stored
            else (
                f"; the bag brings no definition and {self.distribution} was assumed: "
                "name the distribution that recorded it, e.g. ros2_humble"
            )
        )

        read = store.deserialize_cdr if encoding == CDR else store.deserialize_ros1

        def decode(data: bytes) -> Any:
            try:
                return read(data, message_type)
            except Exception as err:  # whatever foreign bytes lead to
                raise ValueError(f"{message_type}: {one_line(err)}{hint}") from err

        return decode

    def _own(self, message_type: str, form: str, text: str, type_hash: str) -> Any:
        store = typestore(_EMPTY)
        try:
            store.register(_PARSERS[form](text.replace("\r\n", "\n"), message_type))
            found = store.hash_rihs01(message_type)
        except Exception as err:  # foreign text makes the parser raise anything
            what = f"the bag's own definition of {message_type} cannot be read"
            raise ValueError(f"{what}: {shorten(one_line(err), _LONGEST)}") from err
        if type_hash and found != type_hash:
            what = f"{message_type}: hash mismatch, its definition has {found}"
            raise ValueError(f"{what}, the bag says {type_hash}")
        return store


def _from_msg(text: str, message_type: str) -> Any:
    from rosbags.typesys import get_types_from_msg

    return get_types_from_msg(text, message_type)


def _from_idl(text: str, message_type: str) -> Any:
    """Return the types of IDL, or of several files of it, each under a head line."""
    from rosbags.typesys import get_types_from_idl

    rule = "=" * 80 + "\n"
    if not text.startswith(f"{rule}IDL: "):
        return get_types_from_idl(text)
    found: dict[str, Any] = {}
    for part in text.split(rule)[1:]:
        found |= get_types_from_idl(part.partition("\n")[2])
    return found


_PARSERS = {"ros2msg": _from_msg, "ros1msg": _from_msg, "ros2idl": _from_idl, "omgidl": _from_idl}
