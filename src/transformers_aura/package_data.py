"""Where the files that are not code lie: recipes and the model card's template."""

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
