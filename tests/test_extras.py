import sys

import pytest

from transformers_aura.extras import MissingExtraError, import_extra


def test_a_library_that_is_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_library.py").write_text("")
    assert import_extra("some_library", "evaluation", "Counting").__name__ == "some_library"


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_a_library_that_is_not_is_named_with_its_extra(tmp_path, monkeypatch, left):
    """What `pip uninstall` leaves of a library, a folder without modules, can be imported, too."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gone_library", raising=False)
    if left == "an empty folder":
        (tmp_path / "gone_library" / "__pycache__").mkdir(parents=True)
    with pytest.raises(
        MissingExtraError, match=r"^Counting needs gone_library, .*pip install 'transformers-aura\[evaluation\]'$"
    ):
        import_extra("gone_library", "evaluation", "Counting")
