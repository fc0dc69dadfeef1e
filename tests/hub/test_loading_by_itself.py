"""Whoever has a saved repo and transformers can load it with `trust_remote_code=True`: nobody imports this package for them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForMultimodalLM, AutoProcessor, pipeline

from tests.support.fake_hub import FakeHub
from tests.support.published import STUDENT_ID, PublishedStudent, publish_student
from tests.support.tiny_models import tiny_transcriber
from transformers_aura import (
    AuraConfig,
    AuraFeatureExtractor,
    AuraForSpeechQA,
    AuraModel,
    AuraProcessor,
    packaged_students,
)
from transformers_aura.auto_map import STUB, STUB_FILE_NAME, auto_map
from transformers_aura.hub import merge_to_folder, push_to_hub


FORK = """
import contextlib, io, json, os, sys, traceback
import peft, torch, transformers, transformers.pipelines  # what takes long, once
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForMultimodalLM, AutoProcessor, pipeline
from transformers.modeling_utils import PreTrainedModel

for line in sys.stdin:
    script, arguments = json.loads(line)
    reader, writer = os.pipe()
    if os.fork() == 0:
        assert "transformers_aura" not in sys.modules
        sys.argv[1:], said = arguments, io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(script, {})
        except Exception:
            said.write(traceback.format_exc())
        os.write(writer, said.getvalue().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        print(json.dumps(file.read().strip()), flush=True)
    os.wait()
"""
"""Runs each script in a process of its own, in which transformers is imported and this package is not."""

LOAD = """
import json, sys
import transformers
name, settings = sys.argv[1], json.loads(sys.argv[2])
print(*(type(getattr(transformers, auto_class).from_pretrained(name, **settings)).__name__ for auto_class in sys.argv[3:]))
"""

LOAD_WITHOUT_THE_PACKAGE = "import sys; sys.modules['transformers_aura'] = None" + LOAD

PIPELINE = """
import os, sys
import numpy as np
from transformers import pipeline
os.chdir(sys.argv[1])
answerer = pipeline(model=sys.argv[2], trust_remote_code=True)
audio = {"array": np.full(8000, 0.01, np.float32), "sampling_rate": 16000}
print(type(answerer).__name__, type(answerer(audio, max_new_tokens=2)[0]["answer"]).__name__)
"""

SAVE_AGAIN = """
import sys
from transformers import AutoModel, AutoProcessor
for auto_class in (AutoModel, AutoProcessor):
    auto_class.from_pretrained(sys.argv[1], trust_remote_code=True).save_pretrained(sys.argv[2])
"""

CLASSES = {
    "AutoConfig": "AuraConfig",
    "AutoFeatureExtractor": "AuraFeatureExtractor",
    "AutoModel": "AuraForSpeechQA",  # as `architectures` says
    "AutoModelForMultimodalLM": "AuraForSpeechQA",
    "AutoProcessor": "AuraProcessor",
}
ALL = " ".join(CLASSES.values())
TRUST = '{"trust_remote_code": true}'


Run = Callable[..., str]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """`run(script, *arguments)`: what a script prints in a new process; its traceback if it ends with one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", FORK], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def run_script(script: str, *arguments: object) -> str:
            process.stdin.write(json.dumps([script, list(map(str, arguments))]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run_script
        process.stdin.close()


@pytest.fixture
def student(fake_hub: FakeHub, tmp_path: Path) -> PublishedStudent:
    return publish_student(fake_hub, tmp_path)


def test_a_folder(run: Run, student: PublishedStudent) -> None:
    assert run(LOAD, student.folder, TRUST, *CLASSES) == ALL


@pytest.mark.parametrize("first", CLASSES)
def test_a_hub_id_by_whichever_class_comes_first(run: Run, student: PublishedStudent, first: str) -> None:
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    assert run(LOAD, STUDENT_ID, TRUST, first, "AutoModel") == f"{CLASSES[first]} AuraForSpeechQA"


def test_a_revision_of_a_hub_id(run: Run, student: PublishedStudent, fake_hub: FakeHub) -> None:
    fake_hub.add_files(STUDENT_ID, {"config.json": b"{}"})
    settings = json.dumps({"trust_remote_code": True, "revision": student.commit})
    assert run(LOAD, STUDENT_ID, settings, *CLASSES) == ALL


def test_a_merged_student_and_one_with_heads(run: Run, student: PublishedStudent, tmp_path: Path) -> None:
    tiny_transcriber(tmp_path / "heads")
    for folder in (merge_to_folder(student.folder, tmp_path / "merged"), tmp_path / "heads" / "student"):
        assert run(LOAD, folder, TRUST, *CLASSES) == ALL


def test_what_was_loaded_so_is_saved_as_before(run: Run, student: PublishedStudent, tmp_path: Path) -> None:
    assert run(SAVE_AGAIN, student.folder, tmp_path / "again") == ""
    for name in ("config.json", "processor_config.json", STUB_FILE_NAME):
        assert (tmp_path / "again" / name).read_text() == (student.folder / name).read_text()
    assert [path.name for path in (tmp_path / "again").glob("*.py")] == [STUB_FILE_NAME]


def test_where_the_package_is_missing_it_is_named(run: Run, student: PublishedStudent) -> None:
    for auto_class in ("AutoModel", "AutoProcessor"):
        said = run(LOAD_WITHOUT_THE_PACKAGE, student.folder, TRUST, auto_class)
        assert said.splitlines()[-1].startswith("ImportError: This repo holds an AuRA student")
        assert said.endswith("pip install transformers-aura")


def test_without_trust_nothing_is_run(run: Run, student: PublishedStudent) -> None:
    assert "trust_remote_code=True" in run(LOAD, student.folder, '{"trust_remote_code": false}', "AutoConfig")


def test_a_pipeline_without_a_task_asks_no_hub(
    run: Run, student: PublishedStudent, fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_hub.requests.clear()
    assert run(PIPELINE, student.folder.parent, student.folder.name) == "AudioQuestionAnsweringPipeline str"
    monkeypatch.chdir(student.folder.parent)  # "student" could be the name of a repo
    assert type(pipeline(model="student")).__name__ == "AudioQuestionAnsweringPipeline"
    assert not [request for request in fake_hub.requests if "models/student" in request.path]
    with pytest.raises(RuntimeError, match="without a task"):
        pipeline(model=str(tmp_path / "base"))


@pytest.mark.parametrize(
    ("auto_class", "expected"),
    [
        (AutoConfig, AuraConfig),
        (AutoFeatureExtractor, AuraFeatureExtractor),
        (AutoModel, AuraForSpeechQA),
        (AutoModelForMultimodalLM, AuraForSpeechQA),
        (AutoProcessor, AuraProcessor),
    ],
)
@pytest.mark.parametrize("trust", [None, False, True])
def test_with_the_package_imported_nobody_is_asked_or_warned(
    student: PublishedStudent,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
    auto_class: type,
    expected: type,
    trust: bool | None,
) -> None:
    monkeypatch.setattr("builtins.input", lambda text: pytest.fail(f"asked: {text}"))
    settings = {} if trust is None else {"trust_remote_code": trust}
    loaded = auto_class.from_pretrained(student.folder, **settings)
    assert type(loaded) is expected  # the package's own class, not one of a copied file
    assert not [warning for warning in recwarn if "remote" in str(warning.message)]
    assert "remote" not in caplog.text


class TestEverySave:
    def is_complete(self, folder: Path, has_processor: bool = True) -> None:
        config = json.loads((folder / "config.json").read_text())
        assert config["auto_map"] == auto_map()
        assert "custom_pipelines" not in config
        assert (folder / STUB_FILE_NAME).read_text() == STUB
        if has_processor:
            of_processor = json.loads((folder / "processor_config.json").read_text())
            assert of_processor["auto_map"] == auto_map("AutoProcessor")
            assert of_processor["feature_extractor"]["auto_map"] == auto_map("AutoFeatureExtractor")

    def test_model_and_processor(self, student: PublishedStudent) -> None:
        self.is_complete(student.folder)

    def test_each_by_itself(self, student: PublishedStudent, tmp_path: Path) -> None:
        student.model.save_pretrained(tmp_path / "model")
        self.is_complete(tmp_path / "model", has_processor=False)
        student.model.model.save_pretrained(tmp_path / "headless")
        assert isinstance(AutoModel.from_pretrained(tmp_path / "headless"), AuraModel)
        for name, part in {"processor": student.processor, "extractor": student.processor.feature_extractor}.items():
            part.save_pretrained(tmp_path / name)
            assert (tmp_path / name / STUB_FILE_NAME).read_text() == STUB

    def test_a_merged_student(self, student: PublishedStudent, tmp_path: Path) -> None:
        merged = merge_to_folder(student.folder, tmp_path / "merged")
        self.is_complete(merged)

    def test_an_auto_map_of_another_repo_is_not_kept(self, student: PublishedStudent) -> None:
        file = student.folder / "config.json"
        config = {**json.loads(file.read_text()), "auto_map": {"AutoConfig": "org/other--file.Class"}}
        file.write_text(json.dumps(config))
        AutoConfig.from_pretrained(student.folder).save_pretrained(student.folder)
        self.is_complete(student.folder)

    def test_push_of_what_an_earlier_version_saved(
        self, student: PublishedStudent, fake_hub: FakeHub, may_write: None, tmp_path: Path
    ) -> None:
        for name in ("config.json", "processor_config.json"):
            content = json.loads((student.folder / name).read_text())
            del content["auto_map"]
            content.get("feature_extractor", {}).pop("auto_map", None)
            (student.folder / name).write_text(json.dumps(content))
        (student.folder / STUB_FILE_NAME).unlink()
        (student.folder / "modeling_other.py").write_text("raise RuntimeError\n")
        pushed = push_to_hub(student.folder, "org/new")
        assert pushed.left_out == ("modeling_other.py",)
        for name, content in fake_hub.files("org/new").items():
            (tmp_path / "pulled").mkdir(exist_ok=True)
            (tmp_path / "pulled" / name).write_bytes(content)
        self.is_complete(tmp_path / "pulled")
        assert not (student.folder / STUB_FILE_NAME).exists()

    @pytest.mark.parametrize("with_save", [False, True])
    def test_push_to_hub_of_the_objects(
        self, student: PublishedStudent, fake_hub: FakeHub, may_write: None, tmp_path: Path, with_save: bool
    ) -> None:
        for name, part in {
            "model": student.model,
            "processor": student.processor,
            "config": student.model.config,
        }.items():
            if with_save:
                part.save_pretrained(tmp_path / name, push_to_hub=True, repo_id=f"org/{name}")
            else:
                part.push_to_hub(f"org/{name}")
            assert fake_hub.files(f"org/{name}")[STUB_FILE_NAME].decode() == STUB

    @pytest.mark.parametrize("name", packaged_students())
    def test_a_packaged_student(self, name: str) -> None:
        self.is_complete(packaged_students()[name])
