"""The report in a real browser: it fits a telephone and a screen, asks the network for nothing, and opens at once."""

from __future__ import annotations

import functools
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import threading

import pytest
from PIL import Image

from cxr_cli.data.files import Outputs
from cxr_cli.services.report.report import report
from tests.services.report.conftest import finished_study

__all__ = ["finished_study"]

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
#: Loads the page into a frame of a given width and writes what it measures into its own text.
HARNESS = """<!DOCTYPE html><pre id="found">nothing</pre><iframe id="page" style="border:0;height:2000px"></iframe>
<script>
const width = new URLSearchParams(location.search).get("width"), frame = document.getElementById("page");
frame.style.width = width + "px";
frame.onload = () => {
  const inner = frame.contentDocument, root = inner.documentElement;
  const wide = [...inner.querySelectorAll("body *")].filter(item => !item.closest(".scroll") && !item.closest("svg")
    && item.getBoundingClientRect().right > root.clientWidth + 1).map(item => item.tagName);
  document.getElementById("found").textContent = JSON.stringify({
    scroll: root.scrollWidth, client: root.clientWidth, wide,
    requests: frame.contentWindow.performance.getEntriesByType("resource").map(item => item.name),
    scripts: inner.scripts.length, title: inner.title,
    figures: [...inner.querySelectorAll("figure")].every(item => item.getBoundingClientRect().height > 50),
  });
};
frame.src = "report.html";
</script>"""


@pytest.fixture(scope="module")
def browser():
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CXR_BROWSER"):
            pytest.fail("CXR_BROWSER is set and no Chromium was found")
        pytest.skip("needs Chromium")
    return found


@pytest.fixture(scope="module")
def pages(finished_study, tmp_path_factory):
    """Serve the report of the study and the harness; yield their folder and address."""
    folder = tmp_path_factory.mktemp("pages")
    report([finished_study / "study"], page="report.html", outputs=Outputs(folder), with_images=True)
    (folder / "harness.html").write_text(HARNESS)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *arguments: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(browser, folder, *arguments):
    command = [browser, *FLAGS, f"--user-data-dir={folder}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_asks_for_nothing(browser, pages, tmp_path, width):
    address = f"{pages[1]}/harness.html?width={width}"
    dom = run(browser, tmp_path, "--virtual-time-budget=8000", "--dump-dom", address)
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)[1]))
    assert found["client"] == width and found["scroll"] <= width and found["wide"] == []
    assert found["requests"] == [] and found["scripts"] == 0 and found["figures"]
    assert found["title"].startswith("Chest X-ray study")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "height"), [(500, 900), (1280, 900)])
def test_the_page_can_be_seen(browser, pages, tmp_path, width, height):
    page = tmp_path / "page.png"
    run(
        browser,
        tmp_path / "profile",
        f"--window-size={width},{height}",
        f"--screenshot={page}",
        (pages[0] / "report.html").as_uri(),
    )
    with Image.open(page) as image:
        assert image.size == (width, height)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50


@pytest.mark.browser
def test_it_prints_on_a4(browser, pages, tmp_path):
    target = tmp_path / "page.pdf"
    run(
        browser,
        tmp_path / "profile",
        f"--print-to-pdf={target}",
        "--no-pdf-header-footer",
        (pages[0] / "report.html").as_uri(),
    )
    content = target.read_bytes()
    boxes = {tuple(map(float, box.decode().split())) for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", content)}
    assert content.startswith(b"%PDF") and boxes
    for _, _, width, height in boxes:
        assert (round(width), round(height)) in {(595, 842), (594, 841), (596, 842)}
