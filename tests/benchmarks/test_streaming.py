"""A tiny student that listens, and those that can only begin when the speaker has ended."""

from benchmarks import streaming
from benchmarks.first_token import CASCADE, DIRECTLY, MERGED, WITH_ENCODER
from benchmarks.peers import RealtimeSystem
from benchmarks.systems import Systems
from tests.benchmarks.support import tiny_arguments
from tests.support.releases import needs_transformers_5_24
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT


@needs_transformers_5_24  # of Voxtral Realtime
def test_every_system_is_timed_after_the_end_of_speech(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch, lengths=[1, 2])
    table, lengths, meanwhile = streaming.measure(arguments).tables
    systems = {
        streaming.STREAMED,
        streaming.STREAMED_UNMERGED,
        streaming.REALTIME,
        MERGED,
        DIRECTLY,
        CASCADE,
        WITH_ENCODER,
    }
    assert set(table.values) == systems
    assert table.case_names == meanwhile.case_names == ["1", "2"]
    assert lengths.ratio(streaming.after(2), streaming.after(1), "first_token") is not None
    assert set(meanwhile.values) == {streaming.STREAMED, streaming.STREAMED_UNMERGED, streaming.REALTIME}
    assert all(len(values) == 1 for by_case in meanwhile.values.values() for values in by_case.values())


@needs_transformers_5_24  # of Voxtral Realtime
def test_the_realtime_layout_takes_a_step_for_every_80_ms(tmp_path, monkeypatch):
    arguments = tiny_arguments(tmp_path, monkeypatch)
    system = RealtimeSystem(Systems(arguments.student, arguments.base_model))

    def steps() -> int:
        return system._state[CACHE_ARGUMENT].get_seq_length()

    begun = steps()
    assert begun == 38
    system.listen(0.8)
    assert steps() == begun + 10
    system.finish()
    assert steps() == begun + 10 + system.delay_steps + 1
    assert system.model.config.text_config.num_hidden_layers == system.systems.language_model.config.num_hidden_layers
