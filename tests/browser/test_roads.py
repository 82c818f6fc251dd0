"""The main roads in a real Chromium: upload, run, look, change, download; a product from profile to history."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import TimeoutError, expect
from pypdf import PdfReader

from crystalseg.measurement.specification import Limit
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile, find, save
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.browser.serving import chromium, served

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)  # the machine may be busy


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture
def page(address):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        page.set_default_timeout(60_000)
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address)
        expect(page.get_by_role("heading", name="Measure crystals")).to_be_visible(timeout=60_000)
        yield page
        assert not problems


def test_an_address_of_a_page_opens_it_also_as_the_first_that_a_server_is_asked_for(tmp_path):
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(f"{address}/profiles")
        expect(page.get_by_role("heading", name="Profiles", exact=True)).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="History")).to_be_visible()


def settled(page):
    """Wait until the page shows the latest state: a click on an element that is being replaced is lost."""
    page.wait_for_timeout(500)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def download(page, name):
    """The file behind a download button. A click is repeated: Streamlit loses one that comes while it renders."""
    for attempt in range(4):
        settled(page)
        try:
            with page.expect_download(timeout=45_000) as file:
                page.get_by_role("button", name=name).click()
            return Path(file.value.path())
        except TimeoutError:
            if attempt == 3:
                raise


def test_from_upload_to_report(page, tmp_path):
    made = draw(8, (240, 260), Structure("powder", diameter=40, spread=0.3))
    Image.fromarray(made.image).save(tmp_path / "probe.png")
    page.locator("[data-testid=stSidebar] input[type=file][multiple]").set_input_files(tmp_path / "probe.png")
    expect(page.get_by_role("heading", name="probe.png")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("Average crystal size").first).to_be_visible(timeout=120_000)
    settled(page)
    viewer = page.locator(".viewer[data-ready]")
    expect(viewer).to_be_visible()

    # hover: figures; click: the crystal's row; wheel: the same place, larger
    canvas = viewer.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    largest = np.bincount(made.labels.ravel())[1:].argmax() + 1
    y, x = (int(np.median(v)) for v in (made.labels == largest).nonzero())
    spot = {"x": box["width"] * (x + 0.5) / 260, "y": box["height"] * (y + 0.5) / 240}
    canvas.hover(position=spot)
    tip = viewer.locator(".tip")
    expect(tip).to_contain_text("diameter")
    name = tip.locator("div").first.text_content()
    canvas.click(position=spot)
    page.mouse.wheel(0, -500)
    canvas.hover(position=spot)
    assert tip.locator("div").first.text_content() == name

    # the size figures follow the foreground threshold without another run
    page.get_by_role("tab", name="Crystals").click()
    expect(page.locator("[data-testid=stDataFrame]").first).to_be_visible()
    counted = (
        page.locator("[data-testid=stMetric]")
        .filter(has_text="Crystals counted")
        .locator("[data-testid=stMetricValue]")
    )
    before = counted.text_content()
    slider = page.get_by_role("slider", name=re.compile("Foreground threshold"))
    for _ in range(4):  # keys that come while the page is drawn anew are lost
        settled(page)
        slider.focus()
        for _ in range(25):
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(4000)
        if counted.text_content() != before:
            break
    expect(counted).not_to_have_text(before, timeout=20_000)

    # inspect: a click draws the way to the sink and says why; layers change without the server
    page.get_by_role("link", name="Inspect", exact=True).click()
    expect(page.get_by_role("heading", name="Inspect")).to_be_visible()
    settled(page)
    page.locator(".viewer[data-ready]").wait_for()
    page.locator(".viewer select.layer").select_option("fused flow")
    expect(page.locator(".viewer[data-layer='fused flow']")).to_be_visible()
    expect(page.get_by_text("the direction in which the network sees")).to_be_visible()
    canvas = page.locator(".viewer canvas")
    box = canvas.bounding_box()
    spot = {"x": box["width"] * (x + 0.5) / 260, "y": box["height"] * (y + 0.5) / 240}
    canvas.click(position=spot)
    expect(page.get_by_text("Weight of each scale")).to_be_visible()

    # correct: delete that crystal, let a click draw it again, and take both back
    page.get_by_role("link", name="Correct", exact=True).click()
    expect(page.get_by_role("heading", name="Correct")).to_be_visible()
    settled(page)
    page.get_by_role("textbox", name="Your name").fill("A. Smith")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="delete")).to_be_visible()
    settled(page)
    page.locator(".viewer[data-ready]").wait_for()
    canvas = page.locator(".viewer canvas")
    box = canvas.bounding_box()
    spot = {"x": box["width"] * (x + 0.5) / 260, "y": box["height"] * (y + 0.5) / 240}
    canvas.click(position=spot)
    page.keyboard.press("Delete")
    expect(page.get_by_text("1 correction by hand, by A. Smith")).to_be_visible()
    settled(page)
    page.keyboard.press("w")
    canvas.click(position=spot)
    expect(page.get_by_text("2 corrections by hand, by A. Smith")).to_be_visible()
    settled(page)
    page.keyboard.press("v")
    canvas.click(position={"x": 2, "y": 2})
    page.keyboard.press("z")
    expect(page.get_by_text("1 correction by hand, by A. Smith")).to_be_visible()
    settled(page)
    page.keyboard.press("z")
    expect(page.get_by_text("No corrections yet")).to_be_visible()
    page.get_by_role("link", name="Measure", exact=True).click()
    expect(page.get_by_role("heading", name="Measure crystals")).to_be_visible()

    # downloads: what is in the files is what is on the page
    page.get_by_role("tab", name="Report and files").click()
    settled(page)
    average = page.locator("[data-testid=stMetricValue]").first.text_content()
    text = " ".join(p.extract_text() for p in PdfReader(download(page, "PDF report")).pages)
    assert average in text
    rows = download(page, "Crystals CSV").read_text(encoding="utf-8-sig").splitlines()
    found = counted.text_content().split()[-1]
    assert len(rows) == int(found) + 1


def test_a_bad_file_is_explained(page, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image at all")
    page.locator("[data-testid=stSidebar] input[type=file][multiple]").set_input_files(tmp_path / "bad.png")
    expect(page.get_by_text("bad.png: not an image")).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)


def test_methods_are_compared_with_each_other_and_with_a_label_image(page, tmp_path):
    made = draw(10, (200, 220), Structure("powder", diameter=40, spread=0.3))
    Image.fromarray(made.image).save(tmp_path / "other.png")
    Image.fromarray(made.labels.astype(np.uint16)).save(tmp_path / "truth.png")
    Image.fromarray(made.labels[:50].astype(np.uint16)).save(tmp_path / "cut.png")
    page.locator("[data-testid=stSidebar] input[type=file][multiple]").set_input_files(tmp_path / "other.png")
    expect(page.get_by_role("heading", name="other.png")).to_be_visible()
    settled(page)
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.get_by_text("Choose two methods, or one and a label image")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Run sima-plus, cellpose-original").click()
    expect(page.get_by_text("Crystals against sima-plus")).to_be_visible(timeout=120_000)
    expect(page.locator(".viewer[data-ready]")).to_be_visible()
    settled(page)
    labels = page.locator("[data-testid=stMain] input[type=file]")
    labels.set_input_files(tmp_path / "cut.png")
    expect(page.get_by_text("cut.png has 220 × 50 px, but the image has 220 × 200 px")).to_be_visible()
    settled(page)
    labels.set_input_files(tmp_path / "truth.png")
    expect(page.get_by_text("Against the label image given")).to_be_visible()
    expect(page.get_by_text("Crystals against label image given")).to_be_visible()


def test_a_page_asked_for_by_its_address_first_has_its_navigation(page, address):
    page.goto(f"{address}/inspect")
    expect(page.get_by_role("heading", name="Inspect")).to_be_visible()
    expect(page.get_by_role("link", name="Correct", exact=True)).to_be_visible()
    for group in ("Measure", "Many images", "Laboratory"):
        expect(page.get_by_test_id("stNavSectionHeader").filter(has_text=group)).to_be_visible()
    expect(page.get_by_test_id("stSidebarLogo")).to_be_visible()


def test_a_profile_saved_unchanged_in_a_browser_is_the_same(tmp_path):
    """Widgets of a browser round what they show; the profile keeps its digits."""
    chosen = Settings(
        "hub:/models/ours",
        Scales((0.123456789,)),
        Instances(-7.123456789012345, 87_654_321, 0.1 + 0.2, 2.9999999999999996),
        network="folded:gone:3",
    )
    limits = (Limit("mean", 0.123456789012345, 20),)
    for name, settings in (("a", chosen), ("b", replace(chosen, method="cellpose-original"))):
        home = tmp_path / name
        home.mkdir()
        engine = open_database(f"sqlite:///{home / 'record.sqlite'}")
        profile = Profile("exact", settings=settings, limits=limits, decision_rule="guarded")
        save(engine, profile)
        with served(home) as address, chromium() as browser:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"{address}/profiles")
            expect(page.get_by_role("textbox", name="Name", exact=True)).to_have_value("exact", timeout=60_000)
            settled(page)
            page.get_by_role("textbox", name="Product").fill("sand")
            page.keyboard.press("Enter")
            settled(page)
            page.get_by_role("button", name="Save the profile").click()
            settled(page)
        assert find(engine, "exact").to_json() == replace(profile, product="sand").to_json()


def test_a_product_from_profile_through_batch_to_a_run_reopened_and_gone_on_with(page, tmp_path):
    for k in range(2):
        made = draw(8 + k, (240, 260), Structure("powder", diameter=40, spread=0.3))
        Image.fromarray(made.image).save(tmp_path / f"field {k}.png")
    (tmp_path / "broken.png").write_text("no image")

    page.get_by_role("link", name="Profiles", exact=True).click()
    expect(page.get_by_role("heading", name="Profiles")).to_be_visible()
    settled(page)
    page.get_by_role("textbox", name="Name", exact=True).fill("round powder")
    page.get_by_role("textbox", name="Product").fill("powder A")
    page.get_by_text("Default for this product").click()
    page.get_by_role("combobox", name="Method").click()
    page.get_by_role("option", name="watershed").click()
    page.get_by_role("button", name="Save the profile").click()
    expect(page.get_by_role("radio", name="round powder")).to_be_checked()

    page.get_by_role("link", name="Batch", exact=True).click()
    expect(page.get_by_text("No batch yet")).to_be_visible()
    settled(page)
    page.get_by_role("textbox", name="Or a folder").fill(str(tmp_path))
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("combobox", name="Product").click()
    page.get_by_role("option", name="powder A").click()
    settled(page)
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("done · 2 of 3 images, 1 failed")).to_be_visible(timeout=120_000)

    page.get_by_role("link", name="History", exact=True).click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()
    settled(page)
    table = page.locator("[data-testid=stDataFrame]").first.bounding_box()
    page.mouse.click(table["x"] + 20, table["y"] + 52)  # the first row: the table is a canvas
    expect(page.get_by_text("the same figures to the last digit")).to_be_visible()
    average = page.get_by_role("row", name="Average crystal size").text_content()
    settled(page)
    page.get_by_role("button", name="Continue with this run").click()
    expect(page.get_by_role("heading", name="field 1.png")).to_be_visible()
    shown = page.locator("[data-testid=stMetricValue]").first
    expect(shown).to_be_visible(timeout=120_000)
    assert shown.text_content() in average
