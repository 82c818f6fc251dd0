"""Pixel sizes that microscopes write: into private tags of TIFF files, and into text files beside images.

No vendor publishes its header. Field names and units come from public descriptions (tifffile, Bio-Formats' lists of
metadata fields, users' macros), which each function names.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from defusedxml import ElementTree

from crystalseg.micrographs.calibration import Calibration, from_resolution, known_unit, one_size
from crystalseg.micrographs.units import length_um, number

SAME = 0.01  # relative difference up to which two statements of a size agree
TALLEST_BAR = 1.3  # the largest ratio of image heights with and without a data bar
ENDINGS = ("txt", "hdr", "xml")  # of text files beside an image
SIDECARS = tuple(f".{ending}" for ending in ENDINGS)
LONGEST = 4 * 2**20  # characters of a text beside an image, or bytes of a tag, that are searched at most

Size = tuple[int, int]  # width, height, px


def from_tiff(tif: Any, page: Any, notes: list[str]) -> Calibration | None:
    """Read the pixel size from an open tifffile.TiffFile and its page that is the picture. The sources are tried in
    this order: OME-XML, ImageJ, the headers of microscopes, resolution tags. Notes tell of stated values that cannot be
    used. Raises NotSquareError if the pixels are not square."""
    width, height = page.imagewidth, page.imagelength
    readers: tuple[Callable[[], Calibration | None], ...] = (
        lambda: _ome(tif.ome_metadata, (width, height), notes),
        lambda: _imagej(tif, page, notes),
        lambda: _fei(_fei_sections(tif, page), (width, height), notes),
        lambda: _zeiss(_tag(tif, page, 34118), (width, height), notes),
        lambda: _phenom(_tag(tif, page, 34683)),
        lambda: _olympus(tif, page),
        lambda: _tescan(_tag(tif, page, 50431)),
        lambda: _nikon(tif, page),
    )
    for read in readers:
        found = read()
        if found is not None:
            return found
    return _tags(page)


def _tag(tif: Any, page: Any, code: int) -> Any:
    """Return the value of a tag of the picture's page or of the first page, where some programs put it; None if
    missing."""
    for one in (page, tif.pages.first):
        tag = one.tags.get(code)
        if tag is not None:
            return tag.value
    return None


def of_field(
    um: float, header: Size | None, field_um: float, size: Size, source: str, notes: list[str]
) -> Calibration | None:
    """Return the pixel size of a file of `size`. Its header describes an image of `header` px with pixels of `um`, µm,
    and a field `field_um` wide, µm. A value that the header does not state is NaN or None.

    If the file was scaled afterwards, the pixel size is the width of the field divided by the width of the file, with a
    note. If it was cut or padded, the pixel size cannot be known: the result is None, with a note.
    """
    um, field_um = (value if 0 < value < math.inf else math.nan for value in (um, field_um))
    if math.isnan(field_um) and header is not None:
        field_um = um * header[0]
    if math.isnan(um) and header is not None:
        um = field_um / header[0]
    if header is not None and header[0] != size[0]:
        scale = size[0] / header[0]
        if not 1 - 2 * SAME <= size[1] / (header[1] * scale) <= TALLEST_BAR:
            notes.append(
                f"The {source} describes an image of {header[0]} × {header[1]} px, but the file has {size[0]} × "
                f"{size[1]} px: it was cropped or scaled later. Enter the pixel size by hand."
            )
            return None
    own = field_um / size[0]
    if math.isnan(own) or (header is not None and header[0] == size[0]):
        own = um
    if not 0 < own < math.inf:
        return None
    if abs(own / um - 1) > SAME:
        notes.append(
            f"The {source} states {um:.4g} µm per pixel for a field of {field_um:.4g} µm, but the file was scaled to "
            f"a width of {size[0]} px later. It now has {own:.4g} µm per pixel."
        )
    return Calibration(own, source)


def _root(text: object) -> Any:
    """Return the root of an XML document; None if the text is not XML or defines entities."""
    if not isinstance(text, str) or "<" not in text:
        return None
    try:
        return ElementTree.fromstring(text.strip().strip("\0"))
    except (ElementTree.ParseError, ValueError):  # ValueError: entities, see defusedxml, or an encoding in a str
        try:
            return ElementTree.fromstring(text.strip().strip("\0").encode())
        except (ElementTree.ParseError, ValueError):
            return None


def _named(root: Any, name: str) -> Iterable[Any]:
    """Return the elements called `name`, in any namespace."""
    return (e for e in root.iter() if str(e.tag).rpartition("}")[2] == name) if root is not None else ()


def _ome(xml: str | None, size: Size, notes: list[str]) -> Calibration | None:
    """Read OME-XML: the first image of the picture's size, else the first image. Comments are ignored."""
    found = list(_named(_root(xml), "Pixels"))
    if not found:
        return None
    wanted = [str(side) for side in size]
    pixels = next((e for e in found if [e.get("SizeX"), e.get("SizeY")] == wanted), found[0])
    sizes = []
    for axis in "XY":
        value = pixels.get(f"PhysicalSize{axis}")
        if not value:
            return None
        um = known_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm"), notes)  # µm: the schema's default unit
        if um is None:
            return None
        sizes.append(number(value) * um)
    return one_size(sizes[0], sizes[1], "OME-XML metadata")


