"""Pictures of the same thing: exposures, shifted crops, copies saved again, mirrored or turned.

Two pictures of one piece agree in the *phase* of their spectra, whatever the light: light changes
slowly over a picture and shows in the amplitudes. So each picture is brought to 64 x 64, evened
out, and whitened (every frequency above the noise gets the same amplitude); the peak of the
correlation of two such pictures is near 1 where they show the same thing, even some pixels apart,
and near 0.15 where they do not. They must agree all over: what stands out in one place is cut.
Only likely pairs are compared: those whose amplitudes, which no shift changes, are nearest.

Source: Kuglin and Hines, "The phase correlation image alignment method", 1975.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from qc.types import Image

SIDE = 64
"""Side of the compared pictures, pixels."""

ALIKE = 0.55
"""Peak from which two pictures show the same thing, where others stay far below."""

FAR = 2.6
"""Pictures of one thing are this many times as alike as strangers commonly are ..."""

CLOSEST = 6.0
"""... but where strangers are nearly the same, as parts in a fixture are, it is enough that what
lacks to a peak of 1 is this many times less."""

NOISE = 4.0
"""Amplitude that noise commonly has in an outline's spectrum (a lively picture has about 24): what
lies below says nothing. Without it a smooth picture is not found again after saving as JPEG."""

MOST = 3.0
"""Most that one place of a whitened picture counts, in standard deviations. Without it a dark hole
on a plain part holds most of the picture, and any two parts with a hole are alike."""

_REACH = 6  # largest shift that is looked for, pixels of 64: a tenth of the side
_NEAREST = 16  # pictures compared with each one as it stands
_NEAREST_TURNED = 4  # and for each of three ways to turn it
_LOW = 11  # frequencies by which likely pairs are chosen, cycles over the picture
_BLOCK = 256

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


def outline(image: Image) -> NDArray[np.float16]:
    """A picture evened out: `(64, 64)` float16, local contrast without slow changes of light.

    Args:
        image: RGB `(H, W, 3)` uint8.
    """
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    smaller = min(grey.shape) > SIDE
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=way).astype(np.float32)
    light = np.log(small + 8)  # 8 grey levels: darkness holds noise alone
    light -= cv2.GaussianBlur(light, (0, 0), SIDE / 12)
    contrast = np.sqrt(cv2.GaussianBlur(light * light, (0, 0), SIDE / 12))
    return np.asarray(light / (contrast + 0.02), np.float16)


def alike(outlines: NDArray[np.float16], group: _Ints) -> list[tuple[int, int]]:
    """Pairs of pictures that show the same thing.

    Args:
        outlines: `(N, 64, 64)`, of `outline`.
        group: `(N,)` number of each picture's group: how alike strangers are is measured between
            groups.

    Returns:
        Pairs of rows, the lower one first, inside groups too.
    """
    if len(outlines) < 2:
        return []
    white, amplitudes = _whitened(outlines)
    first, second, peak, plain = [], [], [], []
    for row, (candidates, peaks, is_plain) in enumerate(_compared(white, amplitudes)):
        first.append(np.full(len(candidates), row))
        second.append(candidates)
        peak.append(peaks)
        plain.append(is_plain)
    a, b, peaks = np.concatenate(first), np.concatenate(second), np.concatenate(peak)
    strangers = np.concatenate(plain) & (group[a] != group[b])
    found = peaks >= _threshold(a[strangers], peaks[strangers])
    return sorted(
        {(int(min(i, j)), int(max(i, j))) for i, j in zip(a[found], b[found], strict=True)}
    )


def chains(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """What the pairs connect: sorted lists of rows, each of two or more, in order."""
    edges = np.array(list(pairs), np.int64).reshape(-1, 2)
    if not len(edges):
        return []
    rows, ends = np.unique(edges, return_inverse=True)
    a, b = ends.reshape(-1, 2).T
    size = (len(rows), len(rows))
    _, number = connected_components(coo_array((np.ones(len(a)), (a, b)), size), directed=False)
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row, chain in zip(rows, number, strict=True):
        found[int(chain)].append(int(row))
    return list(found.values())


def _threshold(row: _Ints, peak: _Floats) -> float:
    """The peak from which pictures show the same thing; `row` is sorted."""
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    common = [float(np.median(p)) for p in np.split(peak, starts[1:]) if len(p) >= _NEAREST // 2]
    if not common:
        return ALIKE
    strangers = float(np.quantile(common, 0.9))
    return max(ALIKE, min(FAR * strangers, 1 - (1 - strangers) / CLOSEST))


def _whitened(outlines: NDArray[np.float16]) -> tuple[NDArray[np.float16], _Floats]:
    """Whitened pictures `(N, 64, 64)` of length 64, and low amplitudes `(N, 23, 23)`."""
    high = np.abs(np.fft.fftfreq(SIDE))[:, None]
    wide = np.fft.rfftfreq(SIDE)[None]
    radius = np.hypot(high, wide)
    band = (np.exp(-((radius / 0.3) ** 2)) * (radius > 1.5 / SIDE)).astype(np.float32)
    window = (np.hanning(SIDE)[:, None] * np.hanning(SIDE)[None]).astype(np.float32)
    white = np.empty(outlines.shape, np.float16)
    amplitudes = np.empty((len(outlines), 2 * _LOW + 1, 2 * _LOW + 1), np.float32)
    low = np.r_[-_LOW : _LOW + 1]
    for start in range(0, len(outlines), _BLOCK):
        part = slice(start, start + _BLOCK)
        spectrum = scipy.fft.rfft2(outlines[part].astype(np.float32) * window, workers=-1)
        size = np.abs(spectrum)
        half = np.log(size[:, low, : _LOW + 1] + 1)
        amplitudes[part] = np.concatenate([half[:, ::-1, :0:-1], half], axis=2)
        flat = scipy.fft.irfft2(spectrum / (size + NOISE) * band, s=(SIDE, SIDE), workers=-1)
        white[part] = _of_length(np.clip(_of_length(flat), -MOST, MOST))
    return white, amplitudes


def _of_length(pictures: _Floats) -> _Floats:
    """Pictures `(N, 64, 64)` of length 64: a standard deviation of 1."""
    length = np.linalg.norm(pictures.reshape(len(pictures), -1), axis=1)
    return np.asarray(SIDE * pictures / np.maximum(length, 1e-12)[:, None, None])


def _compared(
    white: NDArray[np.float16], amplitudes: _Floats
) -> Iterator[tuple[_Ints, _Floats, NDArray[np.bool_]]]:
    """For each picture: rows of those it was compared with, the peaks, and which were not turned.

    Amplitudes are the same for a picture and the one turned by half a turn: so there are four ways
    to choose likely pairs, and two pictures to compare for each.
    """
    middle = amplitudes.mean(axis=0)

    def flat(pictures: _Floats) -> _Floats:
        rows = (pictures - middle).reshape(len(pictures), -1)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    known = flat(amplitudes)
    most = len(white) - 1
    for start in range(0, len(white), _BLOCK):
        block = amplitudes[start : start + _BLOCK]
        rows = np.arange(len(block))
        chosen = []
        for turn in range(4):
            cosine = flat(_turned(block, turn)) @ known.T
            cosine[rows, rows + start] = -np.inf
            count = min(_NEAREST_TURNED if turn else _NEAREST, most)
            chosen.append(np.argpartition(-cosine, count - 1, axis=1)[:, :count])
        for row in rows:
            candidates = [c[row] for c in chosen]
            peaks = [
                _peaks(_turned(white[start + row][None], turn)[0], white[c])
                for turn, c in enumerate(candidates)
            ]
            plain = np.repeat(np.arange(4) == 0, [len(c) for c in candidates])
            yield np.concatenate(candidates), np.concatenate(peaks), plain


def _turned(pictures: NDArray[Any], turn: int) -> NDArray[Any]:
    """Pictures `(N, S, S)` as they are (0), mirrored (1), turned by a quarter (2), or both (3)."""
    if turn >= 2:
        pictures = pictures.transpose(0, 2, 1)
    return pictures[:, :, ::-1] if turn in (1, 2) else pictures


def _peaks(picture: NDArray[np.float16], others: NDArray[np.float16]) -> _Floats:
    """Highest correlation of a picture with each of the others `(M, 64, 64)`, or with the picture
    turned by half a turn, within the reach of shifts."""
    picture = picture.astype(np.float32) / SIDE**2
    two = scipy.fft.rfft2(np.stack([picture, picture[::-1, ::-1]]))
    spectra = scipy.fft.rfft2(others.astype(np.float32)).conj()
    found = scipy.fft.irfft2(two[:, None] * spectra[None], s=(SIDE, SIDE))
    near = np.r_[0 : _REACH + 1, -_REACH:0]
    return np.asarray(found[:, :, near][:, :, :, near].max(axis=(0, 2, 3)), np.float32)
