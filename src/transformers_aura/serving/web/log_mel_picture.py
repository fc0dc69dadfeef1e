"""The log-mel features of a recording as a picture."""

import base64
import io

import numpy as np
from numpy.typing import NDArray


MAX_COLUMNS = 600
"""Of a picture; longer recordings have several frames in a column."""

_DARKEST, _BRIGHTEST = -0.6, 1.2
"""Features that have the first and the last colour: about the noise of a quiet room, and loud speech."""

# Evenly spaced from dark to bright, each brighter than the one before, so that the picture reads without colours too.
_COLOURS = np.array(
    [(13, 12, 38), (59, 28, 112), (137, 41, 129), (213, 68, 107), (250, 141, 96), (253, 226, 163)], dtype=np.float64
)


def log_mel_picture(features: NDArray[np.float32]) -> NDArray[np.uint8]:
    """
    Time from left to right, frequency from bottom to top.

    Args:
        features: of the feature extractor, `(frames, mel bins)`; at least one frame.

    Returns:
        Red, green and blue, `(mel bins, columns, 3)`, with a column for each frame, or [`MAX_COLUMNS`] of them where there are more frames.
    """
    num_columns = min(len(features), MAX_COLUMNS)
    first_frames = np.arange(num_columns) * len(features) // num_columns
    num_frames = np.diff(first_frames, append=len(features))
    columns = np.add.reduceat(features, first_frames, axis=0) / num_frames[:, None]
    brightness = (columns.T[::-1] - _DARKEST) / (
        _BRIGHTEST - _DARKEST
    )  # np.interp keeps it between the first and the last
    stops = np.linspace(0.0, 1.0, len(_COLOURS))
    channels = [np.interp(brightness, stops, channel) for channel in _COLOURS.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def png_data_url(picture: NDArray[np.uint8]) -> str:
    """A picture, `(rows, columns, 3)`, as what an `<img>` takes, so that no file of it lies anywhere."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
