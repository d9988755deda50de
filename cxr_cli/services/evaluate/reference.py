"""Published results on ChestX-ray14, to stand beside one's own with their splits."""

from __future__ import annotations

from cxr_cli.services.evaluate.result import Published

#: Mean AUROC over the 14 pathologies.
PUBLISHED = (
    Published("Wang et al., CVPR 2017 (arXiv:1705.02315)", "0.745", "official test list, 25,596 images"),
    Published("Baltruschat et al., Scientific Reports 2019", "0.806", "official test list, 25,596 images"),
    Published(
        "Seyyed-Kalantari et al., Nature Medicine 2021, five seeds",
        "0.8357 to 0.8420",
        "a random split of their own by patients; one run differs from another by this much",
    ),
)