def _per_unit(page: Any) -> tuple[float, float] | None:
    values = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        try:
            above, below = tag.value
            values.append(above / below)
        except (AttributeError, TypeError, ValueError, ZeroDivisionError):
            return None
    return (values[0], values[1]) if min(values) > 0 else None


def _imagej(tif: Any, page: Any, notes: list[str]) -> Calibration | None:
    """Read ImageJ's `unit` for both axes, or for x with `yunit` for y. The resolution tags give the pixels per unit."""
    facts = tif.imagej_metadata or {}
    units = [str(facts.get("unit", ""))]
    units.append(str(facts.get("yunit", units[0])))
    resolution = _per_unit(page)
    if resolution is None:
        return None
    um = [known_unit(unit, notes) for unit in dict.fromkeys(units)]
    if None in um:
        return None
    return one_size((um[0] or 0) / resolution[0], (um[-1] or 0) / resolution[1], "ImageJ metadata")


def _fei_sections(tif: Any, page: Any) -> dict:
    found: dict = {}
    for code in (34680, 34682):  # FEI_SFEG, FEI_HELIOS
        value = _tag(tif, page, code)
        found |= value if isinstance(value, dict) else {}
    return found


def _fei(header: Mapping, size: Size, notes: list[str]) -> Calibration | None:
    """Read FEI and Thermo Fisher headers: `PixelWidth`, `PixelHeight` and `HorFieldsize`, m, in [Scan] or in the
    section of the beam; `ResolutionX` and `ResolutionY` of the image without its data bar, in [Image]."""
    scan = next((header[s] for s in ("Scan", "EScan", "IScan") if "PixelWidth" in header.get(s, {})), None)
    if scan is None:
        return None
    source = "FEI/Thermo SEM header"
    stated = one_size(number(scan["PixelWidth"]) * 1e6, number(scan.get("PixelHeight")) * 1e6, source)
    if stated is None:
        return None
    sides = [number(header.get("Image", {}).get(f"Resolution{axis}")) for axis in "XY"]
    known = all(side >= 1 for side in sides)
    field = number(scan.get("HorFieldsize")) * 1e6
    return of_field(stated.um_per_px, (int(sides[0]), int(sides[1])) if known else None, field, size, source, notes)


def _zeiss(header: Any, size: Size, notes: list[str]) -> Calibration | None:
    """Read Zeiss SmartSEM headers: `AP_IMAGE_PIXEL_SIZE`, else `AP_WIDTH`, the width of the field, divided by the width
    at which the image was stored. `AP_PIXEL_SIZE` is not used: it describes the picture on the monitor, 1024 px wide.
    """
    if not isinstance(header, dict):
        return None
    source = "Zeiss SEM header"

    def stated(key: str) -> float:
        entry = header.get(key, ())
        return length_um(" ".join(str(part) for part in entry[1:])) or math.nan

    um, field = stated("ap_image_pixel_size"), stated("ap_width")
    stored = re.search(r"(\d+)\s*[*x×]\s*(\d+)", " ".join(map(str, header.get("dp_image_store", ())[1:])))
    if math.isnan(um) and math.isnan(field):
        if any(str(key).endswith("pixel_size") or key == "ap_width" for key in header):
            notes.append(
                "The Zeiss SEM header states only the pixel size of the monitor, or it uses an unknown unit. Enter the "
                "pixel size by hand."
            )
        return None
    sides = (int(stored[1]), int(stored[2])) if stored and int(stored[1]) and int(stored[2]) else None
    return of_field(um, sides, field, size, source, notes)


