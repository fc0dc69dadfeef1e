import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.tiny import tone
from transformers_aura.evaluation.benchmarks import BENCHMARKS, BenchmarkError, load_benchmark
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.evaluation import Evaluation
from transformers_aura.evaluation.items import Item
from transformers_aura.evaluation.scorers.interface import Reference
from transformers_aura.evaluation.scorers.registry import scorer as scorer_by_name
from transformers_aura.evaluation.systems import Answer, Request
from transformers_aura.evaluation.systems.interface import ALL_TASKS
from transformers_aura.extras import MissingExtraError
from transformers_aura.processing.audio_loading import load_audio


def wav(path: Path) -> bytes:
    import soundfile

    soundfile.write(path, tone(0.3, 300.0), 16000)
    return path.read_bytes()


def manifest(folder: Path, *rows: dict) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wav(folder / "a.wav")
    return folder


def test_sd_qa_is_one_item_an_accent_and_questions_belong_together(tmp_path):
    rows = [
        {
            "id": "q1",
            "question": "Who?",
            "answers": ["Ada", "Ada Lovelace"],
            "aus": "a.wav",
            "usa": "a.wav",
            "kenya": None,
        },
        {"id": "q2", "question": "When?", "answers": [], "aus": "a.wav"},
    ]
    loaded = load_benchmark(f"sd-qa={manifest(tmp_path / 'local', *rows)}")
    assert [item.name for item in loaded.items] == ["q1/aus", "q1/usa"], (
        "a question without an answer cannot be scored"
    )
    assert [item.groups for item in loaded.items] == [{"accent": "aus"}, {"accent": "usa"}]
    assert {item.cluster for item in loaded.items} == {"q1"}
    assert loaded.items[0].accepted == ("Ada", "Ada Lovelace")
    assert loaded.items[0].question is None, "the recording is the question"
    assert len(load_audio(loaded.items[0].audio)) == 4800


def test_heysquad_from_parquet_with_and_without_the_paragraph(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = wav(tmp_path / "a.wav")
    table = datasets.Dataset.from_dict(
        {
            "id": ["a", "b"],
            "audio": [{"bytes": data, "path": "long/gone.wav"}] * 2,
            "question": ["Who?", "Why?"],
            "context": ["Ada wrote it.", "Nobody knows."],
            "answers": [{"text": ["Ada", "Ada"], "answer_start": [0, 0]}, {"text": [], "answer_start": []}],
        }
    )
    table.to_parquet(tmp_path / "validation-0.parquet")
    with_paragraph = load_benchmark(f"heysquad-context={tmp_path}")
    assert [(item.name, item.context, item.accepted) for item in with_paragraph.items] == [
        ("a", "Ada wrote it.", ("Ada",))
    ]
    assert load_benchmark(f"heysquad={tmp_path}").items[0].context is None
    assert len(load_audio(with_paragraph.items[0].audio)) == 4800, "from the bytes, wherever the path led once"


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("librispeech", {"id": "1-2-3", "text": "HE WAS", "speaker_id": 1}, ("1-2-3", "transcript", ("HE WAS",), "1")),
        ("common-voice", {"path": "x.mp3", "sentence": "He was.", "client_id": "me", "accent": "scottish"}, ("x.mp3", "transcript", ("He was.",), "me")),
        ("covost2", {"id": "c", "sentence": "Hello.", "translation": "Hallo."}, ("c", "translation", ("Hallo.",), "c")),
        ("voicebench-sd-qa", {"prompt": "Who?", "reference": "Ada"}, ("1", "answer", ("Ada",), "1")),
        ("barista", {"name": "o1", "slots": {"size": "large"}}, ("o1", "slots", ('{"size": "large"}',), "o1")),
    ],
)  # fmt: skip
def test_rows_of_the_public_sets(tmp_path, name, row, expected):
    item = load_benchmark(f"{name}={manifest(tmp_path / 'local', {'audio': 'a.wav', **row})}").items[0]
    assert (item.name, item.task, item.accepted, item.cluster) == expected


