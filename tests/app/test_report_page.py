"""The report, opened in headless Chromium as a reader would, without a network."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from drpt.app.doctor import BROWSERS
from tests.app.conftest import TINY

CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def opened(path):
    """A page of ours in a window; whatever it asks a network for, and every error of its scripts, fails the test."""
    from playwright.sync_api import sync_playwright

    requests, errors = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, offline=True)
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(path.absolute().as_uri())
        yield page
        browser.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; CI installs it")
def test_page_shows_charts_and_table_without_a_network(drpt):
    words = ["regularizer=target_only,full,mix", "regularizer.strength=0.25,0.75", "seed=0,1", "sweep=page"]
    status, text = drpt("train", "-m", *TINY, *words)
    assert status == 0, text
    with opened(Path("runs/page/report.html")) as page:
        page.wait_for_selector("#strengths .scatterlayer path.js-line")
        labels = page.locator("#results tbody td:first-child").all_inner_texts()
        assert labels == ["zero-shot", "target_only", "full", "mix λ=0.25", "mix λ=0.75"]
        seeds = page.locator("#results tbody tr:nth-child(2) td:nth-child(2)").inner_text()
        assert seeds == "0, 1"
        losses = page.locator("#results tbody td:nth-child(3)").all_inner_texts()
        assert all("±" in loss for loss in losses[1:])
        assert page.locator("#curves .scatterlayer .trace").count() == 4
        legend = page.locator("#strengths .legendtext").all_text_contents()
        assert legend == ["mix", "target_only", "full"]
        assert "drpt train -m" in page.locator("#command").inner_text()
        page.locator("details summary").first.click()
        assert page.locator("table.answers").first.is_visible()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 1280, "the page is wider than its window"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; CI installs it")
@pytest.mark.long
def test_probe_shows_curves_for_every_partition_and_batch_size(drpt):
    words = ["--pool", "16", "--draws", "20", "--rows", "4x2", "4x1", "--partitions", "global", "layer", "--out", "out"]
    status, text = drpt("probe", *TINY, *words, "--families", "target_only", "full", "mix", "hull", "cone")
    assert status == 0, text
    with opened(Path("out/probe.html")) as page:
        page.wait_for_selector("#probe-1 .scatterlayer path.js-line")
        assert page.locator("#probe-0 .cartesianlayer .subplot").count() == 4  # two partitions, plane and error
        titles = page.locator("#probe-0 .annotation-text").all_text_contents()
        assert titles == ["global partition", "layer partition"]
        legend = page.locator("#probe-0 .legendtext").all_text_contents()
        assert legend == ["oracle v*", "target_only", "full", "mix", "hull", "cone"]
        best = page.locator("#best-0 tbody td:first-child").all_inner_texts()
        assert sorted(set(best)) == ["cone", "full", "hull", "mix", "target_only"]
        page.locator("details summary").first.click()
        assert page.locator("#all-0").is_visible()
