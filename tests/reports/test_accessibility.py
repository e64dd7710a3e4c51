"""The page in a real browser: axe-core finds nothing, it can be read at 200 %, and it asks for nothing."""

from __future__ import annotations

import itertools
import os
import re
import shutil

import pytest

from collectml.reports.render import to_html

SWITCHES = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SWITCHES += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium of this machine with a profile of its own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        if os.environ.get("COLLECTML_REQUIRE_CHROMIUM"):
            pytest.fail("no Chromium on this machine, and this run requires one")
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=SWITCHES, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture
def short(complete):
    """The whole report, with at most three rows of each table: further rows are built alike, and axe looks at every cell."""
    payload = complete.payload()
    for section in payload["sections"]:
        for table in section["tables"]:
            table["rows"] = table["rows"][:3]
    return payload


def test_it_can_be_read_by_everybody_in_every_language(short, chromium, tmp_path):
    from axe_playwright_python.sync_playwright import Axe

    for language in ("en", "zh-CN", "both"):
        path = tmp_path / f"{language}.html"
        path.write_text(to_html(short, language=language), encoding="utf-8")
        # what a window of 1,280 pixels shows at 200 % is what one of 640 shows at 100 %
        page = chromium.new_page(viewport={"width": 640, "height": 450})
        asked: list[str] = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.evaluate("document.scripts.length") == 0
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
        assert levels[0] == 1
        assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        looked_at = {r["id"] for r in results.response["passes"]}
        assert {"color-contrast", "heading-order", "svg-img-alt", "scrollable-region-focusable"} <= looked_at
        for width in (1_280, 640):
            page.set_viewport_size({"width": width, "height": 450})
            wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide[0] <= wide[1], f"{language} at {width} pixels: the page itself scrolls sideways"
        assert asked == [path.as_uri()]
        page.close()


def test_the_checks_find_what_is_wrong(short, chromium, tmp_path):
    """A page made worse on purpose: pale text, a drawing without a name, a heading out of order, a wide block."""
    from axe_playwright_python.sync_playwright import Axe

    short["sections"] = [s for s in short["sections"] if s["charts"]][:2]
    wrong = to_html(short)
    wrong = wrong.replace("--soft: #555", "--soft: #bbb").replace('role="img" aria-labelledby', 'role="img" data-was', 1)
    wrong = wrong.replace("<h3>", "<h5>", 1).replace("</h3>", "</h5>", 1)
    wrong = re.sub(r'<title id="t1">.*?</title>', "", wrong).replace(
        "</main>", '<div style="width:1200px">wide</div></main>'
    )
    path = tmp_path / "wrong.html"
    path.write_text(wrong, encoding="utf-8")
    page = chromium.new_page(viewport={"width": 640, "height": 450})
    page.goto(path.as_uri())
    found = {v["id"] for v in Axe().run(page).response["violations"]}
    assert {"color-contrast", "svg-img-alt", "heading-order"} <= found
    assert page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    page.close()
