"""The way to the Hub: the adapter, its processor and its card; never the base model's weights, never a pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.repocard import metadata_load, metadata_save
from transformers import PreTrainedModel

from ..auto_map import STUB_FILE_NAME, let_load_by_itself
from ..hub_access import explain
from ..modeling.adapter import is_adapter_key
from .errors import HubError
from .model_card import model_reference, save_model_card
from .repo_folder import RepoFolder, human_bytes, is_hub_id


# What a student consists of, beside its *.safetensors. Everything else in the folder (checkpoints, optimizer states, logs) stays at home.
PUSHED_FILES = (
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    STUB_FILE_NAME,
    "*.png",
)


@dataclass(frozen=True)
class Pushed:
    """
    What was published.

    Attributes:
        url (`str`): address of the commit.
        commit (`str`): its hash, to load exactly this by `revision`.
        num_bytes (`int`): size of everything that belongs to it.
        files (`tuple[str, ...]`): the files.
        left_out (`tuple[str, ...]`): names in the folder that were not uploaded, because they are no part of a student.
    """

    url: str
    commit: str
    num_bytes: int
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def push_to_hub(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    base_model: str | None = None,
    full: bool = False,
    update: bool = False,
    private: bool = False,
    revision: str | None = None,
    commit_message: str | None = None,
    token: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Pushed:
    """
    Publish a saved student on the Hub, in one commit, with a model card.

    Args:
        folder (`str` or `PathLike`): what `save_pretrained` or `aura distill` wrote. A README.md in it is kept; without one, a card is written.
        repo_id (`str`): `org/name`.
        base_model (`str`, *optional*): Hub id to name as the base model, for a student that was trained from a local copy of it.
        full (`bool`): allow a merged checkpoint, whose weights include the base model's.
        update (`bool`): allow a repo that exists already; its files are replaced by a new commit.
        private (`bool`): make the new repo private.
        revision (`str`, *optional*): branch to commit to, made if there is none; `main` without it.
        commit_message (`str`, *optional*): what the commit says.
        token (`str`, *optional*): the Hub's access token; the one of `hf auth login` or `HF_TOKEN` without it.
        report (`Callable`): is told, line by line, what will happen.

    Returns:
        [`Pushed`]: where it is, and what was sent.

    Example:

    ```python
    >>> push_to_hub("outputs/my-student", "my-org/my-student", private=True)
    ```

    Raises:
        HubError: the folder is no student, or the Hub refused; the message says what to do.
    """
    repo = RepoFolder.read(folder)
    _check_contents(repo, full)
    if base_model is not None and not repo.config.is_compact:
        raise HubError("A merged checkpoint has no separate base model: leave `base_model` out.")
    api = HfApi(token=token)
    base_model = base_model or repo.config.base_model
    if base_model is not None:
        _check_base_model(api, base_model, repo.config.base_revision)

    with tempfile.TemporaryDirectory(prefix="aura-push-") as temporary:
        staged = Path(temporary)
        left_out = _stage(repo.path, staged)
        let_load_by_itself(staged)
        if base_model is not None and base_model != repo.config.base_model:
            _name_base_model(staged, str(repo.config.base_model), base_model)
        if not (staged / "README.md").exists():
            save_model_card(staged, repo_id=repo_id)
        files = tuple(sorted(path.name for path in staged.iterdir()))
        num_bytes = sum((staged / name).stat().st_size for name in files)
        what = "full checkpoint" if not repo.config.is_compact else "adapter and processor, no base weights"
        report(f"{repo_id}: {len(files)} files, {human_bytes(num_bytes)} ({what})")
        for name in left_out:
            report(f"not uploaded: {name}")

        _create_repo(api, repo_id, private, update)
        try:
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=staged,
                revision=revision,
                commit_message=commit_message or "Upload AuRA student",
            )
        # A broken connection shows as any of the HTTP library's errors; a failed large file as a RuntimeError around it.
        except Exception as error:
            if (refused := _refusal(repo_id, error)) is not None:
                raise HubError(refused) from error
            reason = explain(error, repo_id) or _first_line(error.__cause__ or error)
            raise HubError(
                f"The upload to {repo_id} broke off ({reason.removesuffix('.')}). Nothing was published: a commit arrives whole or "
                "not at all. Run the same command again (with --update, as the repo exists now); files that arrived are not sent twice."
            ) from error
    return Pushed(commit.commit_url, commit.oid, num_bytes, files, left_out)


def publish_missing_model_card(
    model: PreTrainedModel, repo_id: str, *, private: bool | None = None, token: str | bool | None = None
) -> None:
    """Give the repo of `model.push_to_hub` a model card before the stock upload would write a generic one; made if need be.

    A README.md that is there already is kept.
    """
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if api.file_exists(repo_id, "README.md"):
        return
    with tempfile.TemporaryDirectory(prefix="aura-card-") as folder:
        model.save_pretrained(folder)
        card = save_model_card(folder, repo_id=repo_id)
        api.upload_file(
            path_or_fileobj=card, path_in_repo="README.md", repo_id=repo_id, commit_message="Add model card"
        )


def _check_contents(repo: RepoFolder, full: bool) -> None:
    base_weights = sorted(name for name in repo.tensor_shapes if not is_adapter_key(name))
    if not repo.config.is_compact:
        if not full:
            raise HubError(
                f"{repo.path} holds a merged checkpoint of {human_bytes(repo.num_bytes)}, base model included. Push the compact student instead, "
                "or pass --full to upload all of it."
            )
    elif base_weights:
        raise HubError(
            f"{repo.path}/model.safetensors holds weights of the base model ({base_weights[0]} and {len(base_weights) - 1} more), which belong "
            "in its own repo. Save the student with `save_pretrained`, which leaves them out."
        )


def _check_base_model(api: HfApi, base_model: str, base_revision: str | None) -> None:
    if not is_hub_id(base_model):
        raise HubError(
            f"The student's base model is the local folder {base_model}: nobody else could load the student. If it is a copy of a model on the "
            "Hub, name that with --base-model org/name; otherwise push the base model first and distil from its Hub id."
        )
    try:
        api.model_info(base_model, revision=base_revision)
    except RepositoryNotFoundError as error:
        raise HubError(
            f"The base model {base_model} is not on the Hub, or you may not see it: nobody could load the student. "
            "Push the base model first, or name the right one with --base-model."
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(
            f"The base model {base_model} has no revision {base_revision} on the Hub, but the student was trained on it."
        ) from error
    except Exception as error:  # of the Hub, or of the way to it
        raise HubError(explain(error, base_model) or _first_line(error)) from error


def _stage(folder: Path, staged: Path) -> tuple[str, ...]:
    """Bring a student's own files into `staged`, large ones as links. Returns the names left out."""
    left_out = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            (staged / path.name).symlink_to(path.resolve())
        elif path.is_file() and any(path.match(pattern) for pattern in PUSHED_FILES):
            shutil.copyfile(path, staged / path.name)
        else:
            left_out.append(path.name + ("/" if path.is_dir() else ""))
    return tuple(left_out)


