"""A real Chromium, the page it shows, and a node to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from wardian import Sandbox

from . import node_packages, page_server

# Debian's: what npm or pip would fetch is not what users have.
CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the pages."""
    with page_server.pages(node_packages.directory()) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window.

    Not for longer than one file: while it is there, playwright has an event loop running, beside
    which no test of asyncio can have its own.
    """
    with sync_playwright() as playwright:
        # Everything here runs as root, for which Chromium has no sandbox.
        yield playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page, as private as a new window."""
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context.new_page()


@pytest.fixture(scope="module")
def screen_node(start_node: Any) -> Iterator[Any]:
    """A node whose one template has programs that draw the whole screen."""
    started: AbstractContextManager[Any] = start_node(templates=("terminal",))
    with started as node, pytest.MonkeyPatch.context() as environment:
        environment.setenv("WARDIAN_URL", node.url)
        environment.setenv("WARDIAN_API_KEY", node.api_key)
        yield node


@pytest.fixture(scope="module")
def sandbox(screen_node: Any) -> Iterator[Sandbox]:
    """A sandbox with vim and htop."""
    with Sandbox.create("terminal", timeout=1200) as made:
        yield made
