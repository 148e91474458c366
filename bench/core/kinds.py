"""What a file is that is no picture to Pillow, told by its first bytes: its name, and what to do with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.characters import on_one_line

HEIF = "a HEIF picture (HEIC), as phones take them"
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf"}
    | {".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)

_CONVERT = "Convert it to JPEG or PNG."
_DEVELOP = "Develop it: save it as JPEG, PNG or TIFF with a raw converter."
_FRAMES = "Extract its frames as pictures."
_UNPACK = "Unpack it, and give the pictures in it."
_RAW = "a camera's raw file"
_VIDEO = "a video"

# The brand behind `ftyp` in a file of boxes (ISO/IEC 14496-12): pictures, raw files and videos share that form.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), ("an AVIF picture, which this build of Pillow cannot read", _CONVERT)),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
                    (HEIF, "Convert it to JPEG or PNG, or install pillow-heif.")),
    b"crx ": (f"{_RAW} (CR3)", _DEVELOP),
    b"jxl ": ("a JPEG XL picture", _CONVERT),
}  # fmt: skip
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com/spec", "a Git LFS pointer, not the picture itself", "Run `git lfs pull`."),
    (b"\0\x05\x16\x07", "what macOS keeps beside a file (AppleDouble), not the file itself", "Give the file itself."),
    (b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", _CONVERT),
    (b"8BPS", "a Photoshop document", "Export it as JPEG or PNG."),
    (b"gimp xcf", "a GIMP document", "Export it as JPEG or PNG."),
    (b"%PDF", "a PDF document", "Save its pages as pictures."),
    (b"%!PS", "PostScript, a program and not an image in a known format", "Save it as JPEG or PNG."),
    (b"\xc5\xd0\xd3\xc6", "PostScript, a program and not an image in a known format", "Save it as JPEG or PNG."),
    (b"FUJIFILMCCD-RAW", f"{_RAW} (RAF)", _DEVELOP),
    (b"IIU\0", f"{_RAW} (RW2)", _DEVELOP),
    (b"IIRO", f"{_RAW} (ORF)", _DEVELOP),
    (b"IIRS", f"{_RAW} (ORF)", _DEVELOP),
    (b"MMOR", f"{_RAW} (ORF)", _DEVELOP),
    (b"FOVb", f"{_RAW} (X3F)", _DEVELOP),
    (b"\0MRM", f"{_RAW} (MRW)", _DEVELOP),
    (b"BPG\xfb", "a BPG picture", _CONVERT),
    (b"DDS ", "a DDS texture", _CONVERT),
    (b"v/1\x01", "an OpenEXR picture", _CONVERT),
    (b"#?RADIANCE", "a Radiance HDR picture", _CONVERT),
    (b"SIMPLE  =", "a FITS picture", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", "Save it as PNG or TIFF."),
    (b"\x89HDF", "an HDF5 file", "Save its pictures as PNG or TIFF."),
    (b"\x1aE\xdf\xa3", _VIDEO, _FRAMES),
    (b"\0\0\x01\xba", _VIDEO, _FRAMES),
    (b"\0\0\x01\xb3", _VIDEO, _FRAMES),
    (b"FLV\x01", _VIDEO, _FRAMES),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
)
_TIFF = (b"II*\0", b"MM\0*")
_READABLE: tuple[tuple[str, bytes], ...] = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG"),
    ("GIF", rb"GIF8"),
    ("WEBP", rb"RIFF....WEBP"),
    ("TIFF", rb"II\*\0|MM\0\*"),
    ("AVIF", rb"....ftypavi[fs]"),
    ("HEIF", rb"....ftyp(hei|hev|mif1|msf1)"),
    ("PPM", rb"P[1-7]\s"),
    ("JPEG2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
)
_AGAIN = "Fetch or write it again."
_FETCH = "The download did not bring the picture: fetch it again."
_FORMS = ("JPEG, PNG, WebP, TIFF … are.", "this is not an image in a known format")


def what_it_is(name: str, data: bytes, formats: Collection[str]) -> tuple[str, str]:
    """A sentence on what a file is that cannot be opened, as far as its first bytes tell, and what to do.

    formats: Pillow's names of the formats that it reads here. A file that begins as one of them is damaged.
    """
    begun = next((form for form, start in _READABLE if form in formats and re.match(start, data, re.DOTALL)), None)
    if data[:4] in _TIFF and (data[8:10] == b"CR" or Path(name).suffix.lower() in RAW_SUFFIXES):
        return f"this is {_RAW}", _DEVELOP
    if begun is not None:
        return f"the image is damaged: it begins as {begun}, and then cannot be read", _AGAIN
    kind = _boxed(data) or _begun(data) or _inside(data) or _written(data)
    return (_FORMS[1], _FORMS[0]) if kind is None else (f"this is {kind[0]}", kind[1])


def is_heif(data: bytes) -> bool:
    """True for what pillow-heif reads."""
    kind = _boxed(data)
    return kind is not None and kind[0] == HEIF


def raw_file(name: str, tags: Mapping[int, Any], data: bytes) -> tuple[str, str] | None:
    """As `what_it_is`, for what opens as TIFF and is a camera's raw file: a decoder would see its small preview alone.

    Known by suffix; DNG by its version (tag 50706); others by a first page that is a preview (NewSubfileType, 254) of
    what lies deeper (SubIFDs, 330).
    """
    suffix = Path(name).suffix.lower()
    preview = bool(_number(tags.get(254)) & 1) and 330 in tags
    if suffix not in RAW_SUFFIXES and 50706 not in tags and data[8:10] != b"CR" and not preview:
        return None
    format_name = f" ({suffix[1:].upper()})" if suffix in RAW_SUFFIXES else ""
    return f"this is {_RAW}{format_name}, of which only the small preview could be read", _DEVELOP


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _boxed(data: bytes) -> tuple[str, str] | None:
    if data[4:8] != b"ftyp":
        return None
    brands = [data[8:12], *(data[place : place + 4] for place in range(16, min(len(data), 64), 4))]
    known = next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return known or (_VIDEO, _FRAMES)


def _begun(data: bytes) -> tuple[str, str] | None:
    if data[:4] == b"RIFF":
        forms = {b"WEBP": ("a WebP picture", _CONVERT), b"AVI ": (_VIDEO, _FRAMES)}
        return forms.get(data[8:12])
    return next(((what, cure) for start, what, cure in _STARTS if data.startswith(start)), None)


def _inside(data: bytes) -> tuple[str, str] | None:
    if data[128:132] == b"DICM":
        return "a DICOM file", _CONVERT
    if data and not data.strip(b"\0"):
        return f"{len(data):,} zero bytes and nothing else", _AGAIN
    return None


def _written(data: bytes) -> tuple[str, str] | None:
    """Text of some kind: what web servers answer instead of a picture, a drawing, or anything else."""
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "a web page, not an image", _FETCH
    if start.startswith((b"<?xml", b"<svg", b"<!--")) and b"<svg" in start:
        return "an SVG drawing", "Save it as PNG."
    if start.startswith((b"<?xml", b"<error")):
        return "an XML document, not an image", _FETCH
    try:
        text = data[:60].decode("utf-8", "strict" if len(data) <= 60 else "ignore")
    except UnicodeDecodeError:
        return None
    if not text.strip() or not all(character.isprintable() or character.isspace() for character in text):
        return None
    first = text.strip().splitlines()[0][:40]
    return f"text, not an image; it begins with {first!r}", _FETCH


def by_suffix(name: str) -> str:
    """How files that are passed over are counted: by their suffix, in small letters."""
    suffix = Path(name).suffix.lower()
    return on_one_line(suffix) if 1 < len(suffix) <= 12 else "without a suffix"
