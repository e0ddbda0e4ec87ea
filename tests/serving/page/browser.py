"""A visit to the page in a real browser: what a person does there, and what must hold of every visit."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, expect
from running_server import Running

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NARROW, WIDE = (390, 844), (1280, 900)

_KEPT = """async () => [localStorage.length, sessionStorage.length, document.cookie.length,
    (await indexedDB.databases()).length, (await caches.keys()).length,
    (await navigator.serviceWorker.getRegistrations()).length, window.name.length]"""
_FILES = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, type, content] of files)
        transfer.items.add(new File([Uint8Array.from(atob(content), (each) => each.charCodeAt(0))], name, { type }));
    return transfer;
}"""
_PASTE = "(files) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: files, bubbles: true }))"


@dataclass
class OpenPage:
    """An open page, and every address it asked."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def give_token(self, token: str | None) -> None:
        self.page.get_by_label("Token of this server").fill(token or "")
        self.page.get_by_role("button", name="Use it").click()
        expect(self.page.locator("#busy")).to_be_hidden()

    def files(self, *films: tuple[str, bytes]):  # a handle of the browser's
        return self.page.evaluate_handle(_FILES, [[name, "", base64.b64encode(data).decode()] for name, data in films])

    def drop(self, *films: tuple[str, bytes]) -> None:
        for event in ("dragover", "drop"):
            self.page.dispatch_event("main", event, {"dataTransfer": self.files(*films)})

    def paste(self, *films: tuple[str, bytes]) -> None:
        self.page.evaluate(_PASTE, self.files(*films))

    def choose(self, film: tuple[str, bytes]) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose a film").press("Enter")
        chooser.value.set_files({"name": film[0], "mimeType": "", "buffer": film[1]})

    def read(self, *films: tuple[str, bytes]) -> None:
        """Drop a film and wait until it was read."""
        self.drop(*films)
        self.expect_read(films[0][0])

    def expect_read(self, name: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(f"{name} was read in")

    def expect_error(self, sentence: str) -> None:
        expect(self.page.get_by_role("alert")).to_contain_text(sentence)

    def shown_films(self) -> list[bytes]:
        """The films on the page as PNG files."""
        sources = self.page.locator(".looks img").evaluate_all("(images) => images.map((image) => image.src)")
        return [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources]

    def rows(self, title: str) -> list[list[str]]:
        """The lines of the forest plot under a heading, as text: name, encoder, value and interval."""
        read = """(section) => [...section.querySelectorAll("tbody")].flatMap((body) =>
            [...body.rows].map((row) => [".name", ".encoder", ".number"].map(
                (kind) => (row.querySelector(kind) ?? body.querySelector(kind)).textContent.trim())))"""
        return self.page.locator("#answer section", has=self.page.get_by_role("heading", name=title)).evaluate(read)


@contextmanager
def open_page(
    browser: Browser, server: Running, *, size: tuple[int, int] = WIDE, scheme: str = "light", **options: object
) -> Iterator[OpenPage]:
    """Open the page in a context of its own.

    At the end: every request went to the server it came from, none carried the token in its address, the browser's
    console had nothing to complain of but refusals the test provoked, and nothing was kept in the browser.
    """
    origin = f"http://127.0.0.1:{server.port}/"
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
    opened = OpenPage(context.new_page())
    context.on("request", lambda request: opened.asked.append(request.url))
    opened.page.on("console", lambda message: opened.complaints.append(message.text))
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    try:
        opened.page.goto(origin)
        yield opened
        elsewhere = [url for url in opened.asked if not url.startswith((origin, "data:", "blob:"))]
        assert not elsewhere
        assert not [url for url in opened.asked if server.token and server.token in url]
        assert not [text for text in opened.complaints if not text.startswith("Failed to load resource")]
        assert opened.page.evaluate(_KEPT) == [0] * 7
        assert context.cookies() == []
        assert not server.token or server.token not in opened.page.content()
    finally:
        context.close()
