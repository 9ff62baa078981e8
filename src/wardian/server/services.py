"""Everything the control plane is made of, put together once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from wardian.server import configuration as node_configuration
from wardian.server.configuration import Configuration, ConfigurationError
from wardian.server.egress import trust
from wardian.server.egress.policies import Policies
from wardian.server.egress.presets import Presets
from wardian.server.egress.record import Record
from wardian.server.exposures.exposures import Exposures
from wardian.server.keys.keyring import Keyring
from wardian.server.keys.tickets import TicketOffice
from wardian.server.node.edge_link import EdgeLink
from wardian.server.node.egress_messages import Settings
from wardian.server.node.launcher import LauncherClient
from wardian.server.sandboxes.agents import Agents
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.creation import Creation
from wardian.server.sandboxes.expiry import Expiry
from wardian.server.sandboxes.lifecycle import Lifecycle
from wardian.server.sandboxes.reconciler import Reconciler
from wardian.server.sandboxes.routes import Routes
from wardian.server.secrets.secrets import Secrets
from wardian.server.secrets.vault import Vault
from wardian.server.store import authorities
from wardian.server.store.database import Database, SqliteDatabase
from wardian.server.store.egress_events import EgressEventStore
from wardian.server.store.exposures import ExposureStore
from wardian.server.store.key_file import read_passphrases
from wardian.server.store.keys import KeyStore
from wardian.server.store.rotation import Rotation
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.store.sealing import Sealer
from wardian.server.store.secrets import SecretStore
from wardian.server.store.templates import TemplateStore
from wardian.server.templates.catalog import TemplateCatalog
from wardian.server.templates.seed import import_seeds


@dataclass(frozen=True, slots=True)
class Services:
    """What the API dialects call into."""

    configuration: Configuration
    keyring: Keyring
    tickets: TicketOffice
    templates: TemplateCatalog
    creation: Creation
    lifecycle: Lifecycle
    exposures: Exposures
    policies: Policies
    secrets: Secrets
    egress_record: Record
    rotation: Rotation
    sealer: Sealer
    reconciler: Reconciler
    launcher: LauncherClient
    edge: EdgeLink
    expiry: Expiry


async def open_database(configuration: Configuration) -> Database:
    """The database this node is configured for, brought to the newest form.

    Raises:
        ConfigurationError: the URL is no PostgreSQL URL, or a newer version wrote the database.
        Unavailable: it does not answer.
    """
    url = node_configuration.database_url(configuration)
    if url is not None:
        try:
            from wardian.server.store.postgres import PostgresDatabase
        except ImportError as error:
            raise ConfigurationError(
                "PostgreSQL needs more packages: pip install 'wardian[server,postgres]'"
            ) from error
        return await PostgresDatabase.open(url)
    return await SqliteDatabase.open(configuration.control_home / "wardian.db")


@asynccontextmanager
async def open_services(configuration: Configuration) -> AsyncGenerator[Services]:
    """Opens the database, takes over what an earlier process left, and closes all at the end."""
    database = await open_database(configuration)
    launcher = LauncherClient(configuration.launcher_socket)
    try:
        sealer = Sealer.from_file(
            configuration.control_home / "secret.key",
            read_passphrases(Path(configuration.passphrase)) if configuration.passphrase else (),
        )
        rotation = Rotation(database, sealer)
        await rotation.finish()
        sandboxes = SandboxStore(database, sealer)
        keyring = Keyring(KeyStore(database))
        await keyring.import_first(configuration.control_home / "first-key.sha256")
        catalog = TemplateCatalog(TemplateStore(database), launcher, configuration.spool)
        # root may connect too: for whoever debugs with a client of their own.
        authority = await authorities.obtain(database, sealer, configuration.instance)
        settings = Settings(authority.certificate, authority.key, trust.upstream(configuration))
        record = Record(EgressEventStore(database))
        edge = EdgeLink({configuration.edge_uid, 0}, settings=settings, reported=record.take)
        expiry, changes, routes = Expiry(), Changes(), Routes()
        exposure_store = ExposureStore(database, sealer)
        for sandbox, exposed in groupby(await exposure_store.of_live(), attrgetter("sandbox")):
            routes.set_exposures(sandbox, exposed)
        agents = Agents(configuration.launcher_socket)
        secret_store = SecretStore(database, sealer)
        vault = Vault(await secret_store.all())
        policies = Policies(
            sandboxes,
            vault,
            Presets(configuration.packages),
            routes,
            edge,
            changes,
            agents,
            trust.inside(configuration, authority.certificate),
        )
        lifecycle = Lifecycle(sandboxes, launcher, edge, expiry, changes, routes, agents, policies)
        await lifecycle.restore()
        yield Services(
            configuration=configuration,
            keyring=keyring,
            tickets=TicketOffice(sealer.derive("tickets"), keyring),
            templates=catalog,
            creation=Creation(
                sandboxes, catalog, launcher, edge, expiry, changes, routes, policies
            ),
            lifecycle=lifecycle,
            exposures=Exposures(exposure_store, sandboxes, routes, edge, changes),
            policies=policies,
            egress_record=record,
            rotation=rotation,
            sealer=sealer,
            secrets=Secrets(secret_store, sandboxes, vault, changes, routes, policies),
            reconciler=Reconciler(sandboxes, launcher, lifecycle, changes),
            launcher=launcher,
            edge=edge,
            expiry=expiry,
        )
    finally:
        launcher.close()
        await database.close()


@asynccontextmanager
async def running(services: Services, edge_listener: socket.socket) -> AsyncGenerator[None]:
    """Runs all that goes on by itself. If any of it breaks, the body is cancelled: the process
    ends, is started again and takes over from the database.

    Args:
        edge_listener: the listening socket the edge connects to.
    """
    async with asyncio.TaskGroup() as tasks:
        owned = [
            tasks.create_task(services.edge.serve(edge_listener), name="edge"),
            tasks.create_task(services.egress_record.run(), name="egress record"),
            tasks.create_task(services.reconciler.follow(), name="launcher events"),
            tasks.create_task(services.reconciler.run(), name="reconciler"),
            tasks.create_task(services.expiry.run(services.lifecycle.expire), name="expiry"),
            tasks.create_task(
                import_seeds(services.templates, services.configuration.seeds), name="seeds"
            ),
        ]
        try:
            yield
        finally:
            for task in owned:
                task.cancel()
