"""Why the Hub did not give what was asked for, in words: who has to log in, to wait, or to mend a connection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


# The base of all errors of whichever HTTP library `huggingface_hub` uses.
HTTPError: type[Exception] = HfHubHTTPError.__bases__[0]


class HubAccessError(OSError):
    """The Hub refused something, or could not be asked. The message says why and what to do."""


def explain(error: BaseException | None, repo: str | None = None) -> str | None:
    """
    What the Hub objected to, or what lies between here and the Hub.

    Args:
        error: what was raised; its causes are looked at too, as libraries name them wrongly ("check your internet connection").
        repo: what was asked for, where it is known.

    Returns:
        a sentence or two, or `None` where neither the Hub nor the connection is the reason.
    """
    unreachable = None
    while error is not None:
        if isinstance(error, HfHubHTTPError) and not isinstance(error, EntryNotFoundError):
            return _refusal(error, repo or getattr(error, "repo_id", None) or str(error.response.url))
        if isinstance(error, HFValidationError):
            named = f"{repo!r}" if repo else str(error).partition("\n")[0]
            return f"This is no folder here, nor can it be a name on the Hub (org/name): {named}"
        if isinstance(error, OfflineModeIsEnabled):
            return f"HF_HUB_OFFLINE is set, so the Hub is not asked, and {repo or 'what is needed'} is not in the cache of this machine."
        if isinstance(error, (HTTPError, ConnectionError, TimeoutError)) and not isinstance(
            error, (HfHubHTTPError, BrokenPipeError)
        ):
            unreachable = error  # the innermost is the reason
        error = error.__cause__ or error.__context__
    if unreachable is None:
        return None
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    reason = str(unreachable).partition("\n")[0] or type(unreachable).__name__
    wanted = f" for {repo}" if repo else ""
    return f"The Hub ({endpoint}) cannot be reached{wanted}: {reason}. Check the connection, or give a folder on this machine."


def reason_of(error: Exception, repo: str | os.PathLike, loaded_with: Mapping[str, Any]) -> str | None:
    """
    As [`explain`], of an error of loading from a repo: where a library kept the reason to itself ("no file model.safetensors"), the Hub
    is asked once more.

    Args:
        error: what was raised.
        repo: what was loaded; of a folder, the Hub is never the reason.
        loaded_with: arguments of `from_pretrained`; of them count `revision`, `token` and `local_files_only`.
    """
    repo = os.fspath(repo)
    if os.path.exists(repo):
        return None
    reason = explain(error, repo)
    if reason is None and not loaded_with.get("local_files_only"):
        try:
            url = hf_hub_url(repo, "config.json", revision=loaded_with.get("revision"))
            get_hf_file_metadata(url, token=loaded_with.get("token"))
        except EntryNotFoundError:  # the repo answers
            return None
        except (OSError, HTTPError, HFValidationError) as refused:
            return explain(refused, repo)
    return reason


@contextmanager
def explained(repo: str | os.PathLike, loaded_with: Mapping[str, Any]) -> Iterator[None]:
    """
    Loads from a repo, with an error that says why the Hub gave nothing.

    Args:
        repo, loaded_with: see [`reason_of`].

    Raises:
        HubAccessError: in the place of an error whose reason is the Hub or the connection.
    """
    try:
        yield
    except HubAccessError:
        raise
    except (OSError, HTTPError, HFValidationError) as error:
        reason = reason_of(error, repo, loaded_with)
        if reason is None:
            raise
        raise HubAccessError(reason) from error


def _refusal(error: HfHubHTTPError, repo: str) -> str:
    status = error.response.status_code
    said = f" (it says: {error.server_message})" if error.server_message else ""
    login = "`hf auth login`, or a token in HF_TOKEN"
    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/{repo}"
        if get_token() is None:
            return f"{repo} is gated, and nobody is logged in here. Ask for access at {page}, then log in: {login}."
        return f"{repo} is gated, and your account has no access to it. Ask for it at {page}."
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no such revision on the Hub{said}. Look at https://huggingface.co/{repo}/commits."
    if status == 401 and "credentials" in (error.server_message or ""):
        return f"The Hub does not accept your token{said}: it is wrong or has expired. Log in again: {login}."
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        who = "nobody is logged in here" if get_token() is None else "your token may not see it"
        return f"{repo} is not on the Hub, or it is private and {who}. Check the name (nor is it a folder here), or log in: {login}."
    if status == 403:
        return f"The Hub does not let you have {repo}{said}. Use a token of an account that may: {login}."
    if status == 429:
        return f"The Hub answers no more requests from here for now: too many were made{said}. Wait some minutes; who is logged in may make more."
    if status >= 500:
        return f"The Hub has a fault of its own (HTTP {status}){said}. Try again later; https://status.huggingface.co says how it is."
    return f"The Hub refused {repo} with HTTP {status}{said}."
