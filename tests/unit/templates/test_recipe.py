"""Recipes are read strictly, and everything that decides what is built decides the digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from wardian.server.egress.model import Egress
from wardian.server.templates import builder, recipe

RECIPE = 'suite = "bookworm"\npackages = ["bash"]\n'


def write(directory: Path, text: str, script: str | None = None) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "recipe.toml").write_text(text)
    if script is not None:
        (directory / "run.sh").write_text(script)
    return directory


@pytest.mark.parametrize("name", ["base", "minimal"])
def test_those_that_ship(name: str) -> None:
    found = recipe.find(name)
    assert found.name == name
    assert found.script is not None and found.script.stat().st_mode & 0o111
    assert builder.archive_of(found).name == f"{name}-{found.digest}.tar.zst"
    assert found.source == f"recipe:{name}@{found.digest}"


def test_the_digest_is_of_recipe_and_script(tmp_path: Path) -> None:
    with_script = RECIPE + 'script = "run.sh"\n'
    texts = [(RECIPE, None), (RECIPE + "# more\n", None), (with_script, "a"), (with_script, "b")]
    digests = [recipe.read(write(tmp_path / "t", *each)).digest for each in texts]
    assert len(set(digests)) == len(texts)
    assert recipe.read(write(tmp_path / "t", *texts[-1])).digest == digests[-1]


@pytest.mark.parametrize(
    "text",
    ["", "suite = ", 'suite = "bookworm"', RECIPE + "unknown = 1\n", RECIPE + 'variant = "full"\n',
     RECIPE.replace("bash", "--evil"), RECIPE.replace("bash", "a,b"), RECIPE.replace("bash", "a b"),
     RECIPE.replace("bookworm", "-x"), RECIPE + 'script = "../x"\n',
     RECIPE + 'script = "none.sh"\n'],
)  # fmt: skip
def test_what_is_no_recipe(tmp_path: Path, text: str) -> None:
    with pytest.raises(recipe.RecipeError):
        recipe.read(write(tmp_path / "t", text))


def test_what_its_sandboxes_may_reach(tmp_path: Path) -> None:
    plain = recipe.read(write(tmp_path / "t", RECIPE))
    assert plain.metadata.egress is None
    preset = recipe.read(write(tmp_path / "t", RECIPE + '[defaults]\negress = "packages"\n'))
    assert preset.metadata.egress == Egress(presets=["packages"])
    rules = '[[defaults.egress.rules]]\naction = "allow"\nhost = "A.example"\n'
    found = recipe.read(write(tmp_path / "t", RECIPE + rules)).metadata.egress
    assert found is not None and found.rules[0].hosts == ["a.example"]
    with pytest.raises(recipe.RecipeError, match=r"host: 'a b'"):
        recipe.read(write(tmp_path / "t", RECIPE + rules.replace("A.example", "a b")))


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(recipe.RecipeError, match="base"):
        recipe.find("no-such-recipe")
    with pytest.raises(recipe.RecipeError):
        recipe.find(f"{tmp_path}/none")
    with pytest.raises(recipe.RecipeError, match="name"):
        recipe.read(write(tmp_path / "No Name", RECIPE))
