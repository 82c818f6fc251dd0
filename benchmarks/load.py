"""Many people at once: no error, nothing of another's, no memory that stays.

    python -m benchmarks.load [--sessions 20] [--minutes 10] [--seed 0]

Each browser session uploads an image of its own, runs it, looks, downloads the PDF report, whose SHA-256 of the image
must be that of its own, and begins anew with another image. The server's memory is read after every
session's first round and at the end, when all are closed.
"""

import argparse
import asyncio
import contextlib
import hashlib
import io
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Error, Page, async_playwright
from pypdf import PdfReader

from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.browser.serving import served

# Pages that no one looks at are slowed down otherwise.
AWAKE = ("background-timer-throttling", "renderer-backgrounding", "backgrounding-occluded-windows", "gpu")
QUIET = ["--no-sandbox", *(f"--disable-{what}" for what in AWAKE)]
PAUSE = (3.0, 15.0)  # s that a person looks before the next click
ARRIVAL = 90.0  # s within which all come


def image(seed: int) -> bytes:
    """A small micrograph that no other session has."""
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, (200, 220), Structure("powder", diameter=30, spread=0.3)).image).save(buffer, "PNG")
    return buffer.getvalue()


async def settled(page: Page) -> None:
    """The page shows the latest state."""
    await page.wait_for_timeout(500)
    await page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=180_000)


async def run(page: Page) -> None:
    """Press Run until it runs, and wait for its figures."""
    button = page.get_by_role("button", name="Run", exact=True)
    while await button.is_visible() and not await page.get_by_text("Crystals counted").first.is_visible():
        await button.click()
        await settled(page)
        with contextlib.suppress(Error):
            await page.get_by_text("Crystals counted").first.wait_for(timeout=60_000)
    await settled(page)


async def downloaded(page: Page) -> Path:
    """The PDF report. A click is repeated, as people do: Streamlit loses one that comes while it renders."""
    for attempt in range(4):
        await settled(page)
        try:
            async with page.expect_download() as waiting:
                await page.get_by_role("button", name="PDF report").click()
            return await (await waiting.value).path()
        except Error:
            if attempt == 3:
                raise
    raise AssertionError


async def one_round(page: Page, address: str, seed: int, rng: random.Random) -> str:
    """An image from upload to report; a sentence if something is not as it should be."""
    data = image(seed)
    await page.goto(address)
    await page.locator("input[type=file]").first.set_input_files(
        {"name": f"image {seed}.png", "mimeType": "image/png", "buffer": data}
    )
    await page.get_by_role("heading", name=f"image {seed}.png").wait_for(timeout=180_000)
    await settled(page)
    await asyncio.sleep(rng.uniform(*PAUSE))
    await run(page)
    await asyncio.sleep(rng.uniform(*PAUSE))
    await page.get_by_role("tab", name="Report and files").click()
    report = PdfReader(await downloaded(page))
    own = hashlib.sha256(data).hexdigest()[:12]
    if any(own not in sheet.extract_text() for sheet in report.pages):
        return f"the report of image {seed} is of another image"
    alerts = await page.locator("[data-testid=stAlertContentError], [data-testid=stException]").all_inner_texts()
    return f"image {seed}: {alerts[0]}" if alerts else ""


async def session(browser: Browser, address: str, first: int, end: float, told: Counter[str]) -> None:
    """Rounds until the time is over, one at least."""
    context = await browser.new_context(accept_downloads=True)
    page = await context.new_page()
    page.set_default_timeout(120_000)
    seed, rng = first, random.Random(first)
    await asyncio.sleep(rng.uniform(0, ARRIVAL))
    while seed == first or time.monotonic() < end:
        try:
            problem = await one_round(page, address, seed, rng)
        except Exception as error:  # whatever a browser meets is told
            problem = f"image {seed}: {type(error).__name__}: {str(error).splitlines()[0]}"
        told["faults" if problem else "rounds"] += 1
        if problem:
            print(problem, flush=True)
        seed += 1
    await context.close()


def memory(address: str) -> float:
    """Of the server that listens there, MB."""
    port = address.rpartition(":")[2]
    ids = subprocess.run(["pgrep", "-f", f"crystalseg app --server.port {port}"], capture_output=True, text=True).stdout
    status = Path(f"/proc/{ids.split()[0]}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def crowd(address: str, sessions: int, minutes: float, seed: int) -> bool:
    """All sessions at once; whether nothing was wrong."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    rng, told = random.Random(seed), Counter[str]()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=QUIET)

        async def rounds(seconds: float) -> None:
            end = time.monotonic() + seconds
            firsts = [rng.randrange(10**6) * 1000 for _ in range(sessions)]
            await asyncio.gather(*(session(browser, address, first, end, told) for first in firsts))

        await rounds(0.0)  # everyone once: what is loaded when it is first used, is
        before = memory(address)
        await rounds(60 * minutes)
        await browser.close()
    await asyncio.sleep(10)
    after = memory(address)
    print(f"{sessions} sessions, {minutes:g} min: {dict(told)}; server {before:.0f} MB, then {after:.0f} MB")
    return not told["faults"] and after < 1.1 * before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as address:
        good = asyncio.run(crowd(address, options.sessions, options.minutes, options.seed))
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
