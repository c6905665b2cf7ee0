"""The spatial gate of CBAM alone: where something is (Woo et al., ECCV 2018; see `cbam`)."""

from __future__ import annotations

from training.blocks.cbam import CBAMSpatial

Block = CBAMSpatial
"""What `qc.plugins.resolve("block", "cbam_spatial")` offers to the model."""
