"""A model of anomalib exported to OpenVINO as its manual says, in the environment `anomalib`.

    python peers_make_anomalib.py NAME SIZE IMAGES.npy OUT.xml
    python peers_make_anomalib.py int8 EXPORTED.xml IMAGES.npy OUT.xml

The networks have no pretrained weights, which do not change the time. What is fitted to good parts
and does change it is there: PaDiM's Gaussians, and PatchCore's memory of as many patches as a tenth
of those of a hundred pictures; which patches they are makes no difference to the time, so they are
drawn and not chosen. The second form quantises an exported model with NNCF after training.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

REMEMBERED_PICTURES = 100
SHARE = 0.1


def without_downloads() -> None:
    """Let timm make networks without the weights it would fetch."""
    import timm

    make = timm.create_model

    def bare(*arguments: Any, **options: Any) -> Any:
        return make(*arguments, **{**options, "pretrained": False})

    timm.create_model = bare


def padim(size: int, pictures: Any) -> Any:
    """PaDiM, its Gaussians fitted."""
    from anomalib.models import Padim

    model = Padim(pre_trained=False, pre_processor=Padim.configure_pre_processor((size, size)))
    inner = model.model.train()
    for one in pictures:
        inner(one[None])
    inner.fit()
    return model


def patchcore(size: int, pictures: Any) -> Any:
    """PatchCore with a full memory."""
    import torch
    from anomalib.models import Patchcore

    scale = Patchcore.configure_pre_processor((size, size))
    model = Patchcore(pre_trained=False, pre_processor=scale)
    inner = model.model.train()
    patches = torch.vstack([inner(one[None]) for one in pictures])
    each = len(patches) // len(pictures)
    kept = torch.randint(len(patches), (round(REMEMBERED_PICTURES * each * SHARE),))
    inner.memory_bank = patches[kept]
    inner.embedding_store.clear()
    return model


def stfpm(size: int, pictures: Any) -> Any:
    """STFPM."""
    from anomalib.models import Stfpm

    return Stfpm(pre_processor=Stfpm.configure_pre_processor((size, size)))


def efficient_ad(size: int, pictures: Any) -> Any:
    """EfficientAD, small, with some quantiles, so that its maps are normalised as when trained."""
    import torch
    from anomalib.models import EfficientAd

    model = EfficientAd(pre_processor=EfficientAd.configure_pre_processor((size, size)))
    inner = model.model
    with torch.no_grad():
        for table in (inner.mean_std, inner.quantiles):
            for number, key in enumerate(sorted(table.keys()), start=1):
                table[key].copy_(torch.full_like(table[key], 0.1 * number))
    return model


MODELS = {f.__name__: f for f in (stfpm, padim, patchcore, efficient_ad)}


def export(name: str, size: int, pixels: np.ndarray, out: Path) -> None:
    """Make one model at one size."""
    without_downloads()
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        model = MODELS[name](size, torch.from_numpy(pixels))
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(model.to_openvino(folder, input_size=(size, size)))
        for ending in (".bin", ".xml"):
            shutil.copyfile(made.with_suffix(ending), out.with_suffix(ending))


def quantise(exported: Path, pixels: np.ndarray, out: Path) -> None:
    """The same model in int8."""
    import nncf
    import openvino as ov

    model = ov.Core().read_model(str(exported))
    shown = nncf.Dataset([one[None] for one in pixels])
    ov.save_model(nncf.quantize(model, shown), str(out))


def main() -> None:
    """One of both."""
    name, what, images, out = sys.argv[1:5]
    pixels = np.load(images).astype(np.float32).transpose(0, 3, 1, 2) / 255
    if name == "int8":
        quantise(Path(what), np.ascontiguousarray(pixels), Path(out))
    else:
        export(name, int(what), np.ascontiguousarray(pixels[:20]), Path(out))


if __name__ == "__main__":
    main()
