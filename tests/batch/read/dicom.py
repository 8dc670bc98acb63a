"""Small DICOM slides, written by hand: explicit VR, little endian (PS3.5), whole-slide microscopy (PS3.3, A.32.8)."""

import struct
from pathlib import Path

import numpy as np

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
PLAIN_PIXELS = "1.2.840.10008.1.2.1"
LONG_LENGTH = {"OB", "SQ"}


def element(group, number, kind, value) -> bytes:
    """One attribute; text and bytes are padded to even length."""
    if kind == "US":
        body = struct.pack("<H", value)
    elif kind == "UL":
        body = struct.pack("<I", value)
    elif isinstance(value, str):
        body = value.encode()
        body += (b"\0" if kind == "UI" else b" ") * (len(body) % 2)
    else:
        body = value + b"\0" * (len(value) % 2)
    length = struct.pack("<HI", 0, len(body)) if kind in LONG_LENGTH else struct.pack("<H", len(body))
    return struct.pack("<HH", group, number) + kind.encode() + length + body


def sequence(group, number, item) -> bytes:
    """An attribute that is a sequence of one item."""
    return element(group, number, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)


def write_dicom(path, pixels, mpp=0.25, tile=64, series="1.2.3.4", instance=1) -> Path:
    """One level of a slide; those of one series in one folder are one slide."""
    height, width = pixels.shape[:2]
    down, across = -(-height // tile), -(-width // tile)
    padded = np.pad(pixels, ((0, down * tile - height), (0, across * tile - width), (0, 0)), constant_values=255)
    frames = padded.reshape(down, tile, across, tile, 3).swapaxes(1, 2)
    spacing = element(0x0028, 0x0030, "DS", f"{mpp / 1000:.6g}\\{mpp / 1000:.6g}")
    identity = f"{series}.{instance}"
    meta = b"".join(
        [
            element(0x0002, 0x0001, "OB", b"\0\1"),
            element(0x0002, 0x0002, "UI", WHOLE_SLIDE),
            element(0x0002, 0x0003, "UI", identity),
            element(0x0002, 0x0010, "UI", PLAIN_PIXELS),
            element(0x0002, 0x0012, "UI", "1.2.3"),
        ]
    )
    body = [
        element(0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\VOLUME\\" + ("NONE" if instance == 1 else "RESAMPLED")),
        element(0x0008, 0x0016, "UI", WHOLE_SLIDE),
        element(0x0008, 0x0018, "UI", identity),
        element(0x0008, 0x0060, "CS", "SM"),
        element(0x0020, 0x000D, "UI", "1.2.3.5"),
        element(0x0020, 0x000E, "UI", series),
        element(0x0020, 0x0013, "IS", str(instance)),
        element(0x0020, 0x9311, "CS", "TILED_FULL"),
        element(0x0028, 0x0002, "US", 3),
        element(0x0028, 0x0004, "CS", "RGB"),
        element(0x0028, 0x0006, "US", 0),
        element(0x0028, 0x0008, "IS", str(down * across)),
        element(0x0028, 0x0010, "US", tile),
        element(0x0028, 0x0011, "US", tile),
        element(0x0028, 0x0100, "US", 8),
        element(0x0028, 0x0101, "US", 8),
        element(0x0028, 0x0102, "US", 7),
        element(0x0028, 0x0103, "US", 0),
        element(0x0048, 0x0006, "UL", width),
        element(0x0048, 0x0007, "UL", height),
        element(0x0048, 0x0302, "UL", 1),
        element(0x0048, 0x0303, "UL", 1),
        sequence(0x5200, 0x9229, sequence(0x0028, 0x9110, spacing)),
        element(0x7FE0, 0x0010, "OB", frames.tobytes()),
    ]
    path.write_bytes(b"\0" * 128 + b"DICM" + element(0x0002, 0x0000, "UL", len(meta)) + meta + b"".join(body))
    return path
