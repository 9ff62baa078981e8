"""What clients are configured to use, as set-up finds it; all hosts here are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from wardian.server.configuration import PackageSources
from wardian.server.node.package_sources import detect


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_a_machine_without_any_configuration(home: Path, root: Path) -> None:
    assert detect({}, home, root) == PackageSources()


def test_pip_is_read_as_pip_reads(home: Path, root: Path) -> None:
    write(
        root / "etc/pip.conf",
        "[global]\nindex-url = https://system.test/simple\nextra-index-url =\n"
        "    https://one.test/simple\n    https://two.test:8443/simple\n",
    )
    assert detect({}, home, root) == PackageSources(
        hosts=["system.test", "one.test", "two.test:8443"],
        env={
            "PIP_INDEX_URL": "https://system.test/simple",
            "PIP_EXTRA_INDEX_URL": "https://one.test/simple https://two.test:8443/simple",
        },
    )
    write(home / ".config/pip/pip.conf", "[install]\nindex-url=https://user.test/simple\n")
    assert detect({}, home, root).env["PIP_INDEX_URL"] == "https://user.test/simple"
    variables = {"PIP_INDEX_URL": "https://variable.test/simple", "PIP_EXTRA_INDEX_URL": ""}
    assert detect(variables, home, root) == PackageSources(
        hosts=["variable.test"], env={"PIP_INDEX_URL": "https://variable.test/simple"}
    )


def test_npm_cargo_go_and_apt(home: Path, root: Path) -> None:
    write(home / ".npmrc", "fund=false\n; registry=https://no.test\nregistry = https://npm.test/\n")
    write(
        home / ".cargo/config.toml",
        '[source.crates-io]\nreplace-with = "a"\n[source.a]\nreplace-with = "b"\n'
        '[source.b]\nregistry = "sparse+https://cargo.test/index/"\n'
        '[source.other]\nregistry = "https://unused.test"\n',
    )
    write(home / ".config/go/env", "GOPROXY=https://go.test|direct\nGOFLAGS=-x\n")
    write(
        root / "etc/apt/sources.list", "# deb http://no.test/\ndeb [arch=a] http://apt.test/d s m\n"
    )
    write(
        root / "etc/apt/sources.list.d/a.sources",
        "Types: deb\nURIs: http://deb.debian.org/debian https://more.test/x\n",
    )
    write(root / "etc/apt/sources.list.d/b.disabled", "deb http://no.test/ s m\n")
    assert detect({"GOSUMDB": "off"}, home, root) == PackageSources(
        hosts=["npm.test", "cargo.test", "go.test", "apt.test", "more.test"],
        env={
            "NPM_CONFIG_REGISTRY": "https://npm.test/",
            "GOPROXY": "https://go.test,direct",
            "GOSUMDB": "off",
        },
    )


def test_the_public_registries_are_given_as_variables_but_not_as_hosts_of_this_node(
    home: Path, root: Path
) -> None:
    variables = {
        "PIP_INDEX_URL": "https://pypi.org/simple",
        "npm_config_registry": "https://registry.npmjs.org/",
        "GOPROXY": "https://proxy.golang.org,direct",
        "GOSUMDB": "sum.golang.org https://sum.golang.org",
    }
    found = detect(variables, home, root)
    assert found.hosts == []
    assert found.env["GOSUMDB"] == "sum.golang.org https://sum.golang.org"
    assert found.env["GOPROXY"] == "https://proxy.golang.org,direct"
    # Where their names lead to a mirror they are.
    assert detect(variables, home, root, mirrored=["pypi.org"]).hosts == ["pypi.org"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///srv/wheels",
        "/srv/wheels",
        "http://localhost:3141/root",
        "http://127.0.0.1:3141/",
        "http://[::1]/",
        "https://user:password@private.test/simple",
        "https://token@private.test/simple",
        "https://${TOKEN}.test/",
        "https://a.test:99999/",
        "ssh://git.test/",
        "",
    ],
)
def test_what_a_sandbox_can_not_use_is_left_out(home: Path, root: Path, url: str) -> None:
    write(home / ".npmrc", f"registry={url}\n")
    variables = {"PIP_INDEX_URL": url, "GOPROXY": f"{url},off", "PIP_FIND_LINKS": "/srv"}
    assert detect(variables, home, root) == PackageSources()


def test_files_that_are_none_do_no_harm(home: Path, root: Path) -> None:
    write(root / "etc/pip.conf", "no section\n= \n[global\n")
    write(home / ".cargo/config.toml", "source = 'x'\n")
    write(home / ".cargo/config", "[[[")
    (root / "etc/apt/sources.list").mkdir(parents=True)
    (home / ".npmrc").write_bytes(b"\xff\xfe=\n")
    assert detect({}, home, root) == PackageSources()
    write(home / ".cargo/config.toml", '[source.crates-io]\nreplace-with = "crates-io"\n')
    assert detect({}, home, root) == PackageSources()
