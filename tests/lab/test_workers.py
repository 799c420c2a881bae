"""Processes of the lab end with the block that made them, and with the command; what is written is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import active_children
from pathlib import Path

import pytest

from filiation.errors import InputError, MissingExtraError, StorageError
from filiation.lab.workers import workers, write_whole, writing


def _interrupted() -> None:
    with workers(1) as pool:
        future = pool.submit(time.sleep, 600)
        while not future.running():
            time.sleep(0.01)
        raise KeyboardInterrupt


def test_a_block_left_by_an_error_ends_what_runs() -> None:
    before = set(active_children())
    with pytest.raises(KeyboardInterrupt):
        _interrupted()
    assert set(active_children()) == before


def test_every_process_has_one_thread_and_the_caller_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with workers(1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    with workers(1):
        pass
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_process_that_was_ended_from_outside_is_told_with_what_to_do() -> None:
    with pytest.raises(InputError, match="ended from outside") as caught, workers(1) as pool:
        pool.submit(os._exit, 9).result()
    assert "goes on where it stopped" in (caught.value.next_step or "")


def test_a_missing_package_is_told_across_processes() -> None:
    error = MissingExtraError("Making K-quants", "serve", "xllamacpp")
    with workers(1) as pool, pytest.raises(MissingExtraError) as caught:
        pool.submit(_raises, error).result()
    assert str(caught.value) == str(error)
    assert caught.value.extra == "serve"


def _raises(error: Exception) -> None:
    raise error


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_no_process_outlives_a_command_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, time
            from filiation.lab.workers import workers
            if __name__ == "__main__":
                with workers(1) as pool:
                    print(pool.submit(os.getpid).result(), flush=True)
                    pool.submit(time.sleep, 600).result()
            """
        ),
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        worker = int(command.stdout.readline())
        command.send_signal(signal.SIGKILL)
    for _ in range(1500):
        if not _runs(worker):
            return
        time.sleep(0.02)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker went on without its command")


def _runs(process: int) -> bool:
    """Tell whether a process is there and no mere entry that nobody has waited for."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], check=False, capture_output=True, text=True
    ).stdout.strip()
    return bool(found) and not found.startswith("Z")


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "deep" / "a.json", "{}")
    assert (tmp_path / "deep" / "a.json").read_text(encoding="utf-8") == "{}"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.json"]
    (tmp_path / "b.json").mkdir()
    with pytest.raises(StorageError) as caught:
        write_whole(tmp_path / "b.json", "{}")
    assert caught.value.file == str(tmp_path / "b.json")
    with pytest.raises(StorageError, match=r"No space left"), writing(tmp_path / "c"):
        raise OSError(28, "No space left on device")
