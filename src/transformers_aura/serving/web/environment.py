"""What gradio finds in the environment: it decides there, when it is imported, what it sends and where it keeps uploads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def gradio_environment() -> Iterator[Path]:
    """
    While it is entered, gradio sends no analytics, keeps uploads in a folder of their own, which is removed at the end with all that is in it, and what the
    environment says otherwise about it (share links, further folders, other servers) does not count. Enter it before gradio is imported.

    Yields:
        The folder for uploads.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    with tempfile.TemporaryDirectory(prefix="aura-web-", ignore_cleanup_errors=True) as folder:
        for name in before:
            del os.environ[name]
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield Path(folder)
        finally:
            for name in [name for name in os.environ if name.startswith("GRADIO_")]:
                del os.environ[name]
            os.environ.update(before)
