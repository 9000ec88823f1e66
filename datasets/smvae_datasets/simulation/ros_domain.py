"""ROS domains for runs beside each other on one machine: tests, the demo, measurements."""

from __future__ import annotations

import itertools
import random
import socket
from collections import deque

#: Domains above this use ports that Linux hands out to anyone.
LAST_DOMAIN = 101
#: So many of the domains that a process took are its own, whether anything is on them or not.
KEPT = 20
#: Ports of a domain's participants by the DDS standard: of the domain, of the first, to the next.
_FIRST_PORT, _PER_DOMAIN, _PER_PARTICIPANT, _PARTICIPANTS = 7410, 250, 2, 10

#: In an order of its own, so that what lingers on a domain is met as late as can be.
_order = itertools.cycle(random.SystemRandom().sample(range(1, LAST_DOMAIN + 1), LAST_DOMAIN))
_claims: deque[socket.socket] = deque()


def free_domain() -> int:
    """Return a ROS domain that no participant is on, and that no other process of here was given.

    It is this process's until it took `KEPT` others, and as long as any participant is on it.

    Raises:
        RuntimeError: If every domain is taken.
    """
    while len(_claims) >= KEPT:
        _claims.popleft().close()
    for domain in itertools.islice(_order, LAST_DOMAIN):
        if (claim := _claimed(domain)) is None:
            continue
        if _is_silent(domain):
            _claims.append(claim)
            return domain
        claim.close()
    raise RuntimeError(
        f"all ROS domains from 1 to {LAST_DOMAIN} are taken on this machine: end the ROS processes "
        "that are left over"
    )


def _claimed(domain: int) -> socket.socket | None:
    """Return what keeps a domain for this process, None = another has it.

    A name that the kernel gives once and takes back when the process ends, however it ends.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0smvae-ros-domain-{domain}")
    except OSError:
        claim.close()
        return None
    return claim


def _is_silent(domain: int) -> bool:
    """Return whether none of the ports is taken at which participants of a domain are found."""
    first = _FIRST_PORT + _PER_DOMAIN * domain
    for number in range(_PARTICIPANTS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", first + _PER_PARTICIPANT * number))
            except OSError:
                return False
    return True
