# Generated from _async/sandbox.py by tools/generate_sync.py: change it there.
"""A sandbox: what most people need of Wardian."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from .._credentials import Secret
from .._egress import Egress, granted
from .._errors import Conflict, NotFound, SandboxGone
from .._models import Limits, SandboxInfo, Traffic, Usage
from .agent import Agent
from .api import Client
from .background_commands import BackgroundCommands
from .commands import Commands
from .egress import SandboxEgress
from .files import Files
from .git import Git
from .placeholders import Environment, Placeholders
from .previews import Previews
from .sessions import Sessions
from .terminals import Terminals

_UNSET: Any = object()


class Sandbox(Commands, BackgroundCommands, Previews, Sessions, Terminals):
    """An isolated computer: run commands in it, read and write its files.

    Made by `create`, `get`, `get_or_create` and `list`, not by its constructor. As a context
    manager it ends the sandbox on leaving, if the sandbox was made by `create` (`kill_on_exit`
    says otherwise).

    Attributes:
        id: Its id.
        files: Its files.
        git: Its git.
        egress: What it may reach.
        kill_on_exit: Whether leaving the context ends it.
    """

    def __init__(self, client: Client, info: SandboxInfo, *, kill_on_exit: bool) -> None:
        self.id = info.id
        self.kill_on_exit = kill_on_exit
        self._client = client
        self._info = info
        self._shell_memory = (client.endpoint.url, info.template)
        self._placeholders = Placeholders(client, info.id)
        access = info.agent
        self._agent = (
            Agent(client.transport, info.id, access.port, access.token) if access else None
        )
        self._files = Files(self._agent) if self._agent else None

    @classmethod
    def create(
        cls,
        template: str = "base",
        name: str | None = None,
        *,
        timeout: float | None = 300,
        env: Environment | None = None,
        labels: Mapping[str, str] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        user: str | None = None,
        workdir: str | None = None,
        traffic: Traffic | None = None,
        egress: str | Egress | None = None,
        internet: str | bool | None = None,
        isolation: str | None = None,
        idempotency_key: str | None = None,
        kill_on_exit: bool = True,
        url: str | None = None,
        api_key: str | None = None,
    ) -> Sandbox:
        """Make a sandbox; it runs when this returns.

        Args:
            template: What it starts from.
            name: A name to find it again by, unique among the tenant's sandboxes.
            timeout: Seconds until it ends by itself; None is never.
            env: Variables for every command; `Secret(NAME)` is its placeholder.
            labels: The caller's own words about it, to find it again by.
            limits: What it may use: `cpu`, `memory_mb`, `disk_mb`, `pids`.
            user: Who runs commands; the template's default if not given.
            workdir: Where commands run; the template's default if not given.
            traffic: `private` asks visitors of its ports for a token.
            egress: What it may reach: `"off"`, `"on"`, the name of a preset, or an `Egress`; what
                its template says if not given, which is nothing for those that ship.
            internet: `egress` in one word: `"on"` or True, `"off"` or False.
            isolation: The isolation class.
            idempotency_key: Calls with the same key make one sandbox; made up if not given, so
                that a repeated request can't make two.
            kill_on_exit: Whether leaving `with` ends it.
            url: The server; WARDIAN_URL if not given, else this machine's.
            api_key: The key; WARDIAN_API_KEY if not given, else a key file's.

        Raises:
            TemplateNotFound: There is no such template.
            NameTaken: Another sandbox has the name.
            NoCapacity: The server has no room.
            SecretNotFound: A variable or a rule names a secret that there is none of.
            PresetNotFound: There is no such preset.
            PrivateDestination: `egress` grants what is not public, which takes a key with the
                scope `admin`.
            InvalidRequest: An argument is out of range.
            ValueError: Both `egress` and `internet` are given.
        """
        egress = granted(egress, internet)
        client = Client(url, api_key)
        info = client.create_sandbox(
            template,
            name=name,
            isolation=isolation,
            timeout=timeout,
            env=env,
            labels=labels,
            limits=limits,
            user=user,
            workdir=workdir,
            traffic=traffic,
            egress=egress,
            idempotency_key=idempotency_key,
        )
        return cls(client, info, kill_on_exit=kill_on_exit)

    @classmethod
    def get(
        cls,
        id_or_name: str,
        *,
        kill_on_exit: bool = False,
        url: str | None = None,
        api_key: str | None = None,
    ) -> Sandbox:
        """Find a sandbox again.

        Raises:
            SandboxNotFound: There is none of that id or name.
        """
        client = Client(url, api_key)
        return cls(client, client.get_sandbox(id_or_name), kill_on_exit=kill_on_exit)

    @classmethod
    def get_or_create(
        cls,
        name: str,
        template: str = "base",
        *,
        timeout: float | None = 300,
        env: Environment | None = None,
        labels: Mapping[str, str] | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        user: str | None = None,
        workdir: str | None = None,
        traffic: Traffic | None = None,
        egress: str | Egress | None = None,
        internet: str | bool | None = None,
        isolation: str | None = None,
        kill_on_exit: bool = False,
        url: str | None = None,
        api_key: str | None = None,
    ) -> Sandbox:
        """The sandbox of that name, made if there is none; the same one from anywhere.

        The arguments are those of `create`; a sandbox that exists keeps what it has.
        """
        for _ in range(3):
            try:
                found = cls.get(name, kill_on_exit=kill_on_exit, url=url, api_key=api_key)
                if found._info.state != "ended":
                    return found
            except NotFound:
                pass
            try:
                return cls.create(
                    template,
                    name,
                    timeout=timeout,
                    env=env,
                    labels=labels,
                    limits=limits,
                    user=user,
                    workdir=workdir,
                    traffic=traffic,
                    egress=egress,
                    internet=internet,
                    isolation=isolation,
                    kill_on_exit=kill_on_exit,
                    url=url,
                    api_key=api_key,
                )
            except Conflict as error:
                # Somebody else made it between our two calls.
                if error.code != "name_taken":
                    raise
        return cls.get(name, kill_on_exit=kill_on_exit, url=url, api_key=api_key)

    @classmethod
    def list(
        cls,
        state: str | Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        template: str | None = None,
        name: str | None = None,
        url: str | None = None,
        api_key: str | None = None,
    ) -> Iterator[Sandbox]:
        """Go through the sandboxes, fetched page by page.

        Args:
            state: Only of this state, or these; all that have not ended if not given.
            labels: Only those with all these labels.
            template: Only from this template.
            name: Only the one of this name.
            url: As for `create`.
            api_key: As for `create`.
        """
        client = Client(url, api_key)
        found = client.list_sandboxes(state=state, labels=labels, template=template, name=name)
        for info in found:
            yield cls(client, info, kill_on_exit=False)

    @property
    def name(self) -> str | None:
        """Its name, as last heard."""
        return self._info.name

    @property
    def state(self) -> str:
        """Its state, as last heard; `info()` asks."""
        return self._info.state

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, as last heard."""
        return self._info.labels

    @property
    def files(self) -> Files:
        """Its files."""
        if self._files is None:
            raise self._no_agent()
        return self._files

    @property
    def git(self) -> Git:
        """Its git."""
        return Git(self._reach())

    @property
    def egress(self) -> SandboxEgress:
        """What it may reach, and what it did reach."""
        return SandboxEgress(self._client, self.id)

    def info(self) -> SandboxInfo:
        """Ask for its record."""
        self._info = self._client.get_sandbox(self.id)
        return self._info

    def usage(self) -> Usage:
        """What it has used so far, or in all once it has ended."""
        return self._client.sandbox_usage(self.id)

    def kill(self) -> SandboxInfo:
        """End it, with everything in it. Ending an ended one is no error."""
        self._info = self._client.kill_sandbox(self.id)
        return self._info

    def set_timeout(self, timeout: float | None) -> SandboxInfo:
        """Let it end in `timeout` seconds from now; None is never."""
        return self.update(timeout=timeout)

    def update(
        self,
        *,
        labels: Mapping[str, str] = _UNSET,
        timeout: float | None = _UNSET,
        name: str | None = _UNSET,
        env: Mapping[str, str | Secret | None] = _UNSET,
    ) -> SandboxInfo:
        """Change it; what is not given stays.

        Args:
            labels: All its labels from now on.
            timeout: Seconds from now until it ends; None is never.
            name: Its name; None takes it away.
            env: Variables to set for commands started from now on, those of sessions too;
                `Secret(NAME)` is its placeholder, None takes one away, what is not named stays.
        """
        given = {"labels": labels, "timeout": timeout, "name": name, "env": env}
        changes = {key: value for key, value in given.items() if value is not _UNSET}
        self._info = self._client.update_sandbox(self.id, changes)
        return self._info

    def host(self, port: int) -> str:
        """The host, with its port, at which one of the sandbox's ports is reached."""
        if not 0 < port < 65536:
            raise ValueError(f"{port} is no port")
        domain, endpoint = self._info.domain, self._client.endpoint
        standard = endpoint.port == (443 if endpoint.tls else 80)
        suffix = "" if standard or ":" in domain else f":{endpoint.port}"
        return f"{port}-{self.id}.{domain}{suffix}"

    def url(self, port: int) -> str:
        """The URL at which a web server on one of the sandbox's ports is reached."""
        return f"{self._client.endpoint.scheme}://{self.host(port)}"

    def _reach(self) -> Agent:
        if self._agent is None:
            raise self._no_agent()
        return self._agent

    def _no_agent(self) -> SandboxGone:
        return SandboxGone(
            f"sandbox {self.id} is {self._info.state} and can't be used", sandbox_id=self.id
        )

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.kill_on_exit:
            self.kill()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._info.state}>"
