"""The site of the documents: it builds, each link leads somewhere, and it needs no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(p.stem for p in (ROOT / "docs").glob("*.md"))
ASKED_FOR = {
    "first-run",
    "own-model",
    "wall-meter",
    "reading-a-report",
    "reviewer",
    "replaying",
    "adding-a-runtime",
    "adding-a-meter",
    "format",
    "commands",
    "host",
    "api",
}


class Page(HTMLParser):
    """The links of a page, what it loads by itself, and the anchors in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif "href" in found or "src" in found:
            self.loaded.append(found.get("src") or found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, where any warning of mkdocs is an error."""
    folder = tmp_path_factory.mktemp("site")
    build = ["mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    env = {"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "LC_ALL": "C.UTF-8"}
    # No name of the network resolves for it, should it ask.
    env |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", *build]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_it_has_every_page(pages: dict[Path, Page]) -> None:
    names = {path.stem for path in pages}
    assert names >= ASKED_FOR | set(PAGES)


def test_every_link_leads_to_a_page_and_a_place_in_it(site: Path, pages: dict[Path, Page]) -> None:
    lost = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of the server
            continue
        for link in page.links:
            to = urlsplit(link)
            if to.scheme or to.netloc:
                continue
            target = (path.parent / unquote(to.path)).resolve() if to.path else path
            target = target / "index.html" if target.is_dir() else target
            places = pages[target].anchors if target in pages else set()
            if not target.is_file() or (to.fragment and unquote(to.fragment) not in places):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost


def test_a_page_loads_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert page.loaded
        assert not [link for link in page.loaded if urlsplit(link).netloc], path
    for style in site.rglob("*.css"):
        far = re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", style.read_text())
        assert not far, style


def test_every_page_is_reached_from_the_first(site: Path, pages: dict[Path, Page]) -> None:
    """By the links of its text or the navigation."""
    first = pages[site / "index.html"]
    reached = {urlsplit(link).path for link in first.links}
    assert {f"{name}.html" for name in PAGES} - {"index.html"} <= reached


def test_make_clean_takes_the_site_and_git_leaves_it_out() -> None:
    assert "site/" in (ROOT / ".gitignore").read_text().splitlines()
    assert " site" in (ROOT / "Makefile").read_text().partition("\nclean:")[2]
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "site"], cwd=ROOT, capture_output=True)
        assert not listed.stdout
