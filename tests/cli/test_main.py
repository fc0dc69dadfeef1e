"""The `aura` command: fast help, exit codes, errors for people."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import transformers_aura
from transformers_aura.cli.main import main


AURA = Path(sysconfig.get_path("scripts")) / "aura"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command, in this process."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def test_help_lists_every_command_without_loading_anything_heavy() -> None:
    script = (
        "import resource, sys; sys.argv = ['aura', '--help']\n"
        "from transformers_aura.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "assert used.ru_utime + used.ru_stime < 1, used\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in (
        "ask",
        "listen",
        "cache-teacher",
        "transcribe",
        "count-text",
        "distill",
        "evaluate",
        "merge",
        "push",
        "serve",
        "demo",
    ):
        assert f"│ {command} " in done.stdout


@pytest.mark.parametrize(
    "command", ["ask", "transcribe", "count-text", "distill", "evaluate", "merge", "push", "serve", "demo"]
)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"Usage: aura {command}" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"transformers-aura {transformers_aura.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [("listen",), ("ask", "model"), ("ask", "model", "x.wav", "--max-new-tokens", "0"), ("push", "--ful")]
)
def test_a_wrong_command_line_exits_with_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "Usage: aura" in err
    assert "Traceback" not in err


def test_a_failure_exits_with_1_and_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "push", str(tmp_path / "nothing"), "org/x")
    assert (code, out) == (1, "")
    assert err == f"error: There is no folder {tmp_path / 'nothing'}.\n"


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path: Path) -> None:
    from transformers_aura.hub import HubError

    for arguments in (
        ["--debug", "push", str(tmp_path / "x"), "org/x"],
        ["push", str(tmp_path / "x"), "org/x", "--debug"],
    ):
        with pytest.raises(HubError):
            main(arguments)


def test_console_script_is_installed() -> None:
    done = subprocess.run([AURA, "--version"], capture_output=True, text=True)
    assert done.stdout == f"transformers-aura {transformers_aura.__version__}\n"


def test_demo_runs_the_checkout_s_scripts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(command: list, check: bool) -> subprocess.CompletedProcess:
        started.append([Path(command[1]).name, *command[2:]])
        return subprocess.CompletedProcess(command, 3 if "student" in str(command[1]) else 0)

    monkeypatch.setattr(subprocess, "run", start)
    assert run(capsys, "demo", "--student", "x")[0] == 3
    assert run(capsys, "demo", "--train", "--clips", "1")[0] == 3
    assert started == [
        ["real_models.py"],
        ["ask_student.py", "--student", "x"],
        ["real_models.py"],
        ["train_student.py", "--clips", "1"],
    ]
