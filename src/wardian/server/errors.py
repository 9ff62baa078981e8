"""Everything that can go wrong and be told to a caller.

Each error has a stable ``code`` and an HTTP ``status``; dialects translate them, nobody else does.

::

    WardianError                     internal               500
    ├── InvalidRequest               invalid_request        400
    ├── Unauthorized                 unauthorized           401
    │   └── TicketInvalid            ticket_invalid
    ├── Forbidden                    forbidden              403
    │   └── PrivateDestination       private_destination
    ├── NotFound                     not_found              404
    │   ├── SandboxNotFound          sandbox_not_found
    │   ├── TemplateNotFound         template_not_found
    │   ├── KeyNotFound              key_not_found
    │   ├── ExposureNotFound         exposure_not_found
    │   ├── SecretNotFound           secret_not_found
    │   ├── PresetNotFound           preset_not_found
    │   └── RuleNotFound             rule_not_found
    ├── MethodNotAllowed             method_not_allowed     405
    ├── Conflict                     conflict               409
    │   ├── NameTaken                name_taken
    │   ├── TemplateInUse            template_in_use
    │   ├── SandboxEnded             sandbox_ended
    │   ├── SandboxPaused            sandbox_paused
    │   ├── IdempotencyMismatch      idempotency_mismatch
    │   ├── TokenTaken               token_taken
    │   ├── TooManyExposures         too_many_exposures
    │   ├── SecretInUse              secret_in_use
    │   ├── SecretHost               secret_host
    │   └── TooManySecrets           too_many_secrets
    ├── TooLarge                     too_large              413
    ├── Unsupported                  unsupported            422
    │   └── ClassUnsupported         class_unsupported
    └── Unavailable                  unavailable            503
        ├── NoCapacity               no_capacity
        └── NoSpace                  no_space
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class WardianError(Exception):
    """Base of all errors a caller may see.

    Args:
        message: what failed, on which object; shown to the caller, so without secrets.
        hint: what the caller can do about it.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidRequest(WardianError):
    """The request is not as it must be; nothing was done."""

    code = "invalid_request"
    status = 400


class Unauthorized(WardianError):
    """No key, or one that is not known."""

    code = "unauthorized"
    status = 401


class TicketInvalid(Unauthorized):
    """A ticket that was not made here, or is good for nothing any more."""

    code = "ticket_invalid"


class Forbidden(WardianError):
    """The key is known but lacks the scope."""

    code = "forbidden"
    status = 403


class PrivateDestination(Forbidden):
    """A rule grants what is not public, and the key may not grant that."""

    code = "private_destination"

    def __init__(self, rule: str, field: str) -> None:
        super().__init__(
            f"rule {rule!r}: {field} reaches addresses that are not public",
            "that needs a key with the scope admin",
        )


class NotFound(WardianError):
    """The thing named is not there, or not this tenant's."""

    code = "not_found"
    status = 404


class SandboxNotFound(NotFound):
    """No sandbox of this id or name."""

    code = "sandbox_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(f"no sandbox {reference!r}", "list them with GET /v1/sandboxes")


class TemplateNotFound(NotFound):
    """No template of this name.

    Args:
        name: what was asked for.
        known: names that exist, for the hint.
    """

    code = "template_not_found"

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        shown = ", ".join(sorted(known)[:20])
        hint = f"templates here: {shown}" if shown else "no template exists yet: build or pull one"
        super().__init__(f"no template {name!r}", hint)


class KeyNotFound(NotFound):
    """No API key of this id."""

    code = "key_not_found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no key {key_id!r}", "list them with GET /v1/keys")


class ExposureNotFound(NotFound):
    """The port is not exposed."""

    code = "exposure_not_found"

    def __init__(self, sandbox: str, port: int) -> None:
        super().__init__(
            f"port {port} of sandbox {sandbox!r} is not exposed",
            "list what is with GET /v1/sandboxes/{sandbox}/exposures",
        )


class SecretNotFound(NotFound):
    """The tenant has no secret of this name."""

    code = "secret_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"no secret {name!r}", f"set it with PUT /v1/secrets/{name}")


