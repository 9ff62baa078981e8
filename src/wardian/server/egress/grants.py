"""Which rules reach what is not public: only keys with the scope ``admin`` may make them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from ipaddress import ip_address

from wardian.server.egress.model import RuleFields
from wardian.server.egress.public_addresses import Addresses, is_public, own_addresses
from wardian.server.errors import PrivateDestination


def refuse_private(rules: Iterable[RuleFields]) -> None:
    """Raises:
    PrivateDestination: a rule grants what is not public.
    """
    own = own_addresses()
    for rule in rules:
        if rule.allows and (field := _private_field(rule, own)) is not None:
            raise PrivateDestination(rule.name or "", field)


def _private_field(rule: RuleFields, own: Addresses) -> str | None:
    """The field of a rule that grants something private, if one does.

    ``connect_to`` grants whatever it resolves to, and takes credentials to where the rule's hosts
    do not say, so it counts always.
    """
    if rule.connect_to is not None:
        return "connect_to"
    for host in rule.hosts:
        with contextlib.suppress(ValueError):
            if not is_public(str(ip_address(host)), own):
                return "hosts"
    if not all(is_public(network, own) for network in rule.cidrs):
        return "cidrs"
    return None