def _name_base_model(staged: Path, local: str, base_model: str) -> None:
    """
    Put the Hub's base model in the place of the local one, in config and card.

    Its weights are still checked, by fingerprint, whenever the student is loaded.
    """
    config_file = staged / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["base_model"] = base_model
    config["base_revision"] = None
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    readme = staged / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8").replace(model_reference(local), model_reference(base_model))
        readme.write_text(text.replace(local, base_model), encoding="utf-8")
        names = {"base_model": base_model, "base_model_relation": "adapter"}
        metadata_save(readme, {**(metadata_load(readme) or {}), **names})


def _create_repo(api: HfApi, repo_id: str, private: bool, update: bool) -> None:
    try:
        api.create_repo(repo_id, private=private or None, exist_ok=update)
    except Exception as error:
        reason = _refusal(repo_id, error) or explain(error, repo_id) or _first_line(error)
        raise HubError(reason) from error


def _refusal(repo_id: str, error: Exception) -> str | None:
    """What a person has to do who may not write there, or not so; `None` where the reason is another."""
    if not isinstance(error, HfHubHTTPError):
        return None
    status = error.response.status_code
    namespace = repo_id.split("/")[0]
    if status == 401:
        return f"The Hub does not know who you are ({error.server_message}). Log in with `hf auth login`, or set HF_TOKEN to a token that may write."
    if status == 403:
        return (
            f"Your token may not write to {namespace}. Use a token with write permission (https://huggingface.co/settings/tokens), or another "
            "namespace."
        )
    if status == 409:
        return f"{repo_id} exists already. Pass --update to add a new commit to it, or choose another name."
    return None


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
