"""On which images were the boxes drawn? Boxes of NIH's originals must not pass for boxes of small copies."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cxr_cli.data.boxes import BoxList
from cxr_cli.errors import InputError, argument, shown

#: Side in pixels of the images on which NIH's boxes were drawn.
NIH_SIDE = 1024
_NIH_NAME = re.compile(r"\d{8}_\d{3}\.\w+$")


def box_frame(
    boxes: BoxList, sizes: Mapping[str, tuple[int, int]], given: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, str | None]:
    """Find the size of the images on which boxes were drawn.

    Parameters
    ----------
    boxes
        The whole list.
    sizes
        (height, width) of the image files that have boxes.
    given
        What the user says.

    Returns
    -------
    frame
        (height, width); None if the boxes are in the pixels of the files.
    issue
        The assumption; None if there was none.

    Raises
    ------
    InputError
        The boxes reach beyond the images and are not NIH's, or an image has another aspect ratio than the frame.
    """
    frame, issue = given, None
    if frame is None:
        if _within(boxes, sizes):
            return None, None
        height, width = boxes.extent
        if max(height, width) > NIH_SIDE or not all(_NIH_NAME.search(name) for name in boxes.images):
            raise InputError(
                f"{boxes.source.path}: boxes reach to {width:g} × {height:g} pixels, beyond the images",
                expected="boxes in pixels of the image files",
                remedy=f"Name the height and width of the images on which they were drawn: {argument('box_frame')}.",
            )
        frame = (NIH_SIDE, NIH_SIDE)
        issue = f"boxes reach beyond the image files; read as pixels of NIH's {NIH_SIDE} × {NIH_SIDE} originals"
    for name, (height, width) in sizes.items():
        if abs(height * frame[1] - width * frame[0]) > max(height, width) * 0.01 * max(frame):
            raise InputError(
                f"image {shown(name)} is {width} × {height} pixels and the boxes belong to {frame[1]} × {frame[0]}",
                expected="images resized as a whole, neither cropped nor padded",
                remedy="Give the images on which the boxes were drawn.",
            )
    return frame, issue


def _within(boxes: BoxList, sizes: Mapping[str, tuple[int, int]]) -> bool:
    # All images alike: the whole list must fit them, or boxes of NIH's originals could pass for those of small copies.
    if len(set(sizes.values())) == 1:
        height, width = next(iter(sizes.values()))
        return boxes.extent[0] <= height + 1 and boxes.extent[1] <= width + 1
    ends = boxes.boxes[:, :2] + boxes.boxes[:, 2:]
    return all(
        x <= sizes[image][1] + 1 and y <= sizes[image][0] + 1
        for image, (x, y) in zip(boxes.images, ends.tolist(), strict=True)
        if image in sizes
    )
