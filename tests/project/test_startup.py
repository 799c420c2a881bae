"""What `filiation --help` and `import filiation` may load; no import needs an optional package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "scipy",
    "huggingface_hub",
    "gguf",
    "torch",
    "transformers",
    "pandas",
    "pyarrow",
    "onnx",
    "s3fs",
    "tokenizers",
)
OPTIONAL = ("onnx", "s3fs", "tokenizers", "pyarrow", "pandas", "torch", "transformers")

HELP = """
import contextlib, io, json, sys
from filiation.cli import main
out = io.StringIO()
sys.argv = ["filiation", *json.loads(sys.argv[1])]
with contextlib.redirect_stdout(out):
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
modules = sorted({m.split(".")[0] for m in sys.modules})
print(json.dumps({"code": code, "help": out.getvalue(), "modules": modules}))
"""

THREADS = """
import contextlib, io, json, os, sys
from filiation.cli import main
os.environ.pop("OPENBLAS_NUM_THREADS", None)
os.environ.pop("OMP_NUM_THREADS", None)
os.environ.update(json.loads(sys.argv[1]))
before = "numpy" in sys.modules
sys.argv = ["filiation", "--version"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(json.dumps([before, os.environ.get("OPENBLAS_NUM_THREADS")]))
"""

IMPORT_ALL = """
import importlib, importlib.abc, json, pkgutil, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] in json.loads(sys.argv[1]):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None

sys.meta_path.insert(0, Refuse())
import filiation
seen = []
for module in pkgutil.walk_packages(filiation.__path__, "filiation."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        seen.append(module.name)
print(json.dumps(seen))
"""


def run(code: str, argument: object) -> object:
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(argument)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["lab", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    seen = run(HELP, arguments)
    assert isinstance(seen, dict)
    assert seen["code"] == 0
    assert "filiation" in seen["help"].lower()
    assert not set(HEAVY) & set(seen["modules"])


@pytest.mark.parametrize(
    ("told", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3"), ({"OMP_NUM_THREADS": "2"}, None)]
)
def test_the_command_asks_for_one_thread_unless_told(told: dict[str, str], threads: str | None) -> None:
    assert run(THREADS, told) == [False, threads]


COLLECTOR = """
import contextlib, gc, io, json, sys
from filiation.cli import main
sys.argv = ["filiation", *json.loads(sys.argv[1])]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main()
print(json.dumps([gc.isenabled(), gc.get_freeze_count() > 0]))
"""


@pytest.mark.parametrize("command", [["schema"], ["compare", "no-such-a", "no-such-b"]])
def test_the_collector_runs_again_once_a_command_is_imported(command: list[str]) -> None:
    assert run(COLLECTOR, command) == [True, True]


def test_import_loads_nothing_heavy() -> None:
    code = "import filiation, json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    modules = run(code, None)
    assert isinstance(modules, list)
    assert not set(HEAVY) & set(modules)


def test_every_module_imports_without_any_extra() -> None:
    seen = run(IMPORT_ALL, OPTIONAL)
    assert isinstance(seen, list)
    assert {"filiation.errors", "filiation.evidence", "filiation.cli"} <= set(seen)
