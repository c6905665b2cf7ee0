"""Writes small DICOM files, with the header that a test needs and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PICTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"


def dataset(pixels: np.ndarray, **keywords: Any) -> FileDataset:
    """A picture as the header describes it.

    Args:
        pixels: `(H, W)`, `(N, H, W)`, or colour with 3 at its end; its type gives the bits.
        keywords: set at last, by DICOM keyword; None takes one away.
    """
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    sizes = pixels.shape[:-1] if colour else pixels.shape
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = keywords.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = keywords.pop("file_class", PICTURE_CLASS)
    little = meta.TransferSyntaxUID.is_little_endian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_little_endian=little)
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    made.Rows, made.Columns = sizes[-2:]
    if len(sizes) == 3:
        made.NumberOfFrames = sizes[0]
    made.SamplesPerPixel = 3 if colour else 1
    if colour:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, value in keywords.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    if "HighBit" not in keywords:
        made.HighBit = made.BitsStored - 1
    return made


def write(path: Path, pixels: np.ndarray, **keywords: Any) -> Path:
    """Write a picture; as `dataset` otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset(pixels, **keywords).save_as(path, enforce_file_format=True)
    return path


def item(**keywords: Any) -> Dataset:
    """One item of a sequence."""
    made = Dataset()
    for keyword, value in keywords.items():
        setattr(made, keyword, value)
    return made


def table(first: int, bits: int, entries: list[int]) -> Dataset:
    """One look-up table of a Modality or VOI LUT sequence."""
    made = Dataset()
    made.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries), first, bits])
    made.add_new(0x00283006, "US", entries)
    return made
