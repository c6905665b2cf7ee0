"""What may happen to a part without changing what it is, to image and mask together."""

from __future__ import annotations

import albumentations as A
import cv2
import numpy as np

from qc.recipe import AugmentTable


def make_augmentation(table: AugmentTable) -> A.Compose:
    """The recipe's augmentation for an image `(H, W, 3)` uint8 and its mask `(H, W)` uint8."""
    steps: list[A.BasicTransform] = []
    if table.flip_horizontal:
        steps.append(A.HorizontalFlip(p=0.5))
    if table.flip_vertical:
        steps.append(A.VerticalFlip(p=0.5))
    if table.rotate_deg or table.shift or table.scale:
        steps.append(
            A.Affine(
                rotate=(-table.rotate_deg, table.rotate_deg),
                translate_percent=(-table.shift, table.shift),
                scale=(1 - table.scale, 1 + table.scale),
                border_mode=cv2.BORDER_REFLECT_101,
                p=0.8,
            )
        )
    if table.brightness or table.contrast:
        steps.append(A.RandomBrightnessContrast(table.brightness, table.contrast, p=0.8))
    if table.noise:
        steps.append(A.GaussNoise(std_range=(0.0, table.noise), p=0.3))
    return A.Compose(steps)


def augment(
    augmentation: A.Compose, image: np.ndarray, mask: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """One image and its mask, changed alike; the same seed gives the same change."""
    augmentation.set_random_seed(seed)
    changed = augmentation(image=image, mask=mask)
    return changed["image"], changed["mask"]
