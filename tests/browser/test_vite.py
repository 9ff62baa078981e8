"""A real Vite app, developed in a sandbox and looked at in a real browser through its preview."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from wardian import Exposure, Sandbox

from . import node_packages

APP = Path(__file__).parent / "vite"
PORT = 5173


@pytest.fixture(scope="module")
def app(node: Any) -> Iterator[Sandbox]:
    """A sandbox in which Vite serves the app, on localhost as it does by default."""
    packages = node_packages.directory(APP, optional=True)
    with Sandbox.create("base", timeout=1200) as sandbox:
        sandbox.files.upload_dir(APP, "app")
        sandbox.files.upload_dir(packages, "app/node_modules")
        vite = sandbox.start(
            "node node_modules/vite/bin/vite.js", name="vite", cwd="/home/user/app"
        )
        vite.wait_for_log("Local:", timeout=60)
        yield sandbox


@pytest.fixture(params=["public", "private"])
def exposed(app: Sandbox, request: pytest.FixtureRequest) -> Iterator[Exposure]:
    """Its preview, with the app as it was at first."""
    app.files.upload_dir(APP, "app", exclude=["node_modules"])
    yield app.expose(PORT, visibility=request.param)
    app.unexpose(PORT)


def test_a_change_in_the_sandbox_is_seen_without_a_reload(
    app: Sandbox, exposed: Exposure, page: Page
) -> None:
    """The page comes through the preview, and its WebSocket too."""
    with page.expect_websocket() as opened:
        page.goto(exposed.url if exposed.visibility == "public" else exposed.signed_url().url)
    assert page.url.startswith(exposed.url) and "ticket" not in page.url
    assert opened.value.url.startswith(exposed.url.replace("http", "ws", 1))
    message = page.locator("#message")
    expect(message).to_have_text("first")
    expect(message).to_have_css("color", "rgb(1, 2, 3)")
    page.evaluate("window.stays = 'here'")
    app.files.write("app/message.js", 'export const message = "second";\n')
    expect(message).to_have_text("second")
    app.files.write("app/style.css", "#message { color: rgb(4, 5, 6); }\n")
    expect(message).to_have_css("color", "rgb(4, 5, 6)")
    assert page.evaluate("window.stays") == "here"


def test_a_private_preview_is_a_page_that_says_so(app: Sandbox, page: Page) -> None:
    exposed = app.expose(PORT)
    answer = page.goto(exposed.url)
    assert answer is not None and answer.status == 401
    expect(page.get_by_role("heading")).to_have_text("This preview is private")
    page.goto(exposed.signed_url().url)
    expect(page.locator("#message")).not_to_be_empty()
    # The cookie is for this preview alone.
    app.expose(PORT + 1)
    other = page.goto(app.exposures()[1].url)
    assert other is not None and other.status == 401
    app.unexpose(PORT)
    gone = page.goto(exposed.url)
    assert gone is not None and gone.status == 404


def test_a_page_that_waits_shows_the_app_once_it_serves(app: Sandbox, page: Page) -> None:
    exposed = app.expose(8080, visibility="public")
    page.goto(exposed.url)
    expect(page.get_by_role("heading")).to_have_text("Waiting for the server")
    app.start("python3 -m http.server 8080 --bind 127.0.0.1", name="late", cwd="/home/user/app")
    expect(page.locator("#message")).to_be_attached()
    app.unexpose(8080)
