"""The page in a real browser: Debian's chromium, without a window."""

import base64
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import delg
from tests.collection.conftest import MODEL
from tests.collection.serve.running import TOKEN, running
from tests.extraction.pictures import picture, write_picture

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if BROWSER is None:
    pytest.skip("no chromium is installed: apt-get install chromium", allow_module_level=True)

SECONDS = 60_000  # milliseconds, for a machine that is busy
DROP = """async ([selector, name, data, type]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const event = type === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens the page; afterwards no request has gone elsewhere and the browser has complained about nothing."""
    contexts, complaints = [], []

    def open_page(service, width=1280, height=900, allowed=(), **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        foreign = lambda request: not request.url.startswith((service.url, "blob:", "data:"))  # noqa: E731
        page.on("request", lambda request: complaints.append(request.url) if foreign(request) else None)
        page.allowed = allowed
        page.goto(service.url)
        return page

    yield open_page
    allowed = [text for context in contexts for page in context.pages for text in page.allowed]
    for context in contexts:
        context.close()
    assert not [text for text in complaints if not any(part in text for part in allowed)]


def give(page, file: Path, kind="drop", selector="#drop"):
    page.evaluate(DROP, [selector, file.name, base64.b64encode(file.read_bytes()).decode(), kind])


def until(page, condition, *values):
    """Waits by questions from outside: the page's policy forbids what the driver would run inside."""
    deadline = time.monotonic() + SECONDS / 1000
    while not page.evaluate(condition, *values):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(30)


def paths(page, grid="#results"):
    return page.locator(f"{grid} .name").all_inner_texts()


def waited(page, grid="#results"):
    page.locator(f"{grid} .tile").first.wait_for()
    return paths(page, grid)


@pytest.fixture(scope="module")
def query(tmp_path_factory):
    return write_picture(tmp_path_factory.mktemp("query") / "query.png", 120, 160, 3)


@pytest.mark.parametrize("kind", ["drop", "paste", "choose"])
def test_a_photo_is_dropped_pasted_or_chosen(shared, opened, query, kind):
    page = opened(shared)
    assert page.locator("#message").inner_text()
    if kind == "choose":
        page.set_input_files("#file", query)
    else:
        give(page, query, kind)
    assert waited(page)[0] == "3.png"
    assert len(paths(page)) == 8
    facts = page.locator("#results .facts").first.inner_text()
    assert "similarity 1.000" in facts and "inliers" in facts
    expected = shared.collection.search(query, k=1)
    assert page.locator(".verdict").count() == (1 if expected.verdict else 0)


def test_a_box_searches_for_a_part(shared, opened, tmp_path):
    canvas = np.zeros((260, 380, 3), np.uint8)
    canvas[10:130, 10:170] = picture(120, 160, 1)
    canvas[130:250, 210:370] = picture(120, 160, 5)
    Image.fromarray(canvas).save(tmp_path / "two.png")
    page = opened(shared)
    give(page, tmp_path / "two.png")
    waited(page)
    box = page.locator("#query").bounding_box()
    factor = box["width"] / 380
    page.mouse.move(box["x"] + 210 * factor, box["y"] + 130 * factor)
    page.mouse.down()
    page.mouse.move(box["x"] + 300 * factor, box["y"] + 200 * factor)
    page.mouse.move(box["x"] + 370 * factor, box["y"] + 250 * factor)
    page.mouse.up()
    until(page, "document.querySelector('#results .name')?.textContent === '5.png'")
    part = page.locator("#box").bounding_box()
    sides = [(part["x"] - box["x"]), (part["y"] - box["y"]), part["width"], part["height"]]
    assert [side / factor for side in sides] == pytest.approx([210, 130, 160, 120], abs=3)
    page.click("#whole")
    waited(page)
    assert not page.locator("#box").is_visible()


def test_the_overlay_by_keyboard_and_find_like_this(shared, opened, query):
    page = opened(shared)
    give(page, query)
    first, second = waited(page)[:2]
    page.locator("#results button").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == second
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    overlay = page.locator("#overlay")
    overlay.wait_for(state="visible")
    assert page.locator("#viewer-title").inner_text() == first
    assert overlay.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [
        328,
        120,
    ]
    page.keyboard.press("ArrowRight")
    until(page, "name => document.querySelector('#viewer-title').textContent === name", second)
    page.keyboard.press("Escape")
    page.locator("#viewer").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == second
    page.keyboard.press("Enter")
    page.click("#like")
    until(page, "name => document.querySelector('#results .name')?.textContent === name", second)


def test_photos_are_added_looked_at_and_removed(service, opened, photos, tmp_path):
    name = "<img src=x onerror=document.title='hacked'>.png"
    page = opened(service)
    page.click("#to-photos")
    assert len(waited(page, "#list")) == 8
    page.set_input_files("#files", write_picture(tmp_path / name, 100, 100, 60))
    until(page, "document.querySelectorAll('#list .tile').length === 9")
    assert name in paths(page, "#list")
    assert (photos / name).exists()
    page.fill("#filter", "onerror")
    until(page, "document.querySelectorAll('#list .tile').length === 1")
    page.locator("#list button").click()
    page.locator("#overlay").wait_for(state="visible")
    page.click("#remove")
    page.click("#confirm button[value=no]")
    assert page.locator("#viewer").is_visible()
    page.click("#remove")
    page.check("#delete-file")
    page.click("#confirm-yes")
    until(page, "document.querySelectorAll('#list .tile').length === 0")
    assert not (photos / name).exists()
    assert "hacked" not in page.title()
    page.fill("#filter", "")
    until(page, "document.querySelectorAll('#list .tile').length === 8")
    (photos / "0.png").unlink()
    page.click("#sync")
    until(page, "document.querySelector('#photos-message').textContent === '1 removed'")
    assert len(paths(page, "#list")) == 7


def test_errors_are_sentences(shared, opened, tmp_path):
    page = opened(shared, allowed=["415", "413"])
    (tmp_path / "no.png").write_bytes(b"no image")
    give(page, tmp_path / "no.png")
    page.locator("#message.bad").wait_for()
    assert "no photo" in page.locator("#message").inner_text()
    write_picture(tmp_path / "large.png", 400, 400, 1)
    give(page, tmp_path / "large.png")
    until(page, "document.querySelector('#message').textContent.includes('400 x 400')")
    page.click("#to-photos")
    waited(page, "#list")
    page.set_input_files("#files", tmp_path / "no.png")
    page.locator("#photos-message.bad").wait_for()
    assert "no.png" in page.locator("#photos-message").inner_text()


def test_the_token_lets_the_page_in(guarded, opened, query):
    page = opened(guarded, allowed=["401"])
    page.locator("#login").wait_for(state="visible")
    page.fill("#token", "wrong-wrong-wrong-wrong")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#login-error').textContent !== ''")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.locator("#search").wait_for(state="visible")
    give(page, query)
    assert waited(page)[0] == "3.png"
    assert page.locator("#results img").first.evaluate("image => image.decode().then(() => image.naturalHeight)") == 120


def test_an_empty_collection_and_a_service_that_has_ended(tmp_path, opened, query):
    (tmp_path / "none").mkdir()
    with running(delg.Collection.open(tmp_path / "none", MODEL)) as service:
        page = opened(service, allowed=["404", "ERR_CONNECTION_REFUSED"])
        page.click("#to-photos")
        until(page, "document.querySelector('#photos-message').textContent.includes('no photo yet')")
        page.click("#to-search")
        give(page, query)
        page.locator("#message.bad").wait_for()
    give(page, query)
    until(page, "document.querySelector('#message').textContent.includes('reached')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_in_its_width(shared, opened, query, scheme):
    page = opened(shared, 390, 844, color_scheme=scheme, has_touch=True)
    give(page, query)
    waited(page)
    narrow = "document.documentElement.scrollWidth <= 390"
    assert page.evaluate(narrow)
    page.locator("#results button").first.tap()
    page.locator("#overlay").wait_for(state="visible")
    assert page.evaluate("document.querySelector('#viewer').getBoundingClientRect().right <= 390")
    for button in page.locator("#viewer button:visible").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 38
    page.tap("#close")
    page.tap("#to-photos")
    waited(page, "#list")
    assert page.evaluate(narrow)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.strip("rgb()").split(","))) < 200) == (scheme == "dark")