def test_ones_own_set_from_a_manifest(tmp_path):
    rows = [
        {"name": "one", "audio": "a.wav", "answers": ["red", "blue"], "needed": 2, "groups": {"room": "hall"}},
        {"name": "two", "audio": "a.wav", "question": "Who?", "answer": "Ada", "transcript": "Ada did it."},
    ]
    loaded = load_benchmark(str(manifest(tmp_path / "mine", *rows)))
    assert loaded.benchmark.name == "mine"
    assert loaded.benchmark.scorers == ("contains", "exact_match", "squad_f1")
    first, second = loaded.items
    assert (first.needed, first.groups, first.question) == (2, {"room": "hall"}, None)
    assert (second.question, second.accepted, second.text) == ("Who?", ("Ada",), "Ada did it.")
    assert load_benchmark(str(tmp_path / "mine" / "manifest.jsonl"), limit=1).items == [first]


@pytest.mark.fault("evaluation")
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"audio": "a.wav", "anwser": "x"}, r"line 1: unknown column 'anwser'. Did you mean 'answer'"),
        ({"audio": "a.wav"}, "line 1: no accepted answer"),
        ({"answer": "x"}, "line 1: no audio"),
        ({"audio": "a.wav", "answer": "x", "needed": 2}, "line 1: .*2 of 1 accepted answers"),
        ({"audio": "a.wav", "answer": "x", "task": "slots"}, "'slots' is asked for"),
        (
            {"audio": "a.wav", "answer": "x", "task": ["slots"]},
            r"line 1: 'task' must be text or a number, not \['slots'\]",
        ),
        ({"audio": "a.wav", "answer": {"text": [["x"]]}}, r"line 1: 'answer' must be text or a number, not \['x'\]"),
        ({"audio": "a.wav", "answers": [True]}, "line 1: 'answer' must be text or a number, not True"),
        ({"audio": "a.wav", "answers": [None]}, "line 1: no accepted answer"),
        ({"audio": "a.wav", "answer": "x", "groups": "aus"}, "line 1: 'groups' must be an object"),
        ({"audio": "a.wav", "answer": "x", "needed": "two"}, "line 1: 'needed' must be a number, not 'two'"),
        ({"audio": "a.wav", "answer": "x", "seconds": 1e999}, "line 1 is not JSON: Infinity"),
        ({"audio": "a.wav", "answer": "x", "seconds": "inf"}, "line 1: 'seconds' must be a number, not 'inf'"),
        ({"audio": "a.wav", "slots": "large"}, "line 1: 'slots' must be a JSON object, not 'large'"),
        ({"audio": 5, "answer": "x"}, "line 1: 'audio': a recording is a path, a URL or samples, not 5"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path, row, message):
    with pytest.raises(BenchmarkError, match=message):
        load_benchmark(str(manifest(tmp_path / "mine", row)))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json"])
def test_ones_own_set_from_a_table_or_an_array(tmp_path, suffix):
    rows = {
        "csv": "\ufeffname;audio;answer;needed;seconds\r\n1;a.wav;42;;0.3\r\n",
        "tsv": 'name\taudio\tanswer\tseconds\n1\ta.wav\t"42"\t0.3\n',
        "json": '[\n {"name": 1, "audio": "a.wav", "answer": 42, "seconds": 0.3}\n]',
    }
    file = manifest(tmp_path / "mine") / f"quiz.{suffix}"
    file.write_text(rows[suffix], encoding="utf-8")
    loaded = load_benchmark(str(file))
    assert loaded.benchmark.name == "quiz"
    (item,) = loaded.items
    assert (item.name, item.accepted, item.needed, item.seconds) == ("1", ("42",), 1, 0.3)
    assert len(load_audio(item.audio)) == 4800


