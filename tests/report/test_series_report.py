"""The report, the workbook and the animation of a series."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pypdf import PdfReader

from crystalseg.measurement.series import events_of, law_words, series
from crystalseg.measurement.tracks import link
from crystalseg.report.series import Followed, animation, build_series_pdf, build_series_workbook, kymograph, tracked
from crystalseg.synthetic.growth import pictures, ripening

MADE = ripening(4, 220, 40, 5, radius=9)
SHOWN = pictures(MADE, 1)


@pytest.fixture(scope="module")
def found():
    rows = []
    for k, labels in enumerate(MADE.labels):
        areas = np.bincount(labels.ravel())[1:]
        sizes = 2 * np.sqrt(areas[areas > 0] / np.pi) * 0.5
        error = sizes.std() / np.sqrt(len(sizes))
        facts = {"frame": k, "image": f"f{k}.png", "run": f"run{k}", "seconds": MADE.seconds[k], "celsius": 1200.0}
        counts = {"counted": len(sizes), "found": len(sizes), "um_per_px": 0.5}
        ends = {"mean": sizes.mean(), "low": sizes.mean() - error, "high": sizes.mean() + error}
        rows.append(facts | counts | ends)
    return series(pd.DataFrame(rows), link(list(MADE.labels)))


def frame(k):
    return SHOWN[k], MADE.labels[k]


def test_the_report_says_law_frames_and_how(found):
    pdf = build_series_pdf(Followed(found, "Growth", [("Method", "by hand")], frame))
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).replace("\n", " ")
    assert f"n = {found.law.exponent:.2f}" in text
    assert all(name in text for name in found.frames["image"])
    assert "Jaqaman" in text
    assert "by hand" in text
    assert f"{len(found.lengths)}, of which {int((found.lengths == 5).sum())} from the first frame to the last" in text


def test_without_a_law_the_report_says_why(found):
    untimed = series(found.frames.assign(seconds=np.nan), found.tracks)
    pdf = build_series_pdf(Followed(untimed, "Growth", [], frame))
    text = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).replace("\n", " ")
    assert "No growth law: A growth law needs the time of every frame" in text


def test_the_workbook_holds_every_crystal_in_every_frame(found):
    sheets = pd.read_excel(io.BytesIO(build_series_workbook(found)), sheet_name=None)
    assert list(sheets) == ["Frames", "Law", "Growth", "Events"]
    assert len(sheets["Growth"]) == sum(len(np.unique(frame)) - 1 for frame in MADE.labels)
    law = dict(sheets["Law"].itertuples(index=False))
    assert float(law["exponent"]) == pytest.approx(found.law.exponent)


def test_events_are_counted_by_frame(found):
    table = events_of(found.tracks, 5)
    assert table["frame"].tolist() == list(range(5))
    assert table["disappearance"].sum() == (found.tracks.events["event"] == "disappearance").sum() > 0
    assert table["disappearance"].iloc[-1] == 0  # nothing can be said of the last frame


def test_a_track_keeps_its_colour_and_one_alone_is_shown(found):
    track = found.lengths[found.lengths == 5].index[0]
    ids = found.tracks.crystals.query(f"track == {track}").set_index("frame")["id"]
    plain = np.full_like(SHOWN, 100)
    tints = []
    for k in (0, 4):
        middle = tuple(int(v.mean()) for v in np.nonzero(MADE.labels[k] == ids[k]))
        tints.append(tuple(tracked(plain[k], MADE.labels[k], found, k)[middle]))
    assert tints[0] == tints[1] != (100, 100, 100)
    alone = tracked(plain[0], MADE.labels[0], found, 0, track)
    tinted = (alone != 100).any(axis=2) & (alone != 255).any(axis=2)
    assert set(np.unique(MADE.labels[0][tinted])) == {ids[0]}


def test_moving_pictures(found):
    moving = Image.open(io.BytesIO(animation(SHOWN)))
    assert (moving.n_frames, moving.size) == (5, (220, 220))
    lines = kymograph((pixels[110] for pixels in SHOWN), 3)
    assert lines.shape == (15, 220, 3)
    np.testing.assert_array_equal(lines[3], SHOWN[1][110])


def test_words_of_laws_that_are_open_or_given(found):
    assert "longer growth is needed" not in law_words(series(found.frames, found.tracks, 3.0).law)
    assert "n = 3.00 (given)" in law_words(series(found.frames, found.tracks, 3.0).law)
