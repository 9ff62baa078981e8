"""What a template takes over from an image's configuration."""

from __future__ import annotations

import pytest

from wardian.server.errors import InvalidRequest
from wardian.server.templates.oci_config import metadata_of
from wardian.server.templates.oci_documents import Defaults, ImageConfig, read


def test_an_image_that_says_nothing() -> None:
    found = metadata_of(None)
    assert (found.user, found.workdir, found.env, found.start_command) == ("root", None, {}, None)


def test_everything_an_image_says() -> None:
    given = Defaults(
        user="worker:staff",
        working_directory="srv/app",
        env=["A=1", "B=x=y", "EMPTY=", "no-name=1", "=", "C"],
        entrypoint=["/bin/run it", "-x"],
        command=["two words", "$HOME"],
    )
    found = metadata_of(given)
    assert found.user == "worker"
    assert found.workdir == "/srv/app"
    assert found.env == {"A": "1", "B": "x=y", "EMPTY": "", "C": ""}
    assert found.start_command == "'/bin/run it' -x 'two words' '$HOME'"


@pytest.mark.parametrize("user", ["a b", "../x", "a\n", "x" * 65])
def test_a_user_that_can_be_none(user: str) -> None:
    with pytest.raises(InvalidRequest):
        metadata_of(Defaults(user=user))


def test_the_names_images_use() -> None:
    raw = b"""{"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config":
        {"User": "u", "WorkingDir": "/w", "Env": ["A=b"], "Entrypoint": null, "Cmd": ["c"]}}"""
    config = read(raw, ImageConfig, "the configuration")
    found = metadata_of(config.config)
    assert (found.user, found.workdir, found.env) == ("u", "/w", {"A": "b"})
    assert found.start_command == "c"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{", b'{"rootfs": 1}', b'{"rootfs": {"diff_ids": ["sha256:0\\n"]}}']
)
def test_documents_that_are_none(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read(raw, ImageConfig, "the configuration")
