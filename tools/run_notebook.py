"""Runs docs/notebooks/teach_a_domain.ipynb on real models and keeps its outputs in the file, so that it can be read without being run.

    python -m tools.run_notebook       # ten minutes on two cores; needs Debian's flite and `pip install -e '.[notebook]'`

The models are those of `make real-models`, served by a Hub on loopback to which the notebook also publishes. No network is used.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.support.fake_hub import WRITE_TOKEN, FakeHub
from tools.real_models import REAL_MODELS, REPOSITORY, real_model_folder


NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "teach_a_domain.ipynb"


def main() -> None:
    if shutil.which("flite") is None:
        sys.exit("The notebook's recordings are spoken by flite, which is not installed: apt install flite")
    hub = FakeHub()
    try:
        for name in ("smollm2-135m-instruct", "whisper-tiny.en"):
            hub.add_folder(REAL_MODELS[name].hub_id, real_model_folder(name))
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {
                "HF_ENDPOINT": hub.endpoint,
                "HF_HOME": str(Path(folder, "hf")),
                "HF_TOKEN": WRITE_TOKEN,
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
            }
            notebook = nbformat.read(NOTEBOOK, as_version=4)
            NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": folder}}).execute()
    finally:
        hub.close()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)  # times of the day
        if cell.cell_type == "code":
            # Warnings name files of this machine.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
