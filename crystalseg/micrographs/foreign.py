"""Recognise image files of microscopes and other programs that are not read, to say how to export them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Foreign:
    """A kind of file that is not read. name: what it is called. program: what can export it. endings: of its files'
    names. marks: (place, bytes) pairs, one of which its files contain."""

    name: str
    program: str
    endings: tuple[str, ...]
    marks: tuple[tuple[int, bytes], ...] = ()


# Marks and endings from the public lists of the GNU file command and Bio-Formats.
FOREIGN = (
    Foreign("Zeiss CZI", "ZEN", ("czi",), ((0, b"ZISRAWFILE"),)),
    Foreign("Nikon ND2", "NIS-Elements", ("nd2",), ((0, b"\xda\xce\xbe\x0a"),)),
    Foreign("Gatan DM3 or DM4", "DigitalMicrograph", ("dm3", "dm4"), ((0, b"\0\0\0\3\0"), (0, b"\0\0\0\4\0"))),
    Foreign("Leica LIF", "LAS X", ("lif",), ((0, b"\x70\0\0\0"),)),
    Foreign("MRC", "Fiji", ("mrc", "rec", "st"), ((208, b"MAP "),)),
    Foreign("Zeiss ZVI or Olympus OIB", "its program", ("zvi", "oib"), ((0, b"\xd0\xcf\x11\xe0\xa1\xb1"),)),
    Foreign("FEI SER", "Velox, TIA or Fiji", ("ser",), ((0, b"II\x97\x01"),)),
    Foreign("HDF5", "the program that wrote it", ("h5", "hdf5", "emd", "ims"), ((0, b"\x89HDF\r\n\x1a\n"),)),
    Foreign("HEIC or AVIF", "a photo viewer", ("heic", "heif", "avif"), ((4, b"ftyphei"), (4, b"ftypavif"))),
    Foreign("DICOM", "its viewer", ("dcm",), ((128, b"DICM"),)),
    Foreign("PDF", "the program that made the picture", ("pdf",), ((0, b"%PDF-"),)),
)  # fmt: skip
HEAD = 256  # bytes at the beginning of a file in which the marks lie


def foreign_kind(head: bytes, name: str) -> Foreign | None:
    """Return the kind of a file that is not read, by its first HEAD bytes, else by the ending of its name; None if it
    is none of them."""
    for kind in FOREIGN:
        if any(head[place : place + len(mark)] == mark for place, mark in kind.marks):
            return kind
    return by_ending(name)


def by_ending(name: str) -> Foreign | None:
    """Return the kind of a file that is not read by the ending of its name, or None."""
    ending = name.lower().rpartition(".")[2]
    return next((kind for kind in FOREIGN if ending in kind.endings), None)
