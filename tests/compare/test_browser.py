"""The report in a real browser: it works by mouse and keyboard, fits a phone, can be read, and fetches nothing."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from helpers.report_project import MARKUP, Project

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def page(browser: "playwright.Browser", project: Project) -> "Iterator[playwright.Page]":
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(project.page.as_uri())
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}])
def test_opens_without_a_message_or_a_request(
    browser: "playwright.Browser", project: Project, scheme: str, viewport: dict[str, int]
) -> None:
    said: list[str] = []
    asked: list[str] = []
    with browser.new_context(color_scheme=scheme, viewport=viewport) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(project.page.as_uri(), wait_until="networkidle")
        page.locator("#matrix button").first.click()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [project.page.as_uri()]


@pytest.mark.parametrize("name", ["project", "many_classes"])
def test_nothing_overflows_a_phone(browser: "playwright.Browser", request: pytest.FixtureRequest, name: str) -> None:
    project = request.getfixturevalue(name)
    with browser.new_context(viewport=PHONE) as context:
        page = context.new_page()
        page.goto(project.page.as_uri())
        page.locator("#matrix button").first.click()
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        wide = page.evaluate(
            """width => [...document.body.querySelectorAll("*")]
            .filter(each => !each.closest(".scroll, nav ul, pre, .skip"))
            .filter(each => each.getBoundingClientRect().right > width + 1)
            .map(each => each.outerHTML.slice(0, 120))""",
            PHONE["width"],
        )
        assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(browser: "playwright.Browser", project: Project, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(project.page.as_uri())
        assert page.evaluate(CONTRAST) == []


def test_matrix_cells_open_their_photos(page: "playwright.Page") -> None:
    buttons = page.locator("#matrix button:not(.right)")
    for number in range(buttons.count()):
        button = buttons.nth(number)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        images = page.locator("#cell img")
        assert images.count() == int(button.inner_text())
        for image in images.all():
            image.evaluate("each => each.decode()")
            assert image.evaluate("each => each.naturalWidth") > 0


def test_a_thumbnail_opens_its_photo_with_the_boxes_drawn(page: "playwright.Page") -> None:
    dialog, images = page.locator("#viewer"), page.locator("#errors img.opens:visible")
    assert not dialog.is_visible()
    images.first.click()
    assert dialog.is_visible()
    assert dialog.locator(".path").inner_text() == images.first.get_attribute("title")
    stage, marks = dialog.locator(".stage").bounding_box(), dialog.locator(".box")
    assert stage is not None
    places = [marks.nth(number).bounding_box() for number in range(marks.count())]
    assert len(places) == 2
    for place, left in zip(places, (3, 15), strict=True):
        assert place is not None
        shares = (place["x"] - stage["x"]) / stage["width"], place["width"] / stage["width"]
        assert any(abs(shares[0] - left / width) < 0.01 for width in (32, 43))
    page.locator("#viewer-close").click()
    assert not dialog.is_visible()
    images.nth(1).focus()
    page.keyboard.press("Enter")
    assert dialog.locator(".path").inner_text() == images.nth(1).get_attribute("title")


def test_every_model_s_matrix_has_as_many_errors_as_its_gallery(page: "playwright.Page", project: Project) -> None:
    def drawn() -> str:
        return page.locator("#matrix caption").inner_text().partition(":")[0]

    assert drawn() == page.locator("#matrix-model").input_value()
    for name in project.rows:
        page.select_option("#matrix-model", label=name)
        assert drawn() == name
        assert page.locator("#error-model").input_value() == name
        cells = page.locator("#matrix button:not(.right)").all_inner_texts()
        panel = page.locator(f"[data-model={name}]")
        assert panel.is_visible()
        assert page.locator("[data-model]:visible").count() == 1
        errors = int(panel.locator(".error-count").get_attribute("value"))
        assert sum(map(int, cells)) == errors == panel.locator("[data-gallery=confident] figure").count()


def test_matrix_is_sorted_as_asked(page: "playwright.Page") -> None:
    def rows() -> list[str]:
        return page.locator("#matrix tbody th").all_inner_texts()

    page.select_option("#matrix-order", "name")
    by_name = rows()
    assert by_name[0] == MARKUP
    assert by_name[1:] == sorted(by_name[1:])
    page.select_option("#matrix-order", "errors")
    assert sorted(rows()) == sorted(by_name)
    page.select_option("#matrix-order", "recall")
    recalls = page.evaluate(
        """() => [...document.querySelectorAll("#matrix tbody tr")].map(row =>
        Number(row.querySelector(".right")?.textContent || 0) / Number(row.lastChild.textContent))"""
    )
    assert recalls == sorted(recalls)
    page.fill("#matrix-filter", "lynx")
    assert "Lynx lynx" in rows()


def test_tables_are_sorted_by_their_headings(page: "playwright.Page") -> None:
    heading = page.locator("#class-table thead th").nth(2)
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        values = page.eval_on_selector_all(
            "#class-table tbody td:nth-child(3) data", "all => all.map(d => Number(d.value))"
        )
        assert values == sorted(values, reverse=order == "descending")
        assert len(values) == 6


def test_long_tables_show_all_rows_when_asked(browser: "playwright.Browser", many_classes: Project) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(many_classes.page.as_uri())
        rows = page.locator("#class-table tbody tr:visible")
        assert rows.count() == 40
        page.fill("#class-filter", "species149")
        assert rows.locator("th").all_inner_texts() == ["Genus29 species149"]
        page.fill("#class-filter", "")
        page.click("[data-more=class-table]")
        assert rows.count() == 150
        assert page.locator("#matrix tbody tr").count() == 30
        page.fill("#matrix-filter", "species007")
        assert "Genus1 species007" in page.locator("#matrix tbody th").all_inner_texts()


def test_keyboard_reaches_cells_and_moves_between_them(page: "playwright.Page") -> None:
    page.focus("#matrix-filter")
    for _ in range(2):  # the region that scrolls, then the matrix
        page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.dataset.cell")
    assert first
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.dataset.cell")
    assert second != first
    page.keyboard.press("Enter")
    assert page.locator("#matrix [aria-pressed=true]").get_attribute("data-cell") == second
    assert page.locator("#cell img").count() > 0


def test_confused_pair_leads_to_its_cell(page: "playwright.Page") -> None:
    button = page.locator(".to-cell:visible").first
    truth, predicted = button.get_attribute("data-truth"), button.get_attribute("data-predicted")
    button.click()
    assert f"{truth} taken for {predicted}" in page.locator("#cell h3").inner_text()


def test_corrections_are_saved_as_csv(page: "playwright.Page", project: Project, tmp_path: Path) -> None:
    suspects = page.locator(".suspect")
    assert suspects.count() >= 2
    page.click("#corrections button[type=submit]")
    assert page.locator("#corrections-status").inner_text() == "Tick a photo first."
    first, second = suspects.nth(0), suspects.nth(1)
    first.locator("input").check()
    second.locator("select").focus()
    assert sorted(filter(None, second.locator("option").all_inner_texts())) == sorted(
        [*project.labels, "(leave the photo out)"]
    )
    second.locator("select").select_option(MARKUP)
    with page.expect_download() as waiting:
        page.click("#corrections button[type=submit]")
    assert waiting.value.suggested_filename == "corrections.csv"
    waiting.value.save_as(tmp_path / "corrections.csv")
    saved = pd.read_csv(tmp_path / "corrections.csv", dtype=str, keep_default_na=False)
    assert list(saved.columns) == ["path", "label", "suspected_by"]
    expected = [
        [first.get_attribute("data-path"), first.locator("b").inner_text(), "model"],
        [second.get_attribute("data-path"), MARKUP, "model"],
    ]
    assert saved.to_numpy().tolist() == expected
    assert "," in expected[0][0]


def test_screen_readers_get_names(page: "playwright.Page") -> None:
    page.locator("#matrix button").first.click()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, img, [role=img], [role=region], svg[role]")]
        .filter(each => !(each.getAttribute("aria-label") || each.getAttribute("aria-labelledby") || each.alt
            || each.labels?.[0]?.textContent.trim() || each.textContent.trim()))
        .map(each => each.outerHTML.slice(0, 120))"""
    )
    assert unnamed == []
    ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))
    pointed = page.eval_on_selector_all(
        "[aria-labelledby], [aria-describedby], label[for]",
        """all => all.flatMap(each => `${each.getAttribute("aria-labelledby") || ""} ${
        each.getAttribute("aria-describedby") || ""} ${each.htmlFor || ""}`.trim().split(/ +/))""",
    )
    assert set(pointed) <= set(ids)
    levels = page.eval_on_selector_all("main :is(h1,h2,h3,h4)", "all => all.map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_print_leaves_out_controls_and_unfolds(page: "playwright.Page") -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("nav").is_visible()
    assert page.locator(".controls:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


# WCAG 2.1, 1.4.3: the relative luminances of text and of what lies behind it, 4.5 to 1 or more.
CONTRAST = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const behind = each => {
    const layers = [];
    for (let at = each; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const light = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const each of document.body.querySelectorAll("*")) {
    const own = [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !each.checkVisibility() || each.closest("script, style, .skip, title, desc")) continue;
    const style = getComputedStyle(each), back = behind(each);
    const ink = over(parse(each.ownerSVGElement ? style.fill : style.color), back);
    const [high, low] = [light(ink), light(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push([ratio.toFixed(2), each.outerHTML.slice(0, 100)]);
  }
  return poor;
}"""
