"""The web page in a real browser against a real server: what a person does with it, by mouse and by keyboard."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from browser import NARROW, WIDE, OpenPage, open_page
from film_bytes import PATIENT, dicom, film, png
from PIL import Image
from playwright.sync_api import Browser, expect
from running_server import Running

import pacx
from pacx.core.vocabulary import quantity_title
from pacx.data.images.decode import to_square
from pacx.inference.export_folder import RESEARCH_USE
from pacx.models.heads.classifier import load_classifier
from pacx.models.heads.readouts import load_readouts
from pacx.models.heads.reference import load_reference

PNG, DICOM = ("film.png", png(film(1))), ("IM0001", dicom(film(2), "MONOCHROME1"))
LEAST_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_dropped_film_is_shown_as_the_encoder_saw_it(page: OpenPage) -> None:
    page.read(PNG)
    shown = page.shown_films()
    assert len(shown) == 2
    for each in shown:
        np.testing.assert_array_equal(pixels(each), to_square(film(1), 64))


def test_a_dicom_film_without_a_suffix_is_read_and_its_header_stays_unread(page: OpenPage) -> None:
    page.read(DICOM)
    seen, negative = pixels(page.shown_films()[0]).astype(int), to_square(255 - film(2), 64).astype(int)
    assert np.abs(seen - negative).max() <= 1  # a 12-bit window rounds
    assert PATIENT not in page.page.content()


def test_a_film_may_be_pasted_or_chosen(page: OpenPage) -> None:
    page.paste(PNG)
    page.expect_read("film.png")
    page.choose(("chosen.png", png(film(3))))
    page.expect_read("chosen.png")
    np.testing.assert_array_equal(pixels(page.shown_films()[0]), to_square(film(3), 64))


def test_two_encoders_stand_side_by_side_with_the_numbers_torch_computes(
    page: OpenPage, exports: dict[str, Path]
) -> None:
    page.read(PNG)
    assert page.page.locator(".looks figcaption .mark").all_text_contents() == ["mae", "pacx"]
    expected = {}
    for name, folder in exports.items():
        embedding = pacx.load_encoder(folder).embed([film(1)])
        for quantity, head in load_readouts(folder).items():
            low, value, high = head.predict(embedding)[0]
            expected[quantity_title(quantity), name] = None if head.abstains else (value, low, high)
    rows = {(quantity, encoder): number for quantity, encoder, number in page.rows("Read-outs")}
    said = {quantity for quantity, _ in rows}
    assert said == {quantity for (quantity, _), numbers in expected.items() if numbers}
    for (quantity, encoder), number in rows.items():
        numbers = expected[quantity, encoder]
        if numbers is None:
            assert number == "abstains"
            continue
        shown = number.replace("[", "").replace("]", "").replace(",", "").split()
        for text, exact in zip(shown, numbers, strict=True):
            decimals = len(text.partition(".")[2])
            assert (text == "open") == np.isinf(exact)
            assert text == "open" or abs(float(text) - exact) <= 0.5 * 10**-decimals + 1e-4 * abs(exact)
    assert "abstains" in rows.values()
    assert any(quantity.startswith("Lactate, mmol/L") for quantity, _ in expected)
    silent = page.page.locator(".silent").inner_text()
    assert all(quantity in silent for quantity, _ in expected if quantity not in said)


def test_findings_are_the_classifiers_own(page: OpenPage, exports: dict[str, Path]) -> None:
    page.read(PNG)
    rows = {(label, encoder): number for label, encoder, number in page.rows("Findings")}
    num_labels = 0
    for name, folder in exports.items():
        classifier = load_classifier(folder)
        num_labels += len(classifier.labels)
        for label, (low, probability, high) in zip(
            classifier.labels, classifier.predict(pacx.load_encoder(folder).embed([film(1)]))[0], strict=True
        ):
            shown = rows[label.replace("_", " "), name].replace("[", "").replace("]", "").replace(",", "").split()
            for text, exact in zip(shown, (probability, low, high), strict=True):
                outside = {"<0.01": exact < 0.00501, ">0.99": exact > 0.99499}
                assert outside[text] if text in outside else abs(float(text) - exact) < 0.0051
    assert len(rows) == num_labels > 0


def test_a_film_that_is_unlike_all_others_is_called_so_by_those_who_say_it(
    page: OpenPage, exports: dict[str, Path]
) -> None:
    white = np.full((64, 64), 255, np.uint8)
    for pixels_, name in ((white, "white.png"), (film(1), "film.png")):
        page.read((name, png(pixels_)))
        said = page.page.locator(".distances li").all_inner_texts()
        assert len(said) == len(exports)
        unusual = []
        for sentence, (encoder, folder) in zip(said, exports.items(), strict=True):
            reference = load_reference(folder)
            distances = reference.distances(pacx.load_encoder(folder).embed([pixels_]))
            (shown,) = re.findall(r"than ([\d.]+) %", sentence)
            assert abs(float(shown) - reference.percentiles(distances)[0]) <= 0.5
            if reference.is_unusual(distances)[0]:
                unusual.append(encoder)
            assert ("unusual" in sentence) == (encoder in unusual)
        warning, status = page.page.locator(".warning"), page.page.get_by_role("status")
        assert warning.count() == bool(unusual)
        assert all(encoder in warning.inner_text() and encoder in status.inner_text() for encoder in unusual)
        assert name != "white.png" or unusual


def test_the_keyboard_alone_reaches_film_overlay_and_details(page: OpenPage) -> None:
    page.read(PNG)
    keyboard, active = page.page.keyboard, page.page.locator(":focus")
    page.page.locator("#choose").focus()
    keyboard.press("Shift+Tab")
    reached = []
    for _ in range(4):
        outline = active.evaluate("(each) => getComputedStyle(each).outlineStyle")
        assert outline != "none", "the focus has to be seen"
        reached.append(active.evaluate("(each) => each.id || each.className || each.tagName"))
        keyboard.press("Tab")
    assert reached == ["skip", "choose", "opacity", "SUMMARY"]
    page.page.locator("#opacity").focus()
    slider, maps = page.page.get_by_label("Attention overlay"), page.page.locator("canvas.attention")
    assert maps.count() == 2
    for key, percent in (("ArrowRight", 55), ("ArrowLeft", 50), ("End", 100), ("Home", 0), ("ArrowUp", 5)):
        keyboard.press(key)
        assert slider.get_attribute("aria-valuetext") == f"{percent} percent"
        expect(page.page.locator("#opacity-value")).to_have_text(f"{percent} %")
        for index in range(2):
            assert float(maps.nth(index).evaluate("(each) => getComputedStyle(each).opacity")) == percent / 100
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(page.page.get_by_role("heading", name="pacx", exact=True)).to_be_visible()


def test_the_overlay_is_strongest_where_the_encoder_looked(page: OpenPage, exports: dict[str, Path]) -> None:
    page.read(PNG)
    for name, folder in exports.items():
        canvas = page.page.get_by_role("img", name=f"Attention of {name}, strongest in the")
        drawn = np.array(canvas.evaluate(STRENGTHS)).reshape(448, 448)
        wanted = pacx.load_encoder(folder).attention_rollout(film(1))  # (64, 64) in [0, 1]
        coarse = drawn.reshape(64, 7, 64, 7).mean(axis=(1, 3)) / 191
        assert np.corrcoef(coarse.ravel(), wanted.ravel())[0, 1] > 0.99
        row, column = np.unravel_index(wanted.argmax(), wanted.shape)
        where = ("upper", "", "lower")[3 * row // 64], ("left", "middle", "right")[3 * column // 64]
        assert f"strongest in the {' '.join(filter(None, where))} of" in canvas.get_attribute("aria-label")


def test_a_wrong_token_is_said_and_the_film_waits_for_the_right_one(chromium: Browser, page_server: Running) -> None:
    with open_page(chromium, page_server) as page:
        expect(page.page.get_by_role("status")).to_have_text("The server asks for its token.")
        expect(page.page.get_by_role("alert")).to_have_text("")
        page.drop(PNG)
        expect(page.page.get_by_role("status")).to_contain_text("film.png will be read then")
        page.give_token("not-the-token-of-this-server")
        page.expect_error("The server does not know this token")
        expect(page.page.get_by_label("Token of this server")).to_be_focused()
        page.give_token(page_server.token)
        page.expect_read("film.png")
        expect(page.page.get_by_role("alert")).to_have_text("")
        expect(page.page.get_by_label("Token of this server")).to_be_hidden()
        expect(page.page.get_by_role("button", name="Choose a film")).to_be_focused()


def test_a_token_is_forgotten_with_the_page(page: OpenPage) -> None:
    page.page.reload()
    expect(page.page.get_by_label("Token of this server")).to_be_visible()
    expect(page.page.get_by_label("Token of this server")).to_have_value("")


def test_a_damaged_film_leaves_no_old_answer_beside_its_error(page: OpenPage) -> None:
    page.read(PNG)
    page.drop(("damaged.png", PNG[1][: len(PNG[1]) // 2]))
    page.expect_error("damaged")
    assert page.page.locator("#answer *, #looks *").count() == 0
    expect(page.page.get_by_label("Attention overlay")).to_be_hidden()
    page.drop(("letter.txt", b"Dear colleague"))
    expect(page.page.get_by_role("alert")).not_to_have_text("")
    page.drop(PNG, DICOM)
    page.expect_error("2 files were given; give one film at a time")
    page.read(PNG)
    expect(page.page.get_by_role("alert")).to_have_text("")


def test_of_two_films_dropped_at_once_the_later_counts(page: OpenPage) -> None:
    page.drop(PNG)
    page.read(("later.png", png(film(4))))
    page.page.wait_for_load_state("networkidle")
    page.expect_read("later.png")
    np.testing.assert_array_equal(pixels(page.shown_films()[0]), to_square(film(4), 64))


def test_a_server_that_is_gone_is_said(page: OpenPage) -> None:
    page.page.context.set_offline(True)
    page.drop(PNG)
    page.expect_error("The server cannot be reached")
    page.page.context.set_offline(False)
    page.read(PNG)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_everything_fits_and_can_be_read(
    chromium: Browser, page_server: Running, size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    with open_page(chromium, page_server, size=size, scheme=scheme) as page:
        page.give_token(page_server.token)
        page.read(PNG)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        ground = page.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 3 * 128) == (scheme == "dark")
        assert {text: ratio for text, ratio in page.page.evaluate(CONTRASTS).items() if ratio < LEAST_CONTRAST} == {}
        page.page.get_by_text("Encoders on this server").click()
        page.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        expect(page.page.get_by_text(RESEARCH_USE)).to_be_in_viewport(ratio=1)
        page.page.screenshot(path=tmp_path / "page.png", full_page=True)


STRENGTHS = """(map) => [...map.getContext("2d").getImageData(0, 0, map.width, map.height).data]
    .filter((_, index) => index % 4 === 3)"""
CONTRASTS = """() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([red, green, blue]) => [red, green, blue].map((each) => each / 255)
        .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
        .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const colour = channels(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
    };
    const texts = [...document.querySelectorAll("body *")].filter((node) =>
        node.checkVisibility() && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()));
    return Object.fromEntries(texts.map((node) => {
        const pair = [light(channels(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
        return [node.textContent.trim().slice(0, 60), (pair[0] + 0.05) / (pair[1] + 0.05)];
    }));
}"""
