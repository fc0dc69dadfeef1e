"""Random encoders over the waveform, of the families that a second teacher may have."""

from pathlib import Path

from transformers import AutoConfig, AutoModel, PreTrainedModel, Wav2Vec2FeatureExtractor, set_seed


def tiny_waveform_encoder(family: str = "wav2vec2", seed: int = 0, **settings: object) -> PreTrainedModel:
    """Two layers of width 16, with the usual convolutions (49.95 states a second), few channels each."""
    values = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        **settings,
    }
    set_seed(seed)
    return AutoModel.from_config(AutoConfig.for_model(family, **values))


def save_tiny_waveform_encoder(folder: Path, family: str = "wav2vec2", seed: int = 0, **settings: object) -> Path:
    """The same as a folder with its feature extractor."""
    tiny_waveform_encoder(family, seed, **settings).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder
