"""The harness on the student that ships, and on recordings of real people."""

from pathlib import Path

import pytest

from tools.real_models import real_model_folder
from transformers_aura.evaluation.benchmarks import load_benchmark
from transformers_aura.evaluation.conditions import Condition
from transformers_aura.evaluation.evaluation import Evaluation
from transformers_aura.evaluation.systems import AuraSystem, Cascade, TextLanguageModel, Transcriber


pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"


def test_orders_and_transcripts_of_real_people(tmp_path):
    try:
        base, whisper = (str(real_model_folder(name)) for name in ("smollm2-135m-instruct", "whisper-tiny.en"))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    student = AuraSystem("aura-smollm2-135m", "aura", base, dtype="float32")
    orders = load_benchmark(f"barista={SPEECH}", limit=12)
    results = Evaluation([student], [orders], [Condition(), Condition("shuffled")], tmp_path / "orders").run()
    right = {figure.condition: figure.value for figure in results.select(scorer="slots")}
    assert right["clean"] >= 0.8
    assert right["shuffled"] <= 0.2, "a clip says what its own order is, not another's"

    rows = [f'{{"audio": "{SPEECH / item.name}", "transcript": "{item.text}"}}' for item in orders.items]
    (tmp_path / "said.jsonl").write_text("\n".join(rows))
    cascade = Cascade(Transcriber(whisper), TextLanguageModel(base, dtype="float32"))
    said = load_benchmark(str(tmp_path / "said.jsonl"))
    results = Evaluation([student, cascade], [said], [Condition()], tmp_path / "said").run()
    errors = {figure.system: figure.value for figure in results.select(scorer="wer")}
    assert errors["cascade"] <= 0.1
    assert errors["aura"] <= 0.3
