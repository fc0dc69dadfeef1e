"""A person speaks to the page, writes to it, and gives it files; the packaged student answers."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile


ROOT = Path(__file__).parents[1]
QUESTION = ROOT / "demo" / "questions" / "question_03.flac"  # What is the name of our galaxy?
ORDER = ROOT / "tests" / "fixtures" / "speech" / "order_02.flac"  # can I get an americano with soy milk


def uploads_of(server) -> list[Path]:
    return [path for path in server.folder.rglob("*") if path.is_file() and path.suffix in (".flac", ".wav")]


@pytest.fixture(scope="module")
def page(browsers, server):
    opened = browsers(server.address, QUESTION)
    yield opened
    opened.browser.close()


def test_a_spoken_question_is_captioned_and_answered(page):
    page.speak()
    assert page.page.get_attribute("#aura-picture", "src").startswith("data:image/png;base64,")
    page.page.click("#aura-stop")
    answer = page.wait_for_answer()
    assert "galaxy?" in answer
    assert "Milky Way" in answer
    assert "first token after" in page.text("status")
    if path := os.environ.get("AURA_WEB_SCREENSHOT"):
        page.page.screenshot(path=path, clip={"x": 90, "y": 10, "width": 1020, "height": 700})


def test_then_a_written_one(page):
    page.page.fill("#aura-written textarea, #aura-written input", "What is the capital of France?")
    page.page.press("#aura-written textarea, #aura-written input", "Enter")
    page.wait_for_text("chat", "capital of France.*Paris")
    assert "Milky Way" in page.text("chat")


def test_a_file_is_answered_directly_and_deleted_while_another_page_speaks(browsers, server, page):
    other = browsers(server.address, QUESTION)
    other.page.click("#aura-speak")
    other.wait_for_text("captions", "[a-z]")
    page.page.click("#aura-answer-from label:has-text('directly')")  # begins a new chat
    page.page.wait_for_function("!document.getElementById('aura-chat').innerText.includes('Milky Way')")
    page.page.fill("#aura-question textarea, #aura-question input", "What was ordered? Answer in JSON.")
    with page.page.expect_file_chooser() as chooser:
        page.page.click("#aura-file")
    chooser.value.set_files(ORDER)
    order = page.wait_for_text("chat", r"\{.*americano.*\}")
    assert "soy milk" in order
    assert "soy milk" in page.text("captions")
    assert uploads_of(server) == []
    # The other page has stopped by itself if its recording became as long as one may be.
    if other.page.is_visible("#aura-stop"):
        other.wait_for_the_end()
        other.page.click("#aura-stop")
    answer = other.wait_for_answer()
    assert "Milky Way" in answer
    assert "americano" not in answer
    other.browser.close()


def test_what_is_too_long_or_no_sound_is_refused(page, server, tmp_path):
    noise = np.random.default_rng(0).normal(scale=0.1, size=21 * 16_000)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    (tmp_path / "text.wav").write_text("This is no sound.")
    soundfile.write(tmp_path / "large.wav", np.zeros(12_000_000), 16_000)
    for name, message in (("long.wav", "may have 20 s"), ("text.wav", "not"), ("large.wav", "size")):
        with page.page.expect_file_chooser() as chooser:
            page.page.click("#aura-file")
        chooser.value.set_files(tmp_path / name)
        page.page.locator(".toast-wrap", has_text=message).first.wait_for()
    assert uploads_of(server) == []


def test_no_other_host_is_asked_and_nothing_breaks(page, server):
    hosts = {urlsplit(url).netloc for url in page.requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {urlsplit(server.address).netloc}
    assert [problem for problem in page.problems if "413" not in problem] == []
