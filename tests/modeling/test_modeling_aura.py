"""The invariants of the student: exact on text, alike alone and in a batch, at any length and position of the audio."""

import pytest
import torch
from transformers import AutoModelForCausalLM, DynamicCache, TextIteratorStreamer

from tests.support.tiny import tiny_tokenizer
from tests.support.tiny_models import (
    FAMILIES,
    RESERVED_TOKEN,
    randomise_adapter,
    save_tiny_language_model,
    tiny_student,
)
from tests.support.tolerance import assert_equal_but_for_rounding, assert_same_gradients, num_terms
from transformers_aura.modeling.adapter import lora_gate
from transformers_aura.modeling.cache_argument import CACHE_ARGUMENT
from transformers_aura.modeling.modeling_aura import audio_block_ids
from transformers_aura.processing.audio_tokens import clips_of_rows


pytestmark = pytest.mark.numerical


FRAMES_PER_TOKEN = 8


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    return save_tiny_language_model(tmp_path_factory.mktemp("base"), "qwen2")


@pytest.fixture(scope="module")
def student(base_folder):
    return tiny_student(base_folder)


def text(length, seed=0):
    return torch.randint(5, 60, (length,), generator=torch.Generator().manual_seed(seed))


def clip(num_tokens, seed=0, spare_frames=3):
    """Features of a clip that takes `num_tokens` audio tokens, the last one partial."""
    frames = num_tokens * FRAMES_PER_TOKEN - spare_frames
    return torch.randn(frames, 80, generator=torch.Generator().manual_seed(seed))


