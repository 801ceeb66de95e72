"""A browser for pages, where there is one."""

import pytest
from page_reading import BROWSER


@pytest.fixture(scope="module")  # its event loop runs as long as it is open: no other module shall find it running
def browser():
    """Headless Chromium; tests that need it are skipped where it is absent."""
    if BROWSER is None:
        pytest.skip("a browser: install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="a driver of browsers: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