def _phenom(xml: Any) -> Calibration | None:
    """Read Phenom headers: <pixelWidth unit="nm"> and <pixelHeight>; in newer Thermo Fisher TIFF <PixelSize> with <X>
    and <Y>."""
    root = _root(xml)
    sizes = []
    for name in ("pixelWidth", "pixelHeight"):
        found = next(iter(_named(root, name)), None)
        if found is not None:
            sizes.append(length_um(f"{(found.text or '').strip()} {found.get('unit', '')}"))
    if not sizes:
        for element in _named(root, "PixelSize"):
            sizes = [
                length_um(f"{(part.text or '').strip()} {part.get('unit', 'm')}")
                for name in "XY"
                for part in _named(element, name)
            ][:2]
            break
    return one_size(sizes[0], sizes[1], "Phenom header") if len(sizes) == 2 else None


def _olympus(tif: Any, page: Any) -> Calibration | None:
    """Read Olympus Stream and SIS headers, tag 33560, as tifffile decodes them; sizes are in m."""
    facts = _tag(tif, page, 33560)
    if not isinstance(facts, dict):
        return None
    x, y = (number(facts.get(f"pixelsize{axis}")) * 1e6 for axis in "xy")
    return one_size(x, y, "Olympus SIS header")


def _tescan(value: Any) -> Calibration | None:
    """Read Tescan headers, tag 50431: the text of its .hdr file after some binary values."""
    return _ini_in_metres(_text(value), "Tescan header")


def _ini_in_metres(text: str, source: str) -> Calibration | None:
    sizes = []
    for axis in "XY":
        found = re.search(rf"^\W*PixelSize{axis}\s*=\s*(\S+)", text, re.MULTILINE)
        sizes.append(number(found[1]) * 1e6 if found else math.nan)
    return one_size(sizes[0], sizes[1], source)


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)) and all(isinstance(v, int) and 0 <= v < 256 for v in value[:LONGEST]):
        value = bytes(value[:LONGEST])
    if isinstance(value, bytes):
        value = value[:LONGEST].decode("utf-8", "replace")
    return value.replace("\r", "\n") if isinstance(value, str) else ""


def _nikon(tif: Any, page: Any) -> Calibration | None:
    """Read Nikon NIS-Elements headers: tag 65326, µm per pixel, or <dCalibration> in the XML of tags 65332 and
    65333."""
    source = "Nikon NIS-Elements header"
    value = number(_tag(tif, page, 65326))
    if value > 0:
        return Calibration(value, source)
    for code in (65332, 65333):
        for element in _named(_root(_text(_tag(tif, page, code))), "dCalibration"):
            value = number(element.get("value") or element.text)
            if value > 0:
                return Calibration(value, source)
    return None


def _tags(page: Any) -> Calibration | None:
    unit, resolution = page.tags.get("ResolutionUnit"), _per_unit(page)
    try:
        name = {2: "inch", 3: "cm"}.get(int(unit.value)) if unit is not None else None
    except (TypeError, ValueError):
        return None
    return from_resolution(*resolution, name) if name and resolution else None


def from_appended(end: bytes, size: Size, notes: list[str]) -> Calibration | None:
    """Read Keyence BZ-X headers: XML from <Data> to </Data> after the image. `end`: the last bytes of the file. The
    pixel size is the width of the region, nm, divided by the width of the saved image, px."""
    found = re.search(rb"<Data>.*</Data>", end[-LONGEST:], re.DOTALL)
    root = _root(found[0].decode("utf-8", "replace")) if found else None
    for element in _named(root, "XyStageRegion"):
        width = next((number(e.text) for e in _named(element, "Width")), math.nan)
        saved = next(iter(_named(root, "SavingImageSize")), None)
        sides = [next((number(e.text) for e in _named(saved, name)), math.nan) for name in ("Width", "Height")]
        if width > 0 and all(side >= 1 for side in sides):
            header = int(sides[0]), int(sides[1])
            return of_field(width / 1000 / header[0], header, math.nan, size, "Keyence header", notes)
    return None


