"""How quickly the pages answer in a real browser, at 4 and 16 megapixels.

`python -m benchmarks.viewer` starts the app with a record of its own, measures a synthetic micrograph once and then
times what needs no network: the first page, a layer switch (first time and again), the live threshold, an outline
switch, zoom, and corrections. Each time runs from the action to the frame that shows it; medians of several.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Page, expect

from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.browser.serving import chromium, served

# Time from an action to the first frame after the viewer shows what was asked for.
TIMED = """async (root, [name, value, event]) => {
  const part = root.querySelector('.' + name);
  const began = performance.now();
  if (part.type === 'checkbox') part.checked = value; else part.value = value;
  part.dispatchEvent(new Event(event));
  while (name === 'layer' && root.dataset.layer !== value) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""
WHEEL = """async root => {
  const canvas = root.querySelector('canvas'), box = canvas.getBoundingClientRect();
  const began = performance.now();
  canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -100, clientX: box.x + 300, clientY: box.y + 200}));
  await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""
# Until the viewer shows another version of the labels.
CHANGED = "async (root, before) => { while (root.dataset.ready === before) await new Promise(requestAnimationFrame); }"


def settled(page: Page) -> None:
    page.wait_for_timeout(700)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=120_000)
    page.locator(".viewer[data-ready]").wait_for(timeout=120_000)


def to_page(page: Page, name: str) -> float:
    """Seconds until a page of the navigation shows its image."""
    page.locator(".viewer").evaluate("root => { root.dataset.left = true }")
    began = time.perf_counter()
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, level=1).wait_for()
    page.locator(".viewer[data-ready]:not([data-left])").wait_for(timeout=120_000)
    took = time.perf_counter() - began
    settled(page)
    return took


def measure(page: Page, picture: Path) -> list[tuple[str, float]]:
    page.locator("[data-testid=stSidebar] input[type=file]").set_input_files(picture)
    expect(page.get_by_role("heading", name=picture.name)).to_be_visible(timeout=120_000)
    settled(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Average crystal size").first).to_be_visible(timeout=1_200_000)
    settled(page)
    rows = [("Inspect page, first time", 1000 * to_page(page, "Inspect"))]
    viewer = page.locator(".viewer")
    names = page.eval_on_selector_all(".viewer .layer option", "all => all.map(o => o.value).filter(v => v)")
    rows.append(("layer, first time", median(viewer.evaluate(TIMED, ["layer", n, "change"]) for n in names)))
    rows.append(("layer, again", median(viewer.evaluate(TIMED, ["layer", n, "change"]) for n in names)))
    viewer.evaluate(TIMED, ["layer", "fused foreground", "change"])
    levels = ("-3", "-1", "1", "3")
    rows.append(("live threshold", median(viewer.evaluate(TIMED, ["threshold", v, "input"]) for v in levels)))
    rows.append(("outlines", median(viewer.evaluate(TIMED, ["outline", v, "change"]) for v in (False, True) * 3)))
    rows.append(("zoom", median(viewer.evaluate(WHEEL) for _ in range(6))))
    rows.append(("Correct page", 1000 * to_page(page, "Correct")))
    page.get_by_role("textbox", name="Your name").fill("A. Kern")
    page.keyboard.press("Tab")
    settled(page)
    canvas = page.locator(".viewer canvas")
    box = canvas.bounding_box()
    times = {"delete a crystal": [], "undo": []}
    for step in range(200):
        # points spread evenly over the picture, until there is a crystal under the pointer
        x, y = ((step * share) % 0.9 + 0.05 for share in (0.381966, 0.618034))
        canvas.click(position={"x": box["width"] * x, "y": box["height"] * y})
        if not viewer.get_attribute("data-selected"):
            continue
        for name, key in (("delete a crystal", "Delete"), ("undo", "z")):
            before = viewer.get_attribute("data-ready")
            began = time.perf_counter()
            page.keyboard.press(key)
            viewer.evaluate(CHANGED, before)
            times[name].append(1000 * (time.perf_counter() - began))
            settled(page)
        canvas.press("Escape")
        if len(times["undo"]) == 3:
            break
    return rows + [(name, median(values)) for name, values in times.items() if values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[2000, 4000], help="Side of the square images, px.")
    sides = parser.parse_args().sides
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        for visit in ("first page of a new server", "first page, again"):
            began = time.perf_counter()
            page.goto(address)
            page.locator(".viewer[data-ready]").wait_for(timeout=120_000)
            print(f"{visit}: {1000 * (time.perf_counter() - began):.0f} ms", flush=True)
        for side in sides:
            picture = Path(folder) / f"side-{side}.png"
            made = draw(6, (side, side), Structure("polycrystal", diameter=side / 25, spread=0.6))
            Image.fromarray(made.image).save(picture)
            page.goto(address)
            page.locator(".viewer[data-ready]").wait_for(timeout=120_000)
            for words, milliseconds in measure(page, picture):
                print(f"{side} x {side} px, {words}: {milliseconds:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