def prompt(student, *parts):
    """Token ids and clips of one row; a part is a tensor of text tokens or the features of a clip."""
    ids, features = [], []
    for part in parts:
        if part.ndim == 1:
            ids.append(part)
        else:
            ids.append(torch.full((-(-len(part) // FRAMES_PER_TOKEN),), student.config.audio_token_id))
            features.append(part)
    return torch.cat(ids), features


def batch(rows, padding_side="left"):
    """One padded batch of `prompt` rows."""
    length = max(len(ids) for ids, _ in rows)
    input_ids, attention_mask = torch.zeros(2, len(rows), length, dtype=torch.long)
    for row, (ids, _) in enumerate(rows):
        place = slice(length - len(ids), None) if padding_side == "left" else slice(len(ids))
        input_ids[row, place], attention_mask[row, place] = ids, 1
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    clips = [features for _, row in rows for features in row]
    if clips:
        inputs["input_features"] = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        frames = torch.tensor([len(features) for features in clips])
        inputs["input_features_mask"] = torch.arange(int(frames.max())) < frames.unsqueeze(-1)
    return inputs


def mixed_rows(student):
    return [
        prompt(student, text(4, 1), clip(9, 1), text(6, 2)),
        prompt(student, text(15, 3)),
        prompt(student, clip(3, 2), text(2, 4), clip(6, 3)),
        prompt(student, text(9, 5)),
    ]


# ------------------------------------------------------------------------------- the text path is the base LLM


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_text_is_the_base_llm_bit_for_bit(family, tmp_path):
    student = tiny_student(tmp_path, family)
    base = AutoModelForCausalLM.from_pretrained(tmp_path)
    text_only = batch([prompt(student, text(15, 3)), prompt(student, text(9, 5))])
    assert torch.equal(student(**text_only).logits, base(**text_only).logits)
    unpadded = {"input_ids": text_only["input_ids"]}
    assert torch.equal(student(**unpadded).logits, base(**unpadded).logits)
    for scope in ("rows", "audio"):
        student.config.lora_scope = scope
        mixed = batch(mixed_rows(student))
        text_ids = mixed["input_ids"].masked_fill(mixed["input_ids"] == student.config.audio_token_id, 7)
        expected = base(input_ids=text_ids, attention_mask=mixed["attention_mask"]).logits
        logits = student(**mixed).logits
        assert torch.equal(logits[1], expected[1])
        assert torch.equal(logits[3], expected[3])
        assert not torch.allclose(logits[0], expected[0], atol=1e-2)  # the adapter does something where the audio is
    assert student.generate(**text_only, max_new_tokens=8, do_sample=False).equal(
        base.generate(**text_only, max_new_tokens=8, do_sample=False)
    )


@torch.no_grad()
def test_without_audio_the_audio_token_is_a_token_like_any_other(tmp_path):
    """It is one that the LLM has: alone, and in text rows of a batch with audio, whichever they are."""
    save_tiny_language_model(tmp_path, special_tokens=(RESERVED_TOKEN,))
    student, base = tiny_student(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    token = torch.tensor([student.config.audio_token_id])
    assert token < base.config.vocab_size
    written = torch.cat([text(4, 1), token, text(5, 2), token, token, text(3, 3)])
    every = torch.arange(base.config.vocab_size)
    for ids in (written, every, token):
        assert torch.equal(student(input_ids=ids[None]).logits, base(input_ids=ids[None]).logits)
    for position in range(3):
        rows = [prompt(student, text(4, 1), clip(9, 1), text(2, 2)), prompt(student, clip(5, 2), text(10, 2))]
        rows.insert(position, prompt(student, written))
        mixed = batch(rows)
        ids = mixed["input_ids"].clone()
        others = [row for row in range(3) if row != position]
        ids[others] = ids[others].masked_fill(ids[others] == token, 7)
        as_text = base(input_ids=ids, attention_mask=mixed["attention_mask"]).logits
        assert torch.equal(student(**mixed).logits[position], as_text[position])
        without = {
            name: value if name.startswith("input_features") else value[others] for name, value in mixed.items()
        }
        assert_equal_but_for_rounding(
            student(**mixed).logits[others], student(**without).logits, num_terms(student, ids.shape[1])
        )
    with pytest.raises(ValueError, match="more than one row could be the one with the audio"):
        student(**batch([prompt(student, clip(3)), prompt(student, written)]))


@torch.no_grad()
def test_audio_goes_where_the_caller_says(student):
    inputs = batch(mixed_rows(student))
    positions = inputs["input_ids"] == student.config.audio_token_id
    elsewhere = inputs | {"input_ids": inputs["input_ids"].masked_fill(positions, 7), "audio_positions": positions}
    assert torch.equal(student(**elsewhere).logits, student(**inputs).logits)
    with pytest.raises(
        ValueError, match=r"`audio_positions` of shape .* mark 0 positions .* make 18 audio embeddings"
    ):
        student(**inputs, audio_positions=torch.zeros_like(positions))


@torch.no_grad()
def test_final_logit_softcapping_of_the_base_is_kept(tmp_path):
    save_tiny_language_model(tmp_path, "gemma3_text", final_logit_softcapping=5.0)
    student, base = tiny_student(tmp_path, "gemma3_text"), AutoModelForCausalLM.from_pretrained(tmp_path)
    inputs = batch([prompt(student, text(15, 3))])
    assert torch.equal(student(**inputs).logits, base(**inputs).logits)


@torch.no_grad()
def test_language_model_called_directly_is_the_base_llm(student, base_folder):
    base = AutoModelForCausalLM.from_pretrained(base_folder)
    inputs = batch([prompt(student, text(15, 3)), prompt(student, text(9, 5))])
    states = student.model.language_model(**inputs).last_hidden_state
    assert torch.equal(student.lm_head(states), base(**inputs).logits)


# -------------------------------------------------------------------------------------------- where LoRA acts


@torch.no_grad()
def test_lora_follows_the_audio_by_the_setting(student, base_folder, monkeypatch):
    inputs = batch([prompt(student, text(6, 1), clip(8), text(7, 2))])
    audio = inputs["input_ids"][0] == student.config.audio_token_id

    def changed_by_lora(scope):
        """Positions where LoRA touches the first layer's output."""
        monkeypatch.setattr(student.config, "lora_scope", scope)
        with_lora = student(**inputs, output_hidden_states=True).hidden_states[1]
        monkeypatch.setattr(student.config, "lora_rank", 0)
        without = student(**inputs, output_hidden_states=True).hidden_states[1]
        monkeypatch.undo()
        return (with_lora != without).any(-1)[0]

    assert changed_by_lora("rows").all()
    assert changed_by_lora("always").all()
    touched = changed_by_lora("audio")
    assert touched[audio].all()
    assert not touched[:6].any()  # text before the audio attends to nothing that LoRA changed


@torch.no_grad()
def test_a_failed_pass_leaves_no_gate_behind(student):
    inputs = batch([prompt(student, text(6, 1), clip(8))])
    expected = student.model.language_model(input_ids=text(5).unsqueeze(0)).last_hidden_state
    handle = student.model.language_model.norm.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        student(**inputs)
    handle.remove()
    assert torch.equal(student.model.language_model(input_ids=text(5).unsqueeze(0)).last_hidden_state, expected)


def test_only_the_adapter_learns(student):
    trainable = {name for name, parameter in student.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, _ in student.named_parameters() if "lora_" in name or "embed_audio" in name}
    inputs = batch(mixed_rows(student))
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] >= 60, -100)
    student(**inputs, labels=labels).loss.backward()
    for name, parameter in student.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == (name in trainable), name
    student.zero_grad()


def test_text_only_rows_have_no_gradient_unless_lora_is_always_on(student, monkeypatch):
    inputs = batch([prompt(student, text(15, 3))])
    assert not student(**inputs, labels=inputs["input_ids"]).loss.requires_grad
    monkeypatch.setattr(student.config, "lora_scope", "always")
    assert student(**inputs, labels=inputs["input_ids"]).loss.requires_grad


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")  # newer name in newer releases
def test_gradient_checkpointing_gives_the_same_gradients(base_folder):
    gradients = []
    for settings in (None, {"use_reentrant": False}, {"use_reentrant": True}):
        student = tiny_student(base_folder).train()
        if settings is not None:
            student.gradient_checkpointing_enable(settings)
        inputs = batch(mixed_rows(student))
        student(**inputs, labels=inputs["input_ids"].clamp(max=59)).loss.backward()
        gradients.append({n: p.grad for n, p in student.named_parameters() if p.requires_grad})
    for found in gradients[1:]:
        assert_same_gradients(found, gradients[0], num_terms(student, inputs["input_ids"].numel()))


@torch.no_grad()
def test_targets_that_are_shifted_already_replace_labels(student):
    inputs = batch([prompt(student, text(6, 1), clip(4), text(5, 2))])
    targets = inputs["input_ids"].clamp(max=59)
    shifted = torch.nn.functional.pad(targets[:, 1:], (0, 1), value=-100)
    assert student(**inputs, labels=targets, shift_labels=shifted).loss.equal(student(**inputs, labels=targets).loss)
    assert not student(**inputs, labels=targets, shift_labels=targets).loss.equal(
        student(**inputs, labels=targets).loss
    )


# ------------------------------------------------------------------------- batches, lengths, positions, blocks


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@torch.no_grad()
def test_a_batch_equals_single_runs(base_folder, padding_side, attn_implementation):
    student = tiny_student(base_folder, attn_implementation=attn_implementation)
    rows = mixed_rows(student)
    together = student(**batch(rows, padding_side)).logits
    for row, single in enumerate(rows):
        alone = student(**batch([single])).logits[0]
        place = slice(-len(alone), None) if padding_side == "left" else slice(len(alone))
        assert_equal_but_for_rounding(together[row, place], alone, num_terms(student, len(alone)), what=f"row {row}")


@pytest.mark.parametrize(
    "generation", [{}, {"cache_implementation": "static"}, {"use_cache": False}, {"num_beams": 3}]
)
def test_greedy_tokens_of_a_batch_equal_single_runs(student, generation):
    rows = mixed_rows(student)
    together = student.generate(**batch(rows), max_new_tokens=8, do_sample=False, **generation)
    for row, single in enumerate(rows):
        alone = student.generate(**batch([single]), max_new_tokens=8, do_sample=False, **generation)
        length = len(single[0])
        assert together[row, together.shape[1] - 8 :].tolist() == alone[0, length:].tolist(), (row, generation)


def test_every_cache_gives_the_same_tokens(student):
    inputs = batch(mixed_rows(student))
    greedy = {"max_new_tokens": 10, "do_sample": False}
    expected = student.generate(**inputs, **greedy)
    assert torch.equal(student.generate(**inputs, **greedy, cache_implementation="static"), expected)
    assert torch.equal(student.generate(**inputs, **greedy, use_cache=False), expected)


@pytest.mark.parametrize("scope", ["rows", "audio", "always"])
@torch.no_grad()
def test_cached_decoding_equals_one_full_pass(student, scope, monkeypatch):
    monkeypatch.setattr(student.config, "lora_scope", scope)
    inputs = batch(mixed_rows(student))
    tokens = student.generate(**inputs, max_new_tokens=6, do_sample=False)
    new = tokens.shape[1] - inputs["input_ids"].shape[1]
    full = student(
        **inputs
        | {"input_ids": tokens, "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (0, new), value=1)}
    ).logits
    suppressed = full[:, -new - 1 : -1].clone()
    assert torch.equal(suppressed.argmax(-1), tokens[:, -new:])


def test_sampling_beams_and_streamers(student):
    tokenizer = tiny_tokenizer()
    inputs = batch(mixed_rows(student))
    torch.manual_seed(0)
    sampled = student.generate(**inputs, max_new_tokens=5, do_sample=True, num_return_sequences=3)
    assert sampled.shape == (12, inputs["input_ids"].shape[1] + 5)
    assert torch.equal(sampled[0, :-5], sampled[2, :-5])
    one = batch([prompt(student, text(4, 1), clip(9, 1), text(6, 2))])
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    tokens = student.generate(**one, max_new_tokens=5, do_sample=False, streamer=streamer)
    assert "".join(streamer) == tokenizer.decode(tokens[0, one["input_ids"].shape[1] :])


def test_beams_keep_the_clips_of_a_row_together(student):
    """Row 0 has two clips and row 1 one: repeating clips one by one would hand them to the wrong rows."""
    rows = [prompt(student, clip(3, 1), text(2, 1), clip(5, 2)), prompt(student, clip(4, 3), text(3, 2))]
    torch.manual_seed(0)
    answers = student.generate(**batch(rows), max_new_tokens=6, do_sample=False, num_beams=2, num_return_sequences=2)
    for row, single in enumerate(rows):
        alone = student.generate(
            **batch([single]), max_new_tokens=6, do_sample=False, num_beams=2, num_return_sequences=2
        )
        assert answers[2 * row : 2 * row + 2, -6:].tolist() == alone[:, -6:].tolist()
    assert clips_of_rows(torch.tensor([3, 5, 4]), torch.tensor([8, 0, 4])).tolist() == [0, 0, 2]


@pytest.mark.parametrize("seconds", [5, 31, 60, 300])
@pytest.mark.parametrize("start", [0, 256, 512, 1024])
@torch.no_grad()
def test_audio_of_any_length_at_any_position(student, seconds, start):
    frames = clip(seconds * 100 // FRAMES_PER_TOKEN + 1, spare_frames=0)[: seconds * 100]
    row = prompt(student, text(start, 1), frames, text(3, 2)) if start else prompt(student, frames, text(3, 2))
    inputs = batch([row])
    assert int((inputs["input_ids"] == student.config.audio_token_id).sum()) == -(-seconds * 100 // FRAMES_PER_TOKEN)
    logits = student(**inputs, logits_to_keep=1).logits
    assert logits.isfinite().all()
    inputs["input_features"][:, -FRAMES_PER_TOKEN:] += 3.0  # the end of the clip counts too, it is not cut off
    assert not torch.equal(student(**inputs, logits_to_keep=1).logits, logits)


@torch.no_grad()
def test_blocks_see_both_ways_inside_and_backwards_between(base_folder):
    def states_change(tokens_per_block, changed_token):
        student = tiny_student(base_folder, tokens_per_block=tokens_per_block)
        inputs = batch([prompt(student, text(3, 1), clip(12, spare_frames=0))])
        before = student(**inputs, output_hidden_states=True).hidden_states[1]
        start = changed_token * FRAMES_PER_TOKEN
        inputs["input_features"][:, start : start + FRAMES_PER_TOKEN] += 1.0
        after = student(**inputs, output_hidden_states=True).hidden_states[1]
        return [int(i) - 3 for i in (before != after).any(-1)[0].nonzero().view(-1)]

    # the convolutions reach one token ahead: changing token 6 changes the embedding of 7 too
    assert states_change(1, 6) == [6, 7, 8, 9, 10, 11]
    assert states_change(4, 6) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert states_change(None, 6) == list(range(12))


def test_no_two_clips_share_a_block():
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    assert audio_block_ids(mask, 2)[mask].tolist() == [0, 0, 1, 1, 2, 3, 3, 4]
    assert audio_block_ids(mask, None)[mask].tolist() == [0] * 5 + [1] * 3


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
@torch.no_grad()
def test_audio_in_a_later_turn_uses_the_cache(student, name):
    """A second clip that arrives when the first turn is already cached gives what one whole pass gives."""
    first, second = [text(5, 1), clip(6, 1), text(4, 2)], [text(3, 3), clip(5, 2), text(2, 4)]
    whole = student(**batch([prompt(student, *first, *second)])).logits
    cached = student(**batch([prompt(student, *first)]), use_cache=True)
    later = batch([prompt(student, *second)])
    later.pop("attention_mask")
    logits = student(**later, **{name: cached[CACHE_ARGUMENT]}).logits
    assert_equal_but_for_rounding(logits, whole[:, -logits.shape[1] :], num_terms(student, whole.shape[1]))


def test_generation_goes_on_from_a_cache(student):
    first, second = prompt(student, text(5, 1), clip(6, 1)), text(4, 2)
    greedy = {"max_new_tokens": 6, "do_sample": False}
    whole = batch([(torch.cat([first[0], second]), first[1])])
    expected = student.generate(**whole, **greedy)
    with torch.no_grad():
        cached = student(**batch([first]), use_cache=True)[CACHE_ARGUMENT]
    tokens = student.generate(
        input_ids=whole["input_ids"], audio_rows=torch.tensor([True]), **greedy, **{CACHE_ARGUMENT: cached}
    )
    assert torch.equal(tokens, expected)


@pytest.mark.skipif(CACHE_ARGUMENT == "past_key_values", reason="a release in which this is the name")
def test_the_older_name_of_the_cache_warns(student):
    cache = DynamicCache(config=student.config.text_config)
    with pytest.warns(FutureWarning, match="`past_key_values` is deprecated"):
        student(input_ids=text(3).unsqueeze(0), past_key_values=cache)


def test_one_cache_under_two_names_is_refused(student):
    cache = DynamicCache(config=student.config.text_config)
    with pytest.raises(ValueError, match="two names of one argument"):
        student(input_ids=text(3).unsqueeze(0), cache=cache, past_key_values=cache)


@torch.no_grad()
def test_first_layers_only(student):
    inputs = batch(mixed_rows(student))
    full = student(**inputs, output_hidden_states=True)
    part = student.model(**inputs, output_hidden_states=True, num_hidden_layers=2)
    assert len(part.hidden_states) == 3
    assert all(torch.equal(a, b) for a, b in zip(part.hidden_states, full.hidden_states, strict=False))
    (embedded,) = student.model(**inputs, num_hidden_layers=0).hidden_states
    assert torch.equal(embedded, full.hidden_states[0])
    assert torch.equal(student(**inputs, output_hidden_states=True).hidden_states[-1], full.hidden_states[-1])


@pytest.mark.parametrize("lora_scope", ["rows", "audio"])
@pytest.mark.parametrize("spare_token", [True, False])
@torch.no_grad()
def test_embeddings_in_the_place_of_ids(tmp_path, lora_scope, spare_token):
    """Audio positions are found by the audio token's embedding; where it has none, the caller marks them."""
    save_tiny_language_model(tmp_path, "gemma3_text", special_tokens=(RESERVED_TOKEN,) if spare_token else ())
    student = tiny_student(tmp_path, "gemma3_text", lora_scope=lora_scope)
    assert student.config.audio_token_is_in_vocabulary == spare_token
    by_ids = batch(mixed_rows(student))
    by_embeddings = dict(by_ids)
    input_ids = by_embeddings.pop("input_ids")
    if not spare_token:
        by_embeddings["audio_positions"] = input_ids == student.config.audio_token_id
        input_ids = input_ids.masked_fill(by_embeddings["audio_positions"], 0)
    by_embeddings["inputs_embeds"] = student.get_input_embeddings()(input_ids)
    assert torch.equal(student(**by_embeddings).logits, student(**by_ids).logits)
    for settings in ({"num_beams": 2}, {"do_sample": False}):
        answers = student.generate(**by_ids, **settings, max_new_tokens=6)[:, input_ids.shape[1] :]
        assert torch.equal(student.generate(**by_embeddings, **settings, max_new_tokens=6), answers)


@pytest.mark.parametrize("by_config", [False, True])
@torch.no_grad()
def test_outputs_as_tuples(base_folder, by_config):
    student = tiny_student(base_folder)
    inputs = {**batch(mixed_rows(student)), "use_cache": False}
    clips = {name: inputs[name] for name in ("input_features", "input_features_mask")}
    calls = [
        (student, {**inputs, "labels": inputs["input_ids"].clamp(max=59)}),
        (student.model, {**inputs, "output_hidden_states": True}),
        (student.model, {**inputs, "num_hidden_layers": 1}),
        (student.model, {**inputs, "num_hidden_layers": 0}),
        (student.get_audio_features, clips),
        (student.model.get_audio_features, {**clips, "output_hidden_states": True, "output_attentions": True}),
    ]
    expected = [call(**settings).to_tuple() for call, settings in calls]
    student.config.return_dict = student.config.text_config.return_dict = not by_config
    for (call, settings), output in zip(calls, expected, strict=True):
        found = call(**settings) if by_config else call(**settings, return_dict=False)
        assert isinstance(found, tuple)
        torch.testing.assert_close(found, output, rtol=0, atol=0)


@pytest.mark.parametrize("by_config", [False, True])
def test_audio_features_on_the_way(base_folder, by_config):
    student = tiny_student(base_folder, conv_blocks=2, attn_implementation="eager")
    clips = {"input_features": clip(4).unsqueeze(0)}
    assert student.get_audio_features(**clips).hidden_states is None
    if by_config:
        student.config.output_hidden_states = student.config.output_attentions = True
        features = student.get_audio_features(**clips)
    else:
        features = student.get_audio_features(**clips, output_hidden_states=True, output_attentions=True)
    steps = len(clip(4)) + 3  # the last token is partial: filled up
    assert [tuple(states.shape) for states in features.hidden_states] == 3 * [(1, steps // 2, 24)] + [(1, 4, 32)]
    assert features.hidden_states[-1] is features.last_hidden_state
    assert features.attentions == ()


def test_the_tensor_parallel_plan_shards_a_head_with_the_embedding_that_it_is_tied_to(student):
    assert {"lm_head", "model.language_model.embed_tokens"} <= student.tp_plan.keys()


# --------------------------------------------------------------------------------------------------- bad input


def test_ids_and_features_that_do_not_match(student):
    inputs = batch([prompt(student, text(6, 1), clip(8))])
    with pytest.raises(ValueError, match="hold 8 audio positions, but no `input_features`"):
        student(input_ids=inputs["input_ids"])
    with pytest.raises(ValueError, match=r"A row without audio holds the audio token \(id 264\), which is no token"):
        student(**batch([prompt(student, clip(8)), (torch.tensor([5, student.config.audio_token_id]), [])]))
    with pytest.raises(ValueError, match=r"hold 7 audio positions, but the 1 clips .* make 8"):
        student(**inputs | {"input_ids": inputs["input_ids"][:, :-1], "attention_mask": None})
    with pytest.raises(ValueError, match="hold 0 audio positions"):
        student(**inputs | {"input_ids": text(6).unsqueeze(0), "attention_mask": None})
    with pytest.raises(ValueError, match="exactly one"):
        student()
    with pytest.raises(ValueError, match="Pass `audio_positions` beside `inputs_embeds`"):
        student(inputs_embeds=torch.zeros(1, 3, 32), input_features=inputs["input_features"])
    marked = torch.zeros(1, 14, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"mark 0 positions of a batch of shape \(1, 14\), but the clips make 8"):
        student(**inputs, audio_positions=marked)


def test_forgotten_features_are_an_error_where_the_audio_token_is_one_of_the_llms(tmp_path):
    save_tiny_language_model(tmp_path, special_tokens=(RESERVED_TOKEN,))
    student = tiny_student(tmp_path)
    inputs = batch([prompt(student, text(6, 1), clip(8)), prompt(student, text(3, 1))])
    with pytest.raises(ValueError, match="hold 8 audio positions, but no `input_features`"):
        student(input_ids=inputs["input_ids"])
    with pytest.raises(ValueError, match="hold 8 audio positions, but no `input_features`"):
        student.generate(input_ids=inputs["input_ids"])


def test_misspelt_generation_input_is_an_error(student):
    inputs = batch([prompt(student, text(6, 1), clip(8))])
    inputs["audio_features"] = inputs.pop("input_features")
    with pytest.raises(ValueError, match="audio_features"):
        student.generate(**inputs, max_new_tokens=2)


def test_flash_attention_with_blocks_is_an_error_that_says_what_to_do(student, monkeypatch):
    monkeypatch.setattr(student.model.language_model.config, "_attn_implementation_internal", "flash_attention_2")
    with pytest.raises(ValueError, match="tokens_per_block=1"):
        student(**batch([prompt(student, clip(8))]))


def test_an_untrained_adapter_changes_nothing_of_the_llm(base_folder):
    student = tiny_student(base_folder)
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if ".lora_B." in name:
                parameter.zero_()
        inputs = batch([prompt(student, text(4, 1), clip(9, 1), text(6, 2))])
        on = student(**inputs).logits
        student.config.lora_scope = "audio"
        assert torch.equal(student(**inputs).logits, on)
        randomise_adapter(student)
        with lora_gate("on"):
            assert not torch.equal(student(**inputs).logits, on)