class PresetNotFound(NotFound):
    """No preset of this name.

    Args:
        name: what was asked for.
        known: names that exist, for the hint.
    """

    code = "preset_not_found"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no egress preset {name!r}", f"presets here: {', '.join(known)}")


class RuleNotFound(NotFound):
    """The sandbox has no rule of its own of this name."""

    code = "rule_not_found"

    def __init__(self, sandbox: str, name: str) -> None:
        super().__init__(
            f"sandbox {sandbox!r} has no egress rule {name!r} of its own",
            "list them with GET /v1/sandboxes/{sandbox}/egress",
        )


class MethodNotAllowed(WardianError):
    """The path exists, the method on it does not."""

    code = "method_not_allowed"
    status = 405


class Conflict(WardianError):
    """The request contradicts what is there."""

    code = "conflict"
    status = 409


class NameTaken(Conflict):
    """A sandbox that has not ended has this name."""

    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a sandbox named {name!r} exists", "use that one, end it, or choose another name"
        )


class TemplateInUse(Conflict):
    """Sandboxes that have not ended were made from this template."""

    code = "template_in_use"


class SandboxEnded(Conflict):
    """The sandbox has ended and can't be changed any more."""

    code = "sandbox_ended"

    def __init__(self, sandbox: str) -> None:
        super().__init__(f"sandbox {sandbox!r} has ended", "create a new one")


class SandboxPaused(Conflict):
    """The sandbox is paused or asleep, so nothing in it can answer."""

    code = "sandbox_paused"

    def __init__(self, sandbox: str) -> None:
        super().__init__(f"sandbox {sandbox!r} is paused", "resume it first")


class IdempotencyMismatch(Conflict):
    """The idempotency key came before with another body."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        super().__init__(
            "this Idempotency-Key was used with another request body", "choose a new key"
        )


class TokenTaken(Conflict):
    """Another port of the sandbox is exposed under the token."""

    code = "token_taken"

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is exposed under this token", "choose another, or auto")


class TooManyExposures(Conflict):
    """A sandbox has as many exposures as it may."""

    code = "too_many_exposures"

    def __init__(self, sandbox: str, most: int) -> None:
        super().__init__(f"sandbox {sandbox!r} has {most} exposed ports", "take one back first")


class SecretInUse(Conflict):
    """A sandbox that has not ended uses the secret or holds its placeholder."""

    code = "secret_in_use"

    def __init__(self, name: str, sandbox: str) -> None:
        super().__init__(
            f"secret {name!r} is used by sandbox {sandbox!r}",
            "take it out of its egress rules, or end it",
        )


class SecretHost(Conflict):
    """A rule takes a secret to a host it is not for."""

    code = "secret_host"

    def __init__(self, name: str, host: str, rule: str) -> None:
        super().__init__(
            f"rule {rule!r} would send secret {name!r} to {host!r}, which it is not for",
            "narrow the rule's hosts, or add the host to those of the secret",
        )


class TooManySecrets(Conflict):
    """A tenant has as many secrets as it may."""

    code = "too_many_secrets"

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} secrets", "delete one first")


class TooLarge(WardianError):
    """The body is longer than this call accepts."""

    code = "too_large"
    status = 413


class Unsupported(WardianError):
    """Well-formed, but this node can't do it."""

    code = "unsupported"
    status = 422


class ClassUnsupported(Unsupported):
    """This node does not offer the isolation class."""

    code = "class_unsupported"

    def __init__(self, name: str, offered: Sequence[str]) -> None:
        super().__init__(
            f"isolation class {name!r} is not offered by this node",
            f"offered here: {', '.join(offered)}",
        )


class Unavailable(WardianError):
    """A part of the node does not answer now; trying again may help."""

    code = "unavailable"
    status = 503


class NoCapacity(Unavailable):
    """The node has no room for another sandbox."""

    code = "no_capacity"


class NoSpace(Unavailable):
    """The disk pool is full."""

    code = "no_space"
