"""Errors about what sandboxes may reach, and about secrets.

::

    ApiError
    ├── PermissionDenied
    │   └── PrivateDestination      only keys with the scope admin grant what is not public
    ├── NotFound
    │   ├── SecretNotFound
    │   ├── PresetNotFound
    │   └── RuleNotFound
    └── Conflict
        ├── SecretInUse             a sandbox that lives has a policy that names it
        └── SecretHostMismatch      the secret is bound to other hosts than the rule's
"""

from __future__ import annotations

from ._errors import Conflict, NotFound, PermissionDenied


class PrivateDestination(PermissionDenied):
    """The policy grants what is not public, and the key has no scope `admin`."""


class SecretNotFound(NotFound):
    """There is no secret of that name."""


class PresetNotFound(NotFound):
    """The operator has no preset of that name."""


class RuleNotFound(NotFound):
    """The sandbox has no rule of its own of that name."""


class SecretInUse(Conflict):
    """A sandbox that lives has a policy that names the secret."""


class SecretHostMismatch(Conflict):
    """The secret is bound to hosts, and a host of the rule is none of them."""
