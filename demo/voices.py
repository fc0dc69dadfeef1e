"""The demo's choice of the offline voices of `tools/voices.py`: those that speak 50 to 100 times faster than real time.

| engine | voices | from |
|---|---|---|
| hibari | heart (US, woman) | PyPI `hibari-tts`, Apache-2.0 |
| flite | slt (US, woman), rms (US, man), awb (Scottish, man) | Debian `flite` (CMU licence) |
| pico | en-US, en-GB (women) | PyPI `ttspico`, Apache-2.0; built from source, so it needs a C compiler |

Only hibari is needed. The others are used where they are or can be installed: more voices make a student that understands more people.
"""

import importlib.util
import os
import shutil
import subprocess
import sys

from tools.voices import Voice


HIBARI = ("hibari-tts==0.2.1", "onnxruntime", "scipy")
PICO = "ttspico==0.3.2"


VOICES = (
    Voice("hibari", "heart", (0.80, 1.15)),
    Voice("flite", "slt", (0.85, 1.10)),
    Voice("flite", "rms", (0.92, 1.25)),
    Voice("flite", "awb", (0.92, 1.20)),
    Voice("pico", "en-US", (0.82, 1.15)),
    Voice("pico", "en-GB", (0.82, 1.15)),
)


def install_engines() -> list[str]:
    """Installs what is missing where that is possible. Returns one line an engine that says what was found.

    Raises `RuntimeError` when hibari, the one engine that is needed, cannot be installed.
    """
    lines = []
    if importlib.util.find_spec("hibari") is None:
        result = _pip_install(*HIBARI)
        if result.returncode != 0:
            raise RuntimeError(
                f"The demo's voice {HIBARI[0]} could not be installed from PyPI. Check the network or pip's settings.\n"
                f"{result.stderr.strip()}"
            )
    lines.append("hibari: one voice")

    if shutil.which("flite") is None and shutil.which("apt-get") is not None:
        root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
        if not root or shutil.which("sudo") is not None:
            for command in (
                ["apt-get", "install", "-y", "flite"],
                ["apt-get", "update"],
                ["apt-get", "install", "-y", "flite"],
            ):
                if subprocess.run(
                    [*root, *command], capture_output=True, check=False
                ).returncode == 0 and shutil.which("flite"):
                    break
    if shutil.which("flite") is None:
        lines.append("flite: not installed and could not be (it needs: apt-get install flite), so three voices less")
    else:
        lines.append("flite: three voices")

    if importlib.util.find_spec("ttspico") is None:
        _pip_install(PICO)
        importlib.invalidate_caches()
    if importlib.util.find_spec("ttspico") is None:
        lines.append(f"pico: {PICO} could not be built (it needs a C compiler), so two voices less")
    else:
        lines.append("pico: two voices")
    return lines


def available_voices() -> list[Voice]:
    """The voices whose engine is installed, in the order of [`VOICES`]."""
    present = {
        "hibari": importlib.util.find_spec("hibari") is not None,
        "flite": shutil.which("flite") is not None,
        "pico": importlib.util.find_spec("ttspico") is not None,
    }
    return [voice for voice in VOICES if present[voice.engine]]


def _pip_install(*requirements: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "install", "--quiet", *requirements]
    return subprocess.run(command, capture_output=True, text=True, check=False)
