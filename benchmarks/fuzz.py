"""Damaged files through the function that reads uploads: no crash, no hang, no memory beyond the limit.

    python -m benchmarks.fuzz [--count 20000] [--seed 0]

Every accepted format, mutated: cut off, bits flipped, numbers of headers replaced, parts of two files joined, wrong
endings; and files made to be unpleasant. Each is read in a process of its own kind, watched from outside: it must be
read whole or refused in one sentence, within SECONDS and within the memory limit of one image and 500 MB.
"""

import argparse
import io
import multiprocessing as mp
import resource
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
import tifffile
from PIL import Image

from crystalseg.micrographs.decoding import MAX_BYTES, read_micrograph
from crystalseg.micrographs.micrograph import MicrographError

SECONDS = 5.0
SPARE = 500e6  # bytes over the limit of one image
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 10_000, 100_000)


def _pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def good() -> list[bytes]:
    """Small files of every format and kind that is read."""
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 255, (48, 64, 3), np.uint8)
    deep = rng.integers(0, 60_000, (48, 64), np.uint16)
    image = Image.fromarray(colour)
    files = [_pillow(image, kind) for kind in ("PNG", "JPEG", "BMP", "TIFF")]
    files += [_pillow(image.quantize(9), kind) for kind in ("PNG", "BMP", "TIFF")]
    files += [_pillow(Image.fromarray(deep), "PNG"), _pillow(image.convert("CMYK"), "JPEG")]
    files += [
        _tiff(colour, photometric="rgb", compression=c) for c in (None, "lzw", "zlib", "jpeg", "zstd", "packbits")
    ]
    files += [_tiff(deep), _tiff(deep.astype(np.float32)), _tiff(deep, bigtiff=True), _tiff(deep, byteorder=">")]
    files += [_tiff(np.stack([deep] * 3), ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5})]
    files += [_tiff(colour, photometric="rgb", tile=(32, 32)), _tiff(deep, imagej=True)]
    return files


def unpleasant() -> list[bytes]:
    """Files made by hand: bombs, lying headers, entities."""
    black = zlib.compress(bytes(10**8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    laughs = '<!DOCTYPE O [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9)
    )
    bomb = f'<?xml version="1.0"?>{laughs}]><OME><Pixels PhysicalSizeX="&j;"/></OME>'
    return [
        png(10_000, 10_000, 16, 6, black),
        png(2**31 - 1, 2**31 - 1, 8, 2, b""),
        png(100, 100, 8, 2, black),
        png(72, 1_000_000, 8, 0, black),
        _tiff(np.full((72, 1_000_000), 250, np.uint8), compression="zlib"),
        _tiff(np.zeros((9000, 9000), np.uint16), compression="zlib"),
        _tiff(np.zeros((40, 40), np.uint8), description=bomb),
        _tiff(np.zeros((40, 40), np.uint8), description="<OME>" * 100_000),
    ]


def damaged(good: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """A file cut off, with bits flipped, numbers of its header replaced, joined with another's part, or stuffed."""
    data = bytearray(good)
    way = rng.integers(5)
    if way == 0:
        del data[int(rng.integers(len(data))) :]
    elif way == 1:
        for _ in range(int(rng.integers(1, 9))):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    elif way == 2:  # headers are at the beginning, and at the end of TIFF and ZIP
        place = int(rng.integers(min(len(data), 300))) if rng.random() < 0.7 else -int(rng.integers(4, 300))
        number = int(rng.choice(NUMBERS))
        packed = struct.pack(str(rng.choice(["<", ">"])) + "I", number)[: int(rng.choice([2, 4]))]
        data[place : place + len(packed)] = packed
    elif way == 3:
        other = others[rng.integers(len(others))]
        data = data[: int(rng.integers(len(data)))] + other[int(rng.integers(len(other))) :]
    else:
        start, length = int(rng.integers(len(data))), int(rng.integers(1, 2000))
        data[start:start] = rng.integers(0, 255, length, np.uint8).tobytes()
    return bytes(data)


def mutated(seed: int) -> Iterator[bytes]:
    """Endless damaged files."""
    rng = np.random.default_rng(seed)
    files = good()
    while True:
        yield damaged(files[rng.integers(len(files))], files, rng)


def outcome(data: bytes) -> str:
    """What became of a file, `read` or `refused`; anything else is a fault in words."""
    try:
        found = read_micrograph(data, "file.png")
    except MicrographError as error:
        return "refused" if "\n" not in str(error) else f"refused in lines: {error}"
    except Exception as error:  # reported by whoever watches
        return f"raised {error!r}"
    return "read" if found.pixels.dtype == np.uint8 and found.pixels.ndim == 3 else "gave no pixels"


def _reader(pipe: Connection) -> None:
    while True:
        data = pipe.recv_bytes()
        began = time.perf_counter()
        told = outcome(data)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send((told, time.perf_counter() - began, peak))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stream = mutated(options.seed)
    files = unpleasant() + [next(stream) for _ in range(options.count)]
    told: Counter[str] = Counter()
    bad, slowest, most = [], 0.0, 0.0
    reader = None
    for k, data in enumerate(files):
        if reader is None:
            ours, theirs = mp.Pipe()
            reader = mp.get_context("spawn").Process(target=_reader, args=(theirs,), daemon=True)
            reader.start()
            theirs.close()
            ours.send_bytes(good()[0])
            ours.recv()
        ours.send_bytes(data)
        try:
            if not ours.poll(SECONDS + 25):
                raise TimeoutError
            words, seconds, peak = ours.recv()
        except (EOFError, TimeoutError) as error:
            words, seconds, peak = f"ended the process or hung ({error!r})", SECONDS + 25, 0.0
            reader.kill()
            reader = None
        told[words.split()[0]] += 1
        slowest, most = max(slowest, seconds), max(most, peak)
        if words not in ("read", "refused") or seconds > SECONDS or peak > MAX_BYTES + SPARE:
            bad.append(k)
            print(f"file {k} of seed {options.seed}: {words}, {seconds:.1f} s, {peak / 1e9:.2f} GB")
            if reader is not None and peak > MAX_BYTES + SPARE:
                reader.kill()
                reader = None
    print(f"{len(files)} files: {dict(told)}; slowest {slowest:.1f} s, most memory {most / 1e9:.2f} GB; {len(bad)} bad")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
