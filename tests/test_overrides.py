"""Classes and modes with ``__torch_function__`` are asked before the library's functions run.

Once a class is asked, functions of its process look at their arguments for good; so the cases run in one of their own.
"""

import subprocess
import sys


def test_cases():
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def main():
    import numgrad as ng
    from numgrad import nn, overrides
    from numgrad.nn import functional as F

    plain = ng.ones(2, 2)
    assert not overrides.has_torch_function((plain, 1)) and type(plain + 1) is ng.Tensor

    class Noted(ng.Tensor):
        asked: list = []

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.asked.append(func)
            return super().__torch_function__(func, types, args, kwargs)

    x = ng.ones(2, 2).as_subclass(Noted)
    for call, func in (
        (lambda: x + 1, ng.Tensor.add),
        (lambda: plain * x, ng.Tensor.mul),
        (lambda: ng.add(x, 1), ng.add),
        (lambda: x.mean(0), ng.Tensor.mean),
        (lambda: ng.mean(x), ng.mean),
        (lambda: x @ x, ng.Tensor.matmul),
        (lambda: ng.cat([plain, x]), ng.cat),
        (lambda: F.relu(x), F.relu),
        (lambda: x[0], ng.Tensor.__getitem__),
        (lambda: ng.linalg.norm(x), ng.linalg.norm),
        (lambda: ng.stack((x, plain), dim=1), ng.stack),
        (lambda: x.t(), ng.Tensor.t),
        (lambda: x.detach(), ng.Tensor.detach),
    ):
        Noted.asked.clear()
        assert type(call()) is Noted, func
        assert Noted.asked == [func], (Noted.asked, func)
    assert type(ng.max(x, 0)).__name__ == "max" and all(type(part) is Noted for part in ng.max(x, 0))
    assert type(nn.Linear(2, 2)(x)) is Noted and type(nn.Linear(2, 2)(plain)) is ng.Tensor
    leaf = ng.ones(3).as_subclass(Noted).requires_grad_()
    (leaf * 2).sum().backward()
    assert leaf.grad.tolist() == [2, 2, 2]

    with overrides.DisableTorchFunctionSubclass():
        assert type(x + 1) is ng.Tensor
    Noted.asked.clear()
    assert type(nn.Parameter(plain) + 1) is ng.Tensor and not Noted.asked

    # Subclasses before their bases, else in order; who declines passes on; all declining is an error.
    order = []

    class Base(ng.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            order.append(cls.__name__)
            return NotImplemented

    class Derived(Base):
        pass

    class Other:
        def __torch_function__(self, func, types, args=(), kwargs=None):
            order.append("Other")
            return "other"

    base, derived = ng.ones(1).as_subclass(Base), ng.ones(1).as_subclass(Derived)
    assert ng.add(base, Other()) == "other" and order == ["Base", "Other"]
    order.clear()
    try:
        ng.add(base, derived)
    except TypeError as error:
        assert "no implementation found for" in str(error)
    else:
        raise AssertionError("both declined")
    assert order == ["Derived", "Base"]

    class Doubled(overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            return found * 2 if func is ng.ones else found

    with Doubled():
        assert ng.ones(2).tolist() == [2, 2]
        with Doubled():
            assert ng.ones(2).tolist() == [4, 4]
    assert ng.ones(2).tolist() == [1, 1]

    @overrides.wrap_torch_function(lambda value: (value,))
    def own(value):
        return "own"

    assert own(plain) == "own" and own(Other()) == "other"


if __name__ == "__main__":
    main()
