# Generated from _async/previews.py by tools/generate_sync.py: change it there.
"""What lets others in: the part of a sandbox that is about tickets."""

from __future__ import annotations

from .._previews import Ticket
from .api import Client


class Previews:
    """How a sandbox is made reachable for those who hold no key."""

    id: str
    _client: Client

    def ticket(self, service: str, path: str = "", *, expires_in: float = 3600) -> Ticket:
        """Make a ticket: it stands for the key where no header can be sent, as in a browser.

        Args:
            service: What it is good for: `sessions`, `processes`, `run`, `terminals`, `files`,
                `watch` or `git`.
            path: Only this path of the service, and what is below it, such as a terminal's name.
            expires_in: Seconds it lasts, 60 to 604800; it also ends with the sandbox and with the
                key it was made with.

        Raises:
            InvalidRequest: There is no such service, or an argument is out of range.
            Conflict: The sandbox has ended.
        """
        return self._client.create_ticket(self.id, service, path, expires_in)
