"""The list of what can be handed out: every row makes its file, and keys are chosen from it."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from crystalseg.errors import UserError
from crystalseg.record.runs import Run
from crystalseg.report import handouts
from crystalseg.report.handouts import HANDOUTS, SERIES_HANDOUTS, Measured, in_memory
from crystalseg.report.report import Report, report_of
from tests.report.report_cases import case

BEGINS = {  # how a file of that ending begins, whatever is in it
    "pdf": b"%PDF",
    "html": b"<!doctype",
    "xlsx": b"PK",
    "zip": b"PK",
    "csv": b"\xef\xbb\xbf",
    "tif": b"II",
    "json": b"{",
    "geojson": b"{",
    "parquet": b"PAR1",
}


@pytest.fixture(scope="module")
def report():
    return report_of(*case(), None)


def made(report, key):
    row = HANDOUTS[key]
    part = report.parts[0]
    return row.made({Report: report, Run: part.run, Measured: Measured.of(part)}[row.of])


@pytest.mark.parametrize("key", HANDOUTS)
def test_every_row_makes_a_file_of_its_kind(report, key):
    data = made(report, key)
    assert data[:9].lower().startswith(BEGINS[HANDOUTS[key].ending.rpartition(".")[2]].lower())


@pytest.mark.parametrize("table", [HANDOUTS, SERIES_HANDOUTS])
def test_no_two_rows_share_key_words_or_name_of_file(table):
    for name in ("key", "words", "ending"):
        assert len({getattr(row, name) for row in table.values()}) == len(table)
    assert all(row.key == key for key, row in table.items())


def test_a_row_with_a_form_is_a_report_and_no_other_is():
    assert all(bool(row.form) == (row.of is Report) for row in HANDOUTS.values())
    assert [handouts.ending_of(row.form) for row in handouts.reports()] == ["pdf", "html", "xlsx"]
    assert handouts.ending_of("of a later version") == ""


def test_the_files_hold_the_same_crystals(report):
    part = report.parts[0]
    labels = part.field.kept_labels
    for key in ("labels", "labels-ome"):
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(made(report, key))), labels)
    ids = part.crystals["id"].tolist()
    assert pd.read_csv(io.BytesIO(made(report, "csv")), encoding="utf-8-sig")["id"].tolist() == ids
    assert pd.read_parquet(io.BytesIO(made(report, "parquet")))["id"].tolist() == ids
    assert [f["id"] for f in json.loads(made(report, "geojson"))["features"]] == ids
    assert [a["id"] for a in json.loads(made(report, "coco"))["annotations"]] == ids
    names = zipfile.ZipFile(io.BytesIO(made(report, "rois"))).namelist()
    assert sorted({int(name[:5]) for name in names}) == ids
    assert json.loads(made(report, "run"))["id"] == part.run.id
    assert json.loads(made(report, "settings")) == json.loads(part.settings.to_json())


def test_the_image_is_not_handed_out_where_it_was_not_kept(report):
    row, measured = HANDOUTS["image-ome"], Measured.of(report.parts[0])
    assert row.needs_image
    assert tifffile.imread(io.BytesIO(row.made(measured))).shape == measured.pixels.shape
    with pytest.raises(UserError, match="was not kept"):
        row.made(replace(measured, pixels=None))


def test_what_is_made_is_bytes_or_writes_itself():
    assert in_memory(b"a") == in_memory(lambda file: file.write(b"a")) == b"a"


def test_keys_are_chosen_by_name_in_the_list_s_order():
    assert handouts.chosen(" ,", handouts.IMAGE) == handouts.default(handouts.IMAGE) == ("pdf", "csv", "labels", "run")
    assert handouts.chosen(" COCO, pdf,,coco", handouts.IMAGE) == ("pdf", "coco")
    with pytest.raises(UserError, match=r"“png”. Choose from pdf, html"):
        handouts.chosen("pdf,png", handouts.IMAGE)


def test_a_mosaic_gets_its_own_form_of_what_a_batch_writes_and_what_it_is_looked_at_with():
    usual = handouts.default(handouts.MOSAIC)
    assert set(usual) == {"pdf", "csv", "run", "parquet", "labels-ome", "image-ome"}
    assert handouts.for_mosaic(()) == handouts.for_mosaic(("labels",)) == usual
    assert set(handouts.for_mosaic(("labels", "coco"))) == {*usual, "coco"}
