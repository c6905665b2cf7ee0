"""The channel gate of CBAM alone: what is there (Woo et al., ECCV 2018; see `cbam`)."""

from __future__ import annotations

from training.blocks.cbam import CBAMChannel

Block = CBAMChannel
"""What `qc.plugins.resolve("block", "cbam_channel")` offers to the model."""
