"""The type stubs: as the op table has them now, and of use to a type checker."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import numgrad as ng
from numgrad import stubs
from numgrad.op import OPS

PACKAGE = Path(ng.__file__).parent


def test_stubs_are_up_to_date():
    # In a process of its own: others' subclasses and 16-bit tensors have functions look another way.
    code = "import json; from numgrad import stubs; print(json.dumps({str(p): text for p, text in stubs.stubs().items()}))"
    made = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    for path, text in made.items():
        assert Path(path).read_text("utf-8") == text, f"{path} is behind the op table: run python -m numgrad.stubs"


def test_stubs_are_python_and_name_every_method():
    for path, text in stubs.stubs().items():
        compile(text, str(path), "exec")
    text = stubs.tensor_stub()
    for op in OPS.values():
        if "Tensor" in op.install and hasattr(ng.Tensor, op.name):
            assert f"    def {op.name}(self" in text, op.name


def test_signatures_are_those_of_the_functions():
    def names(fn):
        return list(inspect.signature(fn).parameters)

    scope = {}
    text = stubs.functions_stub(ng.nn.functional, 2)
    lines = [line for line in text.splitlines() if line.startswith("def ")]
    for line in lines:
        name = line[4 : line.index("(")]
        fn = getattr(ng.nn.functional, name)
        fn = fn.build() if hasattr(fn, "build") else fn
        exec("from __future__ import annotations\n" + line, scope)
        assert names(scope[name]) == names(fn), name


PROGRAM = """
import numgrad as ng
import numgrad.nn.functional as F

x = ng.randn(2, 3, requires_grad=True)
total: ng.Tensor = (x.relu() + 1).sum(1, keepdim=True) @ ng.ones(1, 2)
curve: ng.Tensor = F.gelu(ng.add(x, 2.0, alpha=3))
wrong: int = x.exp()
x.sum(dimm=1)
ng.no_such_function(x)
"""


@pytest.mark.skipif(not shutil.which("pyright"), reason="pyright is not installed")
def test_a_type_checker_uses_them(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(PACKAGE.parent)]}))
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, "program.py"]
    found = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout)
    errors = {(d["range"]["start"]["line"], d["rule"]) for d in found["generalDiagnostics"] if d["severity"] == "error"}
    assert errors == {(7, "reportAssignmentType"), (8, "reportCallIssue"), (9, "reportAttributeAccessIssue")}