@pytest.mark.parametrize("written", ["common-voice={folder}", "common-voice={folder}/test.tsv", "{folder}/test.tsv"])
def test_common_voice_as_it_is_unpacked(tmp_path, written):
    (tmp_path / "cv").mkdir()
    clips = manifest(tmp_path / "cv" / "clips")
    table = 'client_id\tpath\tsentence\taccents\nme\ta.wav\t"Hello," he said.\tScottish\n'
    (clips.parent / "test.tsv").write_text(table)
    (item,) = load_benchmark(written.format(folder=clips.parent)).items
    assert (item.name, item.task, item.accepted, item.cluster) == ("a.wav", "transcript", ('"Hello," he said.',), "me")
    assert item.groups == {"accent": "Scottish"}
    assert len(load_audio(item.audio)) == 4800


def test_a_recording_inside_the_manifest_is_no_path(tmp_path):
    url = "data:audio/wav;base64," + base64.b64encode(wav(tmp_path / "a.wav")).decode()
    row = {"audio": url, "slots": {"size": "large"}}
    (item,) = load_benchmark(f"barista={manifest(tmp_path / 'mine', row)}").items
    assert item.name == "1"
    assert len(load_audio(item.audio)) == 4800


@pytest.mark.fault("evaluation")
@pytest.mark.parametrize(("missing", "written"), [("datasets", "sd-qa"), ("pyarrow.parquet", "sd-qa={folder}")])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, missing, written):
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, missing, None)
    library = missing.partition(".")[0]
    with pytest.raises(MissingExtraError, match=rf"needs {library}, .*pip install 'transformers-aura\[evaluation\]'"):
        load_benchmark(written.format(folder=tmp_path))


@pytest.mark.fault("evaluation")
@pytest.mark.parametrize(
    ("missing", "scorer"), [("jiwer", "wer"), ("jiwer", "cer"), ("sacrebleu.metrics.bleu", "bleu")]
)
def test_a_scorer_without_its_library_is_an_error_before_anybody_is_asked(tmp_path, monkeypatch, missing, scorer):
    monkeypatch.setitem(sys.modules, missing, None)
    library = missing.partition(".")[0]
    loaded = load_benchmark(f"librispeech={rows_of('librispeech')}", limit=1)
    with pytest.raises(MissingExtraError, match=rf"needs {library}, .*pip install 'transformers-aura\[evaluation\]'"):
        Evaluation([Knows(loaded.items)], [loaded], [Condition()], tmp_path, [scorer_by_name(scorer)])


def test_errors_for_people(tmp_path):
    with pytest.raises(BenchmarkError, match=r"'sdqa' is neither .* Did you mean 'sd-qa'"):
        load_benchmark("sdqa")
    with pytest.raises(BenchmarkError, match="'barista' is not on the Hub"):
        load_benchmark("barista")
    with pytest.raises(BenchmarkError, match=r"holds neither manifest\.jsonl nor"):
        load_benchmark(str(tmp_path))
    row = {"audio": "a.wav", "answer": "x", "name": "same"}
    with pytest.raises(BenchmarkError, match="line 2: there are two items 'same'"):
        load_benchmark(str(manifest(tmp_path / "mine", row, row)))
    with pytest.raises(BenchmarkError, match=r"sets of their own \(mixed-answers, mixed-transcripts\)"):
        load_benchmark(str(manifest(tmp_path / "mixed", row, {"audio": "a.wav", "transcript": "x"})))
    with pytest.raises(BenchmarkError, match=r"no column 'text'; there are audio"):
        load_benchmark(f"librispeech={manifest(tmp_path / 'libri', {'audio': 'a.wav'})}")


def test_every_public_set_says_what_it_is():
    for name, benchmark in BENCHMARKS.items():
        assert benchmark.name == name
        assert benchmark.description.endswith(".")
        assert benchmark.scorers


