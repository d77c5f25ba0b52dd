"""docs/report.png, the picture in the README: python -m tools.screenshot, after `dvc repro`."""

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

REPORT, PICTURE = Path("reports/index.html"), Path("docs/report.png")


def main() -> None:
    """Photograph the top of the report, by Playwright's own Chromium or the system's."""
    with sync_playwright() as playwright:
        system = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1000, "height": 1100})
        page.goto(REPORT.absolute().as_uri())
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
