"""What ``import numgrad`` must not do: compile, touch a driver, write, load what is not needed yet."""

import json
import os
import subprocess
import sys
import textwrap

import pytest


def run(source, home, *flags, **variables):
    """Run ``source`` in a fresh interpreter with an empty home; its printed JSON."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMGRAD_", "NUMBA_", "XDG_", "PYTHONW"))}
    environment.update(HOME=str(home), PYTHONPATH=os.pathsep.join(sys.path), **variables)
    command = [sys.executable, *flags, "-c", textwrap.dedent(source)]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_compiles_nothing(tmp_path):
    source = """
        import json
        import numba.core.compiler as compiler

        compiled = []
        original = compiler.CompilerBase.compile_extra

        def counted(self, func):
            compiled.append(func.__qualname__)
            return original(self, func)

        compiler.CompilerBase.compile_extra = counted
        import numgrad
        from numgrad.kernels import callers, jit

        print(json.dumps([compiled, jit.compiled_kernels, len(callers._callers)]))
    """
    found, _ = run(source, tmp_path)
    assert found == [[], [], 0]


def test_writes_nothing(tmp_path):
    run("import numgrad; print(0)", tmp_path, "-B")
    assert list(tmp_path.iterdir()) == []


def test_works_without_a_home(tmp_path):
    run("import os; os.environ.pop('HOME'); import numgrad; print(0)", tmp_path)


def test_says_nothing(tmp_path):
    _, printed = run("import numgrad; print(0)", tmp_path, "-W", "error")
    assert printed == ""


def test_loads_only_what_it_needs(tmp_path):
    source = """
        import json, sys
        before = set(sys.modules)
        import numgrad
        print(json.dumps(sorted(set(sys.modules) - before)))
    """
    loaded, _ = run(source, tmp_path)
    unwanted = ["torch", "matplotlib", "sklearn", "tqdm", "numba.cuda", "numba_cuda", "cuda", "nvmath"]
    unwanted += ["scipy.linalg", "scipy.special", "scipy.stats", "scipy.sparse"]  # Numba itself imports scipy's top
    for name in unwanted:
        assert not [m for m in loaded if m == name or m.startswith(f"{name}.")], f"import numgrad imports {name}"


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the list of loaded libraries is Linux's")
def test_touches_no_driver(tmp_path):
    source = """
        import json
        import numgrad
        with open("/proc/self/maps") as maps:
            print(json.dumps(sorted({line.split("/")[-1].strip() for line in maps if "/" in line})))
    """
    libraries, _ = run(source, tmp_path)
    assert [name for name in libraries if name.startswith(("libcuda", "libcudart", "libcublas", "libnvidia"))] == []
