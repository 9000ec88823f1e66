"""A value of another type than its parameter's is refused, with how to write it."""

from __future__ import annotations

from typing import Any

import pytest

from smvae_core.errors import ConfigError
from smvae_core.presets import vision_touch
from smvae_core.settings import complete, table


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("max_rate_hz", 30, "must be a float (write 30.0, not 30): got 30"),
        # a serial number such as 123E5, which YAML takes for a number
        ("modalities.rgb.frame_id", 123e5, "must be a str (a number in quotes): got 12300000.0"),
        ("modalities.rgb.enabled", 1, "must be a bool: got 1"),
    ],
)
def test_a_value_of_another_type_is_refused_with_how_to_write_it(
    name: str, value: Any, what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        complete(table(vision_touch(32)), {name: value})
    assert str(caught.value) == f"parameter {name} {what}"