def test_a_public_set_is_streamed_at_the_commit_that_the_results_name(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    from types import SimpleNamespace

    from huggingface_hub import HfApi

    data = wav(tmp_path / "a.wav")
    rows = [
        {"id": str(n), "question": "Who?", "answers": ["Ada"], "aus": {"bytes": data, "path": None}} for n in range(3)
    ]
    asked: list = []

    def load_dataset(*args: object, **kwargs: object) -> object:
        asked.append((args, kwargs))
        table = datasets.Dataset.from_list(rows)
        for accent in BENCHMARKS["sd-qa"].accents[1:]:
            table = table.add_column(accent, [None] * len(rows))
        for accent in BENCHMARKS["sd-qa"].accents:
            table = table.cast_column(accent, datasets.Audio(decode=True))
        return table.to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(
        HfApi, "dataset_info", lambda self, repo, revision=None: SimpleNamespace(sha=f"commit-of-{revision}")
    )
    loaded = load_benchmark("sd-qa", limit=2, revision="main")
    assert asked == [(("WillHeld/SD-QA", None), {"split": "dev", "revision": "commit-of-main", "streaming": True})]
    assert loaded.origin["commit"] == "commit-of-main"
    assert [item.name for item in loaded.items] == ["0/aus", "1/aus"], "two rows were read, no more"
    assert len(load_audio(loaded.items[0].audio)) == 4800, "still encoded: load_audio decodes it"


FIXTURES = Path(__file__).parents[1] / "fixtures"
LIKE = {"heysquad-context": "heysquad", "librispeech-other": "librispeech", "barista": "../speech"}


def rows_of(name: str) -> Path:
    schema = "voicebench" if name.startswith("voicebench-") else LIKE.get(name, name)
    return FIXTURES / "benchmarks" / schema


class Knows:
    """Tells recordings apart by their length, and has the right answer to all of them, or to every other one."""

    needs_text = False
    tasks = ALL_TASKS

    def __init__(self, items: list[Item], every: int = 1) -> None:
        self.name = f"every-{every}"
        self.identity = {"kind": self.name}
        answers = {len(load_audio(item.audio)): item.accepted[0] for item in items}
        self.known = dict(list(answers.items())[::every])

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        return [Answer(self.known.get(len(request.waveform), "")) for request in requests]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_from_rows_to_figures(name, tmp_path):
    """Offline: real recordings in the columns of the public sets."""
    loaded = load_benchmark(f"{name}={rows_of(name)}", limit=3)
    results = Evaluation([Knows(loaded.items), Knows(loaded.items, every=2)], [loaded], [Condition()], tmp_path).run()
    assert not results.failures
    for scorer in map(scorer_by_name, loaded.benchmark.scorers):
        of_all, of_some = (figure.value for figure in results.select(scorer=scorer.name))
        best = (1.0 if scorer.is_share else 100.0) if scorer.higher_is_better else 0.0
        assert of_all == pytest.approx(best)
        assert (of_some < of_all) == scorer.higher_is_better
        assert of_some != of_all


def test_a_script_without_blanks_is_scored_by_character(tmp_path):
    rows = [{"audio": "a.wav", "transcript": text} for text in ("コーヒーをください", "TV をつけて")]
    loaded = load_benchmark(str(manifest(tmp_path / "mine", *rows)), instruction="書き起こして。")
    assert loaded.benchmark.scorers == ("cer",)
    assert [item.question for item in loaded.items] == ["書き起こして。"] * 2
    rows = [{"audio": "a.wav", "transcript": "Einen Kaffee, bitte", "question": "Was sagt er?"}]
    loaded = load_benchmark(str(manifest(tmp_path / "mine", *rows)), instruction="Schreib es auf.")
    assert loaded.benchmark.scorers == ("wer", "cer")
    assert loaded.items[0].question == "Was sagt er?"


def test_a_scorer_has_the_normaliser_of_the_language():
    true = Reference(("Fünf Größen, 20 Stück",))
    assert scorer_by_name("wer", "de").statistics("fünf größen 20 stück", true) == (0.0, 4.0)
    assert scorer_by_name("wer", "de").statistics("funf größen 20 stück", true) == (1.0, 4.0), (
        "a lost umlaut is an error"
    )
    assert scorer_by_name("wer").identity["normalizer"] == "Whisper English"
    assert scorer_by_name("slots", "de").identity == scorer_by_name("slots").identity
