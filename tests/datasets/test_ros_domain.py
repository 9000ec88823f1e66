"""No two processes of a machine get one ROS domain, nor one that somebody is on."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator

import pytest

from smvae_datasets.simulation import ros_domain
from smvae_datasets.simulation.ros_domain import KEPT, LAST_DOMAIN, free_domain

#: Takes a domain of those given, says which, and waits to be ended.
OTHER = (
    "import itertools, sys; from smvae_datasets.simulation import ros_domain; "
    "ros_domain._order = itertools.cycle(map(int, sys.argv[1:])); "
    "print(ros_domain.free_domain(), flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def nothing_claimed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    claims: deque[socket.socket] = deque()
    monkeypatch.setattr(ros_domain, "_claims", claims)
    yield
    for claim in claims:
        claim.close()


def only(monkeypatch: pytest.MonkeyPatch, *domains: int) -> None:
    monkeypatch.setattr(ros_domain, "_order", itertools.cycle(domains))


def test_what_another_process_has_is_not_given_until_it_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = free_domain(), free_domain()
    for claim in ros_domain._claims:
        claim.close()
    words = [sys.executable, "-c", OTHER, str(first), str(second)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        rest = second if taken == first else first
        only(monkeypatch, taken, rest)
        assert free_domain() == rest
        other.kill()
    assert free_domain() == taken


def test_a_domain_that_somebody_is_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, other = free_domain(), free_domain()
    for claim in ros_domain._claims:
        claim.close()
    only(monkeypatch, taken, other)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("127.0.0.1", 7400 + 250 * taken + 10 + 2 * 3))  # the fourth one's
        assert free_domain() == other
        with pytest.raises(RuntimeError, match="all ROS domains from 1 to 101 are taken"):
            free_domain()
    assert free_domain() == taken


def test_a_process_may_take_more_than_there_are() -> None:
    given = [free_domain() for _ in range(2 * LAST_DOMAIN)]
    for start in range(len(given) - KEPT):
        assert len(set(given[start : start + KEPT])) == KEPT
