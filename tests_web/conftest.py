"""
The page in a real browser. These tests run in an environment of their own (`make test-web`), since nothing else needs gradio or a browser.

Where the packages or Chromium cannot be had, one line says so, and nothing is run.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile


ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("gradio", "playwright", "websockets") if importlib.util.find_spec(name) is None]
if CHROMIUM is None:
    MISSING.append("Chromium (for instance: apt install chromium)")

os.environ |= {"HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1,localhost", "TOKENIZERS_PARALLELISM": "false"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if MISSING:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"the page's tests need {', '.join(MISSING)}"))


class Page:
    """A page of a server in a browser whose microphone plays a recording."""

    def __init__(self, browser: object, address: str, seconds: float) -> None:
        self.seconds = seconds
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.browser = browser
        self.page = browser.new_page(viewport={"width": 1200, "height": 760})
        self.page.set_default_timeout(120_000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda websocket: self.requests.append(websocket.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector("#aura-speak")
        self.page.wait_for_function("document.querySelector('#aura-visitor textarea, #aura-visitor input')?.value")

    def text(self, name: str) -> str:
        return self.page.inner_text(f"#aura-{name}")

    def wait_for_text(self, name: str, pattern: str) -> str:
        """What an element says once it matches a regular expression of JavaScript."""
        found = "([name, pattern]) => new RegExp(pattern, 'is').test(document.getElementById('aura-' + name)?.innerText ?? '')"
        try:
            self.page.wait_for_function(found, arg=[name, pattern])
        except Exception as error:
            raise AssertionError(f"{name} says {self.text(name)!r}; status {self.text('status')!r}") from error
        return self.text(name)

    def speak(self) -> None:
        """Speaks until there are captions and the recording has been played."""
        self.page.click("#aura-speak")
        self.wait_for_text("captions", "[a-z]")
        self.wait_for_the_end()

    def wait_for_the_end(self) -> None:
        """Until the recording has been played."""
        self.page.wait_for_function(
            "end => parseFloat(document.getElementById('aura-status').innerText.replace('Listening: ', '')) > end",
            arg=self.seconds,
        )

    def wait_for_answer(self) -> str:
        self.wait_for_text("status", r"\d+ tokens in")
        return self.text("chat")


@pytest.fixture(scope="module")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A function that opens an address in a browser of its own, with a recording in the place of a microphone."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:

        def open_page(address: str, recording: Path) -> Page:
            samples, rate = soundfile.read(recording)
            pause = np.zeros(rate // 2)
            microphone = tmp_path_factory.mktemp("microphone") / "microphone.wav"
            soundfile.write(microphone, np.concatenate([pause, samples, pause]), rate, subtype="PCM_16")
            browser = playwright.chromium.launch(
                executable_path=CHROMIUM,
                args=[
                    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
                    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                    "--use-fake-ui-for-media-stream",
                    "--use-fake-device-for-media-stream",
                    f"--use-file-for-fake-audio-capture={microphone}%noloop",
                ],
            )
            return Page(browser, address, 1 + len(samples) / rate)

        yield open_page


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """`aura web` with the packaged student, as a person starts it: its address, and the folder in which it keeps temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    arguments = [
        "web",
        "aura-smollm2-135m",
        "--port",
        "0",
        "--dtype",
        "float32",
        "--max-new-tokens",
        "24",
        "--max-seconds",
        "20",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "transformers_aura.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = next((line for line in process.stderr if line.startswith("Open ")), None)
        assert line is not None, "the server did not start"
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield SimpleNamespace(address=line.split()[1], folder=folder, process=process)
    finally:
        process.terminate()
        process.wait(60)
    assert list(folder.glob("aura-web-*")) == []
