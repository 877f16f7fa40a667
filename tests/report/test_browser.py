"""The report in a browser: nothing is asked for, and all of it is seen."""

from __future__ import annotations

import json
import shutil

import pytest
from reports import X, Y

from fastmlp.report import write_report

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    made.set_page_load_timeout(60)
    yield made
    made.quit()


LOOK = """
const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
return {
  width: root.scrollWidth, room: innerWidth, dark,
  loaded: [...document.images].map(i => i.complete && i.naturalWidth > 0),
  chosen: [...document.querySelectorAll("picture")].map(
    p => p.querySelector("img").currentSrc == p.querySelector("source").srcset),
  paper: getComputedStyle(document.body).backgroundColor,
};
"""


def requests(browser):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return {m["params"]["request"]["url"] for m in messages
            if m["method"] == "Network.requestWillBeSent"}  # fmt: skip


def look(browser, path, width, scheme):
    browser.get("about:blank")
    browser.get_log("performance"), browser.get_log("browser")
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
    browser.get(path.as_uri())
    return browser.execute_script(LOOK)


@pytest.fixture(scope="module")
def written(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    names = ["<script>alert(1)</script>", "a name that is so long that no table has room for it",
             "W" * 300]  # fmt: skip
    write_report(net, path, X, Y, class_names=names, data_name="x" * 500)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_whole_report_and_asks_for_nothing(browser, written, width, scheme):
    seen = look(browser, written, width, scheme)
    assert seen["room"] == width
    assert seen["width"] <= width
    assert seen["loaded"] == [True] * 8
    assert seen["dark"] == (scheme == "dark")
    assert seen["chosen"] == [scheme == "dark"] * 8
    assert (seen["paper"] == "rgb(255, 255, 255)") == (scheme == "light")
    assert browser.get_log("browser") == []
    asked = {url for url in requests(browser) if not url.startswith("data:")}
    assert asked == {written.as_uri()}


def test_the_browser_would_have_seen_faults(browser, written):
    text = written.read_text("utf-8")
    bad = written.with_name("bad.html")
    bad.write_text(
        text.replace("<main>", "<main><div style='width: 2000px'>wide</div><img src='absent.png'>"
                     "<script>console.error('seen')</script>"), "utf-8",
    )  # fmt: skip
    seen = look(browser, bad, 390, "light")
    assert seen["width"] >= 2000
    assert not all(seen["loaded"])
    assert any("seen" in entry["message"] for entry in browser.get_log("browser"))
    assert bad.with_name("absent.png").as_uri() in requests(browser)