def sidecar_names(name: str) -> tuple[str, ...]:
    """Return the possible names of a file that states the pixel size of the image `name` beside it."""
    stem, _, ending = name.rpartition(".")
    stem = stem or name
    return (
        f"{stem}.txt",
        f"{stem}.hdr",
        f"{stem}-{ending}.hdr",
        f"{name}.hdr",
        f"{name}.cal.xml",
        f"{stem}.cal.xml",
        f"{stem}_Properties.xml",
        f"{stem}.xml",
        f"{name}.txt",
    )


def from_sidecar(data: bytes, size: Size, notes: list[str]) -> Calibration | None:
    """Read the pixel size from the text file beside an image: Hitachi, JEOL, Tescan or Leica. None if it states
    none."""
    marks = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
    text = data[:LONGEST].decode(marks.get(data[:2], "utf-8-sig"), "replace").replace("\r", "\n")
    for read in (_hitachi, _jeol, _leica):
        found = read(text, size, notes)
        if found is not None:
            return found
    return _ini_in_metres(text, "Tescan .hdr file")


def _sides(text: str, pattern: str) -> Size | None:
    found = re.search(pattern, text, re.MULTILINE)
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    return sides if min(sides) > 0 else None


def _hitachi(text: str, size: Size, notes: list[str]) -> Calibration | None:
    """Read Hitachi files: `PixelSize`, nm, and `DataSize` of the image without its data bar, under [SemImageFile]."""
    found = re.search(r"^\s*PixelSize\s*=\s*(\S+)", text, re.MULTILINE)
    um = number(found[1]) / 1000 if found else math.nan
    if math.isnan(um):
        return None
    header = _sides(text, r"^\s*DataSize\s*=\s*(\d{1,9})\s*[xX*]\s*(\d{1,9})")
    return of_field(um, header, math.nan, size, "Hitachi .txt file", notes)


def _jeol(text: str, size: Size, notes: list[str]) -> Calibration | None:
    """Read JEOL files: a bar of `$$SM_MICRON_BAR` px has the length `$$SM_MICRON_MARKER`, in an image of
    `$CM_FULL_SIZE`."""
    bar = re.search(r"^\s*\$+SM_MICRON_BAR\s+(\S+)", text, re.MULTILINE)
    marker = re.search(r"^\s*\$+SM_MICRON_MARKER\s+(.+?)\s*$", text, re.MULTILINE)
    um = (length_um(marker[1]) or math.nan) / number(bar[1]) if bar and marker and number(bar[1]) > 0 else math.nan
    if math.isnan(um):
        return None
    header = _sides(text, r"^\s*\$+CM_FULL_SIZE\s+(\d{1,9})\s+(\d{1,9})")
    return of_field(um, header, math.nan, size, "JEOL .txt file", notes)


def _leica(text: str, size: Size, notes: list[str]) -> Calibration | None:
    """Read Leica files. LAS writes <XMetresPerPixel>. LAS X writes a <DimensionDescription> for X and Y: `Length` in
    `Unit` is the distance between the centres of the first and the last of `NumberOfElements` px."""
    root, source = _root(text), "Leica XML file"
    metres = [next((number(e.text) for e in _named(root, f"{axis}MetresPerPixel")), math.nan) for axis in "XY"]
    if metres[0] > 0:
        return one_size(metres[0] * 1e6, metres[1] * 1e6, source)
    sizes: dict[str, tuple[float, int]] = {}
    for element in _named(root, "DimensionDescription"):
        axis = {"1": "X", "2": "Y"}.get(str(element.get("DimID")), str(element.get("DimID")))
        count = number(element.get("NumberOfElements"))
        length = length_um(f"{element.get('Length')} {element.get('Unit', '')}")
        if axis in "XY" and length is not None and count > 1:
            sizes.setdefault(axis, (length / (count - 1), int(count)))
    if len(sizes) < 2:
        return None
    stated = one_size(sizes["X"][0], sizes["Y"][0], source)
    if stated is None:
        return None
    return of_field(stated.um_per_px, (sizes["X"][1], sizes["Y"][1]), math.nan, size, source, notes)
