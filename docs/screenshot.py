"""Makes the picture of the README: ``python docs/screenshot.py RUN``, for a run with a report.

It needs Chromium (Debian's ``chromium-headless-shell``) and the package of the extra ``dev``.
"""

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).with_name("report.png")
SIZE = {"width": 1180, "height": 1000}
COLOURS = 200  # of the picture: few enough for a small file


def main(run: str) -> None:
    """Take a picture of the top of a report by day, and of its first timeline by night."""
    report = Path(run, "report.html").absolute().as_uri()
    picture = Image.new("RGB", (2 * SIZE["width"], SIZE["height"]))
    with sync_playwright() as playwright:
        shell = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=shell, args=["--no-sandbox"])
        for place, scheme in enumerate(("light", "dark")):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(report)
            page.locator("#videos tbody button.open").first.click()
            page.locator("h1, #list h2").nth(place).evaluate("one => one.scrollIntoView()")
            page.mouse.move(0, 0)
            shot = Image.open(io.BytesIO(page.screenshot()))
            picture.paste(shot, (place * SIZE["width"], 0))
        browser.close()
    picture.quantize(COLOURS).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1])
