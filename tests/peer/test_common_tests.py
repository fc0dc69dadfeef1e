"""Where the common tests of transformers come from, without a network."""

import io
import subprocess
import tarfile

import pytest

from tests_peer import common_tests
from tools.packages import PackageError


def source_distribution(file, members):
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file


def test_only_the_modules_of_the_tests_are_unpacked(tmp_path, monkeypatch):
    members = {
        "transformers-1/tests/test_modeling_common.py": b"common = 1",
        "transformers-1/tests/../../test_out.py": b"",
        "/transformers-1/tests/test_absolute.py": b"",
        "transformers-1/tests/test_link.py": None,
        "transformers-1/tests/deeper/test_model.py": b"",
        "transformers-1/src/test_other.py": b"",
        "transformers-1/tests/data.bin": b"",
    }
    archive = source_distribution(tmp_path / "transformers-1.tar.gz", members)
    monkeypatch.setenv("AURA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(common_tests, "_download", lambda folder: archive)
    folder = common_tests.common_tests_folder()
    assert sorted(file.name for file in folder.iterdir()) == ["__init__.py", "test_modeling_common.py"]
    assert not list(tmp_path.rglob("test_out.py"))
    monkeypatch.setattr(common_tests, "_download", lambda folder: pytest.fail("it is in the cache"))
    assert common_tests.common_tests_folder() == folder


@pytest.mark.fault("hub")
def test_what_cannot_be_had_says_so_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("AURA_CACHE", str(tmp_path))
    refused = subprocess.CompletedProcess([], 1, "", "Looking\nERROR: No matching distribution found")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: refused)
    with pytest.raises(PackageError, match=r"transformers==.* with pip: ERROR: No matching distribution found"):
        common_tests.common_tests_folder()
    archive = source_distribution(tmp_path / "transformers-1.tar.gz", {"transformers-1/tests/README": b""})
    monkeypatch.setattr(common_tests, "_download", lambda folder: archive)
    with pytest.raises(PackageError, match="holds no common tests"):
        common_tests.common_tests_folder()
    assert not list((tmp_path / "peer").iterdir())
