"""A foreign flatbuffer is read for what it is, and refused in words for what it is not."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="tensorflow is not installed")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

from foreign_models import Edit, changed, custom, model, more_borders, on_input, on_output  # noqa: E402 - after the skip

from export.foreign import Foreign, read_foreign  # noqa: E402
from export.foreign_range import (  # noqa: E402
    fits,
    normalised_range,
    plain_range,
)
from qc.errors import BundleError  # noqa: E402
from qc.manifest import RUNTIMES, TensorSpec  # noqa: E402

# written by the schema of tflite-support 0.4.4: ImageNet's mean and deviation, in 0..255
METADATA = base64.b85decode(
    "7ytkOO)xMq5C9ke6aWAK5C9AS2mk~C5C8xG6aWAK8~^|SBme*aKmh;%L;(N*1^@s6L2zMXXk`EZ2LJ#7b8l^BZ*FA(0RR"
    "915C8xG3;+xO000002mk~C3;+NC2mk;8EC2ui0RR913;+NC000I62mk~C1^@s61ONa43jhEBaB^>AVPa`)X>@r20RR916"
    "aWAK5C9ke6aWwa000aC2mk~C5C8xG6aWAKEC2uifB*mhlmGw#pa1{>$p8QU2mk;83;+NC0RR91000000RR91004kL0RR9"
    "13;+NC2mlNK3jhQF2mk;85C8xG000012mlNK2mk~C2mk;82mk;86aWAK0{{R3dz5KH;d*330Dxse0{{R3npyWkT#x8NTo"
    "2De2mlHI2>=8D2mk;83;+NC00IU82ml8F1^@s6000013jhEBNp5g;bRcPMVP|Ck1poj5X>DO=WdHyG0ssI2b};||3IG5A"
    "V{Bn_b7^L2WpV%j"
)


def read(folder: Path, data: bytes) -> Foreign:
    file = folder / "m.tflite"
    file.write_bytes(data)
    return read_foreign(file)


@pytest.mark.parametrize(
    ("kind", "scheme", "runtimes", "ends_in", "dtype", "outputs"),
    [
        ("float_softmax", "float32", RUNTIMES, "softmax", "float32", 3),
        ("float_logits", "float32", RUNTIMES, None, "float32", 3),
        ("float_sigmoid", "float32", RUNTIMES, "sigmoid", "float32", 1),
        ("dynamic", "dynamic", RUNTIMES[:1], "softmax", "float32", 3),
        ("uint8", "int8", RUNTIMES, "softmax", "uint8", 3),
        ("int8", "int8", RUNTIMES, "softmax", "int8", 3),
        ("uint8_logits", "int8", RUNTIMES, None, "uint8", 3),
    ],
)
def test_what_a_model_is(
    tmp_path: Path,
    kind: str,
    scheme: str,
    runtimes: tuple[str, ...],
    ends_in: str | None,
    dtype: str,
    outputs: int,
) -> None:
    found = read(tmp_path, model(kind))
    assert (found.scheme, found.runtimes, found.ends_in) == (scheme, runtimes, ends_in)
    assert (found.input.dtype, found.input.shape) == (dtype, (1, 16, 16, 3))
    assert found.outputs == outputs and found.unused == () and found.said_range is None


def test_a_newer_dense_layer_is_for_one_runtime_alone(tmp_path: Path) -> None:
    def newer(graph: Any) -> None:
        for code in graph.operatorCodes:
            if code.builtinCode == schema.BuiltinOperator.FULLY_CONNECTED:
                code.version = 12

    assert read(tmp_path, changed(model("float_softmax"), newer)).runtimes == RUNTIMES[:1]


def test_an_old_file_keeps_its_codes_in_the_narrow_field(tmp_path: Path) -> None:
    """Before 2020 there was no other, and a reader of the new field alone sees ADD everywhere."""

    def old(graph: Any) -> None:
        for code in graph.operatorCodes:
            code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0

    assert read(tmp_path, changed(model("float_softmax"), old)).ends_in == "softmax"


def outside(graph: Any) -> None:
    graph.buffers[2].data, graph.buffers[2].offset, graph.buffers[2].size = None, 4096, 64


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (outside, r"weights lie behind the flatbuffer.*found 1 of \d+ buffers outside"),
        (on_input(shape=[1, 16, 48]), r"not a picture; expected.*found .*photo.* \(1, 16, 48\)"),
        (on_input(shape=[1, 768]), r"not a picture.*\(1, 768\)"),
        (on_input(shape=[1, 3, 16, 16]), r"channels first \(NCHW\): convert it with channels last"),
        (on_input(shape=[1, 1, 28, 28]), "channels first"),
        (on_input(shape=[1, 16, 16, 4]), r"takes 4 channels.*h, w, 1 or 3.*\(1, 16, 16, 4\)"),
        (on_input(shape=[1, 16, 16, 2]), "takes 2 channels"),
        (on_input(shape=[8, 16, 16, 3]), "several pictures at once"),
        (on_input(shapeSignature=[-1, -1, -1, 3]), r"no fixed size.*\(-1, -1, -1, 3\)"),
        (on_input(type=schema.TensorType.FLOAT16), "input is float16; expected uint8 or int8 or"),
        (on_input(type=schema.TensorType.UINT8), "input is uint8 without a scale and a zero point"),
        (more_borders(inputs=1), r"has 2 inputs.*one picture.*more \(1, 4\)"),
        (on_output(shape=[1, 16, 16, 3]), "gives a map and no scores, as segmentation does"),
        (on_output(shape=[1, 84, 8400]), "gives rows of boxes and no scores"),
        (on_output(shape=[3]), r"gives no scores.*expected one output \(1, K\)"),
        (on_output(shape=[5, 3]), "not one row of scores"),
        (on_output(type=schema.TensorType.INT64), "output is int64"),
        (more_borders(outputs=([1, 10, 4], [1, 10], [1])), "several outputs, as detection does"),
        (more_borders(outputs=([1, 128],)), r"several outputs.*more \(1, 128\)"),
        (custom("TFLite_Detection_PostProcess"), "finds objects.*found TFLite_Detection"),
        (custom("FlexErf"), r"TensorFlow \(Flex\) operations, which no line's runtime.*FlexErf"),
        (custom("MyOp"), "custom operations.*MyOp"),
    ],
)
def test_what_no_bundle_can_hold_is_refused(tmp_path: Path, edit: Edit, says: str) -> None:
    with pytest.raises(BundleError, match=rf"m\.tflite: .*{says}"):
        read(tmp_path, changed(model("float_softmax"), edit))


def test_a_map_beside_the_scores_is_not_used_and_named(tmp_path: Path) -> None:
    data = changed(model("float_softmax"), more_borders(outputs=([1, 4, 4, 3],)))
    found = read(tmp_path, data)
    assert found.outputs == 3 and found.unused == ("more (1, 4, 4, 3) float32",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a TFLite file.*an empty file"),
        (b"PK\x03\x04 and more", "a ZIP, as a .keras file is"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"just some text", "found bytes 6a 75 73 74"),
    ],
)
def test_what_is_not_tflite_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        read(tmp_path, data)
    with pytest.raises(BundleError, match="cannot be read"):
        read_foreign(tmp_path / "none.tflite")
    with pytest.raises(BundleError, match="cannot be read"):
        read_foreign(tmp_path)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["float_softmax", "uint8"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    data = model(kind)
    with pytest.raises(BundleError, match=r"truncated or damaged.*that do not hold together"):
        read(tmp_path, data[: int(share * len(data))])


def with_metadata(graph: Any) -> None:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(METADATA, np.uint8)
    graph.buffers.append(buffer)
    entry.name, entry.buffer = "TFLITE_METADATA", len(graph.buffers) - 1
    graph.metadata = [*(graph.metadata or []), entry]


def test_the_normalisation_of_tflite_metadata_is_read(tmp_path: Path) -> None:
    """(0 - 123.675) / 58.395 and (255 - 123.675) / 58.395 are what 0.485 and 0.229 make of it."""
    found = read(tmp_path, changed(model("float_softmax"), with_metadata)).said_range
    assert found is not None
    np.testing.assert_allclose(
        found, [(-2.1179, 2.2489), (-2.0357, 2.4286), (-1.8044, 2.6400)], atol=1e-4
    )


def test_metadata_that_is_damaged_or_of_other_channels_says_nothing() -> None:
    def said(data: bytes, channels: int = 3) -> Any:
        entry = SimpleNamespace(name=b"TFLITE_METADATA", buffer=0)
        buffer = SimpleNamespace(data=np.frombuffer(data, np.uint8))
        return normalised_range(SimpleNamespace(metadata=[entry], buffers=[buffer]), channels)

    assert said(METADATA) is not None
    assert said(METADATA, channels=1) is None
    for end in range(0, 240, 7):
        assert said(METADATA[:end]) is None
    assert normalised_range(SimpleNamespace(metadata=None, buffers=[]), 3) is None


@pytest.mark.parametrize(
    ("dtype", "scale", "zero", "expected"),
    [
        ("uint8", 1 / 255, 0, (0, 1)),
        ("uint8", 1.0, 0, (0, 255)),
        ("uint8", 1 / 128, 128, (-1, 127 / 128)),  # the classic quantised MobileNet
        ("int8", 1 / 255, -128, (0, 1)),
        ("int8", 1.0, -128, (0, 255)),
        ("int8", 1.0, 0, (-128, 127)),
        ("uint8", 0.0186, 114, None),  # a mean was taken off
        ("int8", 0.5, -128, None),
        ("float32", 1.0, 0, None),
    ],
)
def test_which_quantised_inputs_store_the_pixel(
    dtype: Any, scale: float, zero: int, expected: tuple[float, float] | None
) -> None:
    spec = TensorSpec(name="x", shape=(1, 8, 8, 3), dtype=dtype, scale=scale, zero_point=zero)
    found = plain_range(spec)
    assert found == (None if expected is None else pytest.approx(expected))
    if found is not None:
        assert fits(spec, (found,))
        wide = tuple(3 * (v - found[0]) + found[0] for v in found)
        assert not fits(spec, (wide,)) and not fits(spec, (found, (found[0], found[0] + scale)))
