"""A student of another shape that starts where a given one is: more convolutions in its patch embedding, LoRA of another rank.

New convolutions change nothing at first: the last linear map of each is zero. A smaller rank keeps the largest singular values of every
LoRA product (the best approximation of that rank, Eckart and Young 1936), a larger one adds directions whose output is zero.
The rest of the folder is copied; `model.student` of a recipe goes on from the result.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from transformers_aura.hub import HubError
from transformers_aura.hub.export import new_folder
from transformers_aura.hub.push import PUSHED_FILES
from transformers_aura.hub.repo_folder import RepoFolder
from transformers_aura.modeling.audio_embedding import CausalConvBlock


FIRST_CONVOLUTION = "embed_audio.conv1.weight"
LORA_DOWN_KEY = ".lora_A."
LORA_UP_KEY = ".lora_B."


def reshape_student(
    student: Path, out: Path, *, conv_blocks: int | None = None, lora_rank: int | None = None, seed: int = 0
) -> float:
    """
    Writes the reshaped student into the new folder `out`.

    Args:
        student (`Path`): compact student.
        conv_blocks (`int`, *optional*): residual convolutions of the patch embedding, at least as many as there are.
        lora_rank (`int`, *optional*): of every LoRA; `lora_alpha` follows, so that its scale stays.
        seed (`int`): of the new convolutions' other weights.

    Returns:
        the share of the LoRA products' squared Frobenius norm that is kept, the mean over all matrices.

    Raises:
        HubError: no compact student with a convolutional patch embedding, or fewer convolutions asked for than there are.
    """
    config = RepoFolder.read(student).config
    if config.base_model is None or config.audio_config.patch_embedding != "conv":
        raise HubError(f"{student} is no compact student with a convolutional patch embedding.")
    weights = load_file(student / "model.safetensors")
    audio = config.audio_config
    if conv_blocks is not None:
        if audio.conv_block_type != "causal":
            raise HubError(f"{student} has kernel blocks, which are a teacher's layers; none can be added.")
        if conv_blocks < audio.conv_blocks:
            raise HubError(f"{student} has {audio.conv_blocks} convolutional blocks; {conv_blocks} would lose some.")
        weights |= _new_blocks(weights, range(audio.conv_blocks, conv_blocks), audio.conv_width, seed)
    kept = 1.0
    if lora_rank is not None:
        weights, kept = _of_rank(weights, lora_rank)
    with new_folder(out) as folder:
        for path in sorted(student.iterdir()):
            if path.name != "README.md" and any(path.match(pattern) for pattern in PUSHED_FILES):
                (folder / path.name).write_bytes(path.read_bytes())
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if conv_blocks is not None:
            content["audio_config"]["conv_blocks"] = conv_blocks
        if lora_rank is not None:
            content["lora_alpha"] = content["lora_alpha"] * lora_rank / content["lora_rank"]
            content["lora_rank"] = lora_rank
        (folder / "config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return kept


def _new_blocks(weights: dict[str, torch.Tensor], numbers: range, width: int, seed: int) -> dict[str, torch.Tensor]:
    """Weights of further blocks that add nothing yet, named like those that are there."""
    first = next(name for name in weights if name.endswith(FIRST_CONVOLUTION))
    prefix, dtype = first.removesuffix("conv1.weight"), weights[first].dtype
    new = {}
    torch.manual_seed(seed)
    for number in numbers:
        block = CausalConvBlock(width, eps=1e-6)
        nn.init.zeros_(block.reduce.weight)
        nn.init.zeros_(block.reduce.bias)
        new |= {f"{prefix}blocks.{number}.{name}": tensor.to(dtype) for name, tensor in block.state_dict().items()}
    return new


def _of_rank(weights: dict[str, torch.Tensor], rank: int) -> tuple[dict[str, torch.Tensor], float]:
    """All LoRA pairs at another rank, and the mean share of their energy that is kept."""
    result, shares = dict(weights), []
    for name in (name for name in weights if LORA_DOWN_KEY in name):
        up_name = name.replace(LORA_DOWN_KEY, LORA_UP_KEY)
        down, up = weights[name].double(), weights[up_name].double()
        up_basis, up_triangle = torch.linalg.qr(up)
        down_basis, down_triangle = torch.linalg.qr(down.T)
        left, values, right = torch.linalg.svd(up_triangle @ down_triangle.T)
        shares.append(float(values[:rank].square().sum() / values.square().sum().clamp(min=1e-30)))
        roots = values[:rank].sqrt()
        new_up = up_basis @ left[:, :rank] * roots
        new_down = (roots[:, None] * right[:rank]) @ down_basis.T
        missing = rank - new_down.shape[0]
        if missing > 0:
            fresh = torch.empty(missing, down.shape[1], dtype=torch.float64)
            nn.init.kaiming_uniform_(fresh, a=5**0.5)
            new_down = torch.cat([new_down, fresh])
            new_up = torch.cat([new_up, new_up.new_zeros(up.shape[0], missing)], dim=1)
        result[name] = new_down.to(weights[name].dtype).contiguous()
        result[up_name] = new_up.to(weights[name].dtype).contiguous()
    return result, sum(shares) / max(len(shares), 1)
