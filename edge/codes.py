"""The part's own name in its picture: a QR code or a bar code (EAN-13, EAN-8, UPC-A, UPC-E).

OpenCV's detectors read them; other kinds (Code 128, Data Matrix) they do not. Both look at the
whole picture: on a slow core that takes some tenths of a second for 1280 x 1024. A bar should be
three pixels wide or more.
"""

from __future__ import annotations

import cv2

from qc.errors import DataError
from qc.types import Image


def read_code(image: Image) -> str | None:
    """The text of the one code in a picture; None where none can be read.

    Args:
        image: RGB `(H, W, 3)` uint8.

    Raises:
        DataError: there are several codes with different texts: which part it is cannot be told.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found: set[str] = set()
    try:
        found.update(cv2.QRCodeDetector().detectAndDecodeMulti(grey)[1])
        found.update(cv2.barcode.BarcodeDetector().detectAndDecodeWithType(grey)[1])
    except cv2.error as error:
        raise DataError(f"the detector of codes failed ({error.err})") from error
    texts = sorted(text for text in found if text)
    if len(texts) > 1:
        raise DataError("several codes in one picture", expected="one", found=", ".join(texts))
    return texts[0] if texts else None
