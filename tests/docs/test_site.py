"""The site: built without a warning, no dead link, nothing fetched, every public name and every verb documented."""

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

from pacx.cli import main as command
from pacx.recipes.run import all_recipes

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BESIDE_THE_SITE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def _reference_pages() -> ModuleType:
    found = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


reference_pages = _reference_pages()


@dataclass
class Page(HTMLParser):
    """What a page links to, what it loads, and which places of it can be linked to."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script", "iframe", "source", "audio", "video") and "src" in given:
            self.loaded.append(given["src"])
        elif tag == "link" and "href" in given:
            self.loaded.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command of ``make docs``, in which a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    (recipe,) = re.findall(r"^docs:.*\n\t\$\(BIN\)/python (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "-W" in recipe.split()
    words = recipe.replace("build/doctrees", str(folder / "trees")).replace("build/site", str(folder / "html")).split()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    parsed = {}
    for path in sorted(site.rglob("*.html")):
        parsed[path] = Page()
        parsed[path].feed(path.read_text())
    return parsed


@pytest.mark.slow
def test_every_link_leads_to_a_page_and_a_place_on_it(pages: dict[Path, Page]) -> None:
    assert len(pages) > 100
    for path, page in pages.items():
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                continue
            assert not parts.scheme, f"{path.name}: {link}"
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name} links to {link}, which is not there"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.name}: no such place: {link}"


@pytest.mark.slow
def test_a_page_fetches_nothing(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for loaded in page.loaded:
            assert not re.match(r"(https?:)?//", loaded), f"{path.name} loads {loaded}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", path.read_text()), path


@pytest.mark.slow
def test_every_public_name_is_on_its_page_with_its_documentation(pages: dict[Path, Page]) -> None:
    by_name = {path.name: page for path, page in pages.items()}
    packages = list(reference_pages.public_packages())
    assert "pacx" in [package.__name__ for package in packages]
    for package in packages:
        page = by_name[f"{package.__name__}.html"]
        for name in package.__all__:
            value = getattr(package, name)
            assert reference_pages.documentation(package, name), f"{package.__name__}.{name} says nothing of itself"
            assert inspect.ismodule(value) or f"{package.__name__}.{name}" in page.anchors, name
            if inspect.isclass(value):
                undocumented = [
                    each for each, member in vars(value).items()
                    if not each.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
                    and not inspect.getdoc(getattr(value, each))
                ]  # fmt: skip
                assert not undocumented, f"{name}: {undocumented}"


def test_public_names_are_found_where_a_package_hands_them_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As ``pacx`` does it: the names are listed, and loaded by ``__getattr__``."""
    folder = tmp_path / "pacx_like"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        '"""A package."""\n__all__ = ["Bare", "LIMIT", "Said", "silent"]\n\n\ndef __getattr__(name):\n'
        "    import importlib\n\n    return getattr(importlib.import_module('pacx_like.room'), name)\n"
    )
    (folder / "room.py").write_text(
        'from dataclasses import dataclass\n\nLIMIT = 3\n"""How many there may be."""\n\n\n'
        '@dataclass\nclass Said:\n    """Says something."""\n\n    x: int = 0\n\n\n'
        "@dataclass\nclass Bare:\n    x: int = 0\n\n\ndef silent():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("pacx_like")
    said = {name: reference_pages.documentation(package, name) for name in package.__all__}
    assert said == {"Bare": "", "LIMIT": "How many there may be.", "Said": "Says something.", "silent": ""}
    page = reference_pages.api_page(package, {id(package.silent): "pacx.silent"})
    assert [line for line in page.splitlines() if line.startswith(".. auto")] == [
        ".. autoclass:: pacx_like.Bare",
        ".. autoclass:: pacx_like.Said",
    ]
    assert ".. py:data:: LIMIT\n\n   How many there may be." in page
    assert ".. py:data:: silent\n\n   The same as :py:obj:`pacx.silent`." in page
    package.silent = importlib.import_module("pacx_like.room")  # as importing pacx_like/silent.py would do
    assert reference_pages.documentation(package, "silent") == ""


@pytest.mark.slow
def test_every_verb_and_every_recipe_has_the_page_of_its_help(site: Path) -> None:
    for verb in command._VERBS:
        assert f"usage: pacx {verb}" in (site / "reference" / "cli" / f"{verb}.html").read_text()
    for recipe in all_recipes():
        text = (site / "reference" / "cli" / "train" / f"{recipe}.html").read_text()
        assert f"usage: pacx train {recipe}" in text
        assert ("--training.epochs" in text) != ("closed-form" in recipe)


@pytest.mark.parametrize("path", BESIDE_THE_SITE, ids=lambda path: path.name)
def test_links_beside_the_site_lead_to_files_and_headings(path: Path) -> None:
    for link in LINK.findall(path.read_text()):
        place, _, heading = link.partition("#")
        if urlsplit(link).scheme:
            continue
        target = path.parent / place if place else path
        assert target.exists(), f"{path.name} links to {link}, which is not there"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{path.name}: {target.name} has no heading #{heading}"


def test_the_promised_formats_are_those_of_the_code() -> None:
    promised = re.findall(r"^\| (.+?) \| (\d+) \| `(\w+)` of `([\w.]+)` \|$", _text("compatibility.md"), re.MULTILINE)
    assert len(promised) == 5
    for what, version, name, module in promised:
        assert getattr(importlib.import_module(module), name) == int(version), what


def test_every_decision_is_listed_once_and_in_order() -> None:
    listed = re.findall(r"^\| \[(\d{4})\]\((\d{4}-[\w-]+\.md)\) \|", _text("adr/README.md"), re.MULTILINE)
    assert [file for _, file in listed] == sorted(path.name for path in (DOCS / "adr").glob("0*.md"))
    assert all(file.startswith(number) for number, file in listed)
    for missing in re.findall(r"\b0\d{3}\b", _text("adr/README.md").partition("| # |")[0]):
        assert not list((DOCS / "adr").glob(f"{missing}-*")), f"{missing} is there"


def _text(name: str) -> str:
    return (DOCS / name).read_text()
