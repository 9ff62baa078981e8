"""The unmodified `@cloudflare/sandbox/xterm` addon in a real browser, against our terminals."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from integration.cuttable import Way, way_to
from playwright.sync_api import Page

from wardian import Sandbox


class Shown:
    """A page that shows a terminal, and somebody in front of it."""

    def __init__(self, page: Page, site: str, address: str) -> None:
        self._page = page
        page.goto(f"{site}/terminal.html?address={quote(address, safe='')}")
        self.until_state("connected")

    def type(self, text: str) -> None:
        """Press keys, one after the other."""
        self._page.keyboard.type(text)

    def press(self, key: str) -> None:
        """Press one key by its name."""
        self._page.keyboard.press(key)

    def resize(self, cols: int, rows: int) -> None:
        """As a page does when its window changes."""
        self._page.evaluate("([cols, rows]) => window.terminal.resize(cols, rows)", [cols, rows])

    def until_screen(self, *wanted: str) -> None:
        """Wait until all of `wanted` is on the screen."""
        self._wait("(wanted) => wanted.every((w) => window.screenText().includes(w))", list(wanted))

    def until_gone(self, unwanted: str) -> None:
        """Wait until something is no longer on the screen."""
        self._wait("(unwanted) => !window.screenText().includes(unwanted)", unwanted)

    def until_buffer(self, kind: str) -> None:
        """Wait until the screen is the `normal` or the `alternate` one."""
        self._wait("(kind) => window.terminal.buffer.active.type === kind", kind)

    def until_state(self, state: str) -> None:
        """Wait for what the addon says of its connection."""
        self._wait("(state) => window.addon?.state === state", state)

    def until_told(self, text: str) -> None:
        """Wait until the addon has told the page something."""
        self._wait("(text) => window.states.some((state) => state.includes(text))", text)

    def screen(self) -> str:
        """The lines that are shown."""
        text: str = self._page.evaluate("() => window.screenText()")
        return text

    def _wait(self, condition: str, argument: Any) -> None:
        try:
            self._page.wait_for_function(condition, arg=argument)
        except Exception as error:
            error.add_note(f"on the screen:\n{self.screen()}")
            error.add_note(f"states: {self._page.evaluate('() => window.states')}")
            raise


def _address(sandbox: Sandbox, name: str, way: Way | None = None) -> str:
    url = sandbox.ticket("terminals", name).websocket_url
    if way is not None:
        url = f"{way.url.replace('http', 'ws')}/{url.split('/', 3)[3]}"
    return url


def test_typing_shows_and_a_resize_reaches_the_program(
    page: Page, site: str, sandbox: Sandbox, unique: str
) -> None:
    shown = Shown(page, site, _address(sandbox, unique))
    shown.type("echo it is $((6 * 7)) é€; stty size\n")
    shown.until_screen("it is 42 é€", "24 80")
    shown.resize(111, 37)
    shown.type("clear; stty size\n")
    shown.until_screen("37 111")
    [info] = [each for each in sandbox.terminals() if each.name == unique]
    assert (info.cols, info.rows, info.clients) == (111, 37, 1)


def test_vim_writes_a_file(page: Page, site: str, sandbox: Sandbox, unique: str) -> None:
    shown = Shown(page, site, _address(sandbox, unique))
    shown.type(f"vim /root/{unique}\n")
    shown.until_buffer("alternate")
    shown.until_screen("[New]", "~")
    shown.type("iwritten in vim")
    shown.press("Enter")
    shown.type("in a browser")
    shown.press("Escape")
    shown.until_gone("-- INSERT --")
    shown.type("kyyp")
    shown.until_screen("written in vim\nwritten in vim\nin a browser\n~")
    shown.type(":wq\n")
    shown.until_buffer("normal")
    assert sandbox.files.read(f"/root/{unique}") == "written in vim\n" * 2 + "in a browser\n"


def test_htop_draws_its_screen(page: Page, site: str, sandbox: Sandbox, unique: str) -> None:
    shown = Shown(page, site, _address(sandbox, unique))
    shown.type("htop\n")
    shown.until_buffer("alternate")
    shown.until_screen("Tasks:", "Load average:", "PID", "F10", "htop")
    shown.resize(120, 20)
    shown.until_screen("F10", "htop")
    shown.type("q")
    shown.until_buffer("normal")
    shown.type("echo af''ter\n")
    shown.until_screen("after")


def test_a_cut_connection_comes_back_by_itself(
    page: Page, site: str, screen_node: Any, sandbox: Sandbox, unique: str
) -> None:
    with way_to(screen_node.port) as way:
        shown = Shown(page, site, _address(sandbox, unique, way))
        shown.type("A=be; B=fore; echo $A$B; for i in $(seq 100); do echo line $i; done\n")
        shown.until_screen("line 100")
        before = shown.screen()
        way.cut()
        shown.until_state("disconnected")
        shown.until_state("connected")
        shown.until_screen(before)
        shown.type("clear; echo $A$B again\n")
        shown.until_screen("before again")

        shown.type(f"vim -c 'set number' /root/{unique}\n")
        shown.until_buffer("alternate")
        shown.type("ithe first line\nthe second")
        shown.until_screen("  1 the first line\n  2 the second", "-- INSERT --")
        before = shown.screen()
        way.cut()
        shown.until_state("disconnected")
        shown.until_state("connected")
        shown.until_buffer("alternate")
        shown.until_screen(before.rstrip())
        shown.type(" and more")
        shown.until_screen("  2 the second and more")
        shown.press("Escape")
        shown.until_gone("-- INSERT --")
        shown.type(":wq\n")
        shown.until_buffer("normal")
    assert sandbox.files.read(f"/root/{unique}") == "the first line\nthe second and more\n"


def test_two_browsers_share_a_terminal(
    page: Page, browser: Any, site: str, sandbox: Sandbox, unique: str
) -> None:
    first = Shown(page, site, _address(sandbox, unique))
    first.type("echo fi''rst\n")
    first.until_screen("first")
    with browser.new_context() as context:
        second = Shown(context.new_page(), site, _address(sandbox, unique))
        second.until_screen("first")
        second.type("echo sec''ond\n")
        first.until_screen("second")
        assert first.screen() == second.screen()


def test_the_end_is_told(page: Page, site: str, sandbox: Sandbox, unique: str) -> None:
    shown = Shown(page, site, _address(sandbox, unique))
    shown.type("exit 3\n")
    shown.until_told("Session exited with code 3")
    # The addon connects again, as it does after every end, and gets a shell that works.
    shown.until_state("disconnected")
    shown.until_state("connected")
    shown.type("echo al''ive\n")
    shown.until_screen("alive")


@pytest.fixture
def unique() -> str:
    """A name that no other test uses."""
    import secrets

    return f"t-{secrets.token_hex(6)}"
