"""Where the files that are not code lie: recipes, the model card's template, and the students that come with the package."""

import difflib
import os
from pathlib import Path


def package_data_folder(name: str) -> Path:
    """
    Folder of data files that ships with the package.

    In an installed wheel the folder lies inside the package; in a checkout (an editable installation) it is the folder of the same name
    at the top of the repository.

    Args:
        name (`str`): `"recipes"` or `"hub_cards"`.

    Raises:
        FileNotFoundError: if neither place has it.
    """
    inside_the_package = Path(__file__).parent / name
    top_of_the_checkout = Path(__file__).parents[2] / name
    for folder in (inside_the_package, top_of_the_checkout):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"transformers_aura has no data folder '{name}' (looked for {inside_the_package} and {top_of_the_checkout}); reinstall the package."
    )


def packaged_students() -> dict[str, Path]:
    """
    Every student that comes with the package.

    Returns:
        `dict[str, Path]`: its folder by its name.

    Example:
        >>> sorted(packaged_students())
        ['aura-smollm2-135m', 'aura-smollm2-135m-light']
    """
    return {file.parent.name: file.parent for file in sorted(package_data_folder("hub_cards").glob("*/config.json"))}


def packaged_student(name: str) -> Path:
    """
    Folder of a student that comes with the package: what the Auto classes and `pipeline` take in the place of a Hub id.

    Its base LLM is not in it; that is loaded from the repo that its config names, or from `base_model_name_or_path`.

    Example:

    ```python
    from transformers import pipeline
    from transformers_aura import packaged_student

    answerer = pipeline("audio-question-answering", model=packaged_student("aura-smollm2-135m"))
    ```

    Args:
        name (`str`): its name, such as `"aura-smollm2-135m"`.

    Returns:
        `Path`: its folder.

    Raises:
        FileNotFoundError: no student of this name comes with the package; the message lists those that do.
    """
    students = packaged_students()
    if name not in students:
        raise FileNotFoundError(
            f"No student called '{name}' comes with the package; there is {', '.join(students) or 'none'}."
        )
    return students[name]


def resolve_student(name_or_path: str | os.PathLike) -> str:
    """
    The folder of a packaged student for its bare name, anything else as it is.

    A local folder of the same name goes first, as it does before a Hub id.

    Raises:
        FileNotFoundError: it is a bare name (no `org/name`), and there is neither a folder nor a packaged student of that name.
    """
    name_or_path = os.fspath(name_or_path)
    if "/" in name_or_path or os.sep in name_or_path or os.path.isdir(name_or_path):
        return name_or_path
    students = packaged_students()
    if name_or_path not in students:
        close = difflib.get_close_matches(name_or_path, students, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Packaged are: {', '.join(students) or 'none'}."
        raise FileNotFoundError(
            f"No student called '{name_or_path}' comes with the package, and no folder of that name is here. {hint} A Hub id has the form org/name."
        )
    return str(students[name_or_path])
