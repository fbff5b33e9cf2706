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
    subclasses_without_rules(ng, nn)


def subclasses_without_rules(ng, nn):
    """A class that defines nothing: results are of it, views of it are views, and Parameters of it are Parameters."""

    class Sub(ng.Tensor):
        pass

    plain, x = ng.ones(3), Sub(ng.ones(3))
    for call in (
        lambda: x + 1, lambda: plain + x, lambda: ng.exp(x), lambda: x[0], lambda: x.detach(), lambda: ng.ones(2, 2).as_subclass(Sub).mT, lambda: x.data,
        lambda: x.sum(), lambda: ng.stack([plain, x]), lambda: x.unbind()[1], lambda: next(iter(x)), lambda: x.real,
    ):  # fmt: skip
        assert type(call()) is Sub
    assert type(ng.Tensor(x)) is ng.Tensor and x.tolist() == [1, 1, 1] and repr(x) == "Sub([1., 1., 1.])"
    # Writes through a view of the class, or through another class of the same tensor, are in the gradient.
    for shown in (lambda y: y.as_subclass(Sub), lambda y: y.as_subclass(Sub)[0], lambda y: y[1:].as_subclass(Sub)):
        leaf = ng.ones(3, requires_grad=True)
        y = leaf * 1
        part = shown(y)
        part.mul_(3)
        y.sum().backward()
        assert y.sum() > 3 and leaf.grad.tolist() == y.tolist() and type(part) is Sub and part._is_view()
    leaf = Sub(ng.ones(2)).requires_grad_()
    (leaf.exp() * leaf).sum().backward()
    assert type(leaf.grad) is ng.Tensor

    p = nn.Parameter(x)
    assert type(p) is Sub and isinstance(p, nn.Parameter) and p.is_leaf and p.requires_grad
    assert not isinstance(x, nn.Parameter) and not isinstance(p + 1, nn.Parameter)
    assert repr(p) == "Parameter(Sub([1., 1., 1.], requires_grad=True))"
    layer = nn.Linear(3, 1, bias=False)
    layer.weight = nn.Parameter(Sub(layer.weight))
    assert [type(q) for q in layer.parameters()] == [Sub] and type(layer.state_dict()["weight"]) is Sub
    optimizer = ng.optim.SGD(layer.parameters(), 0.5)
    layer(plain).sum().backward()
    expected = layer.weight - 0.5 * layer.weight.grad
    optimizer.step()
    assert ng.equal(layer.weight, expected)
    import copy

    assert type(copy.deepcopy(layer).weight) is Sub and isinstance(copy.deepcopy(layer).weight, nn.Parameter)
    layer.double()
    assert type(layer.weight) is Sub and layer.weight.dtype is ng.float64

    class Forgets(ng.Tensor):
        def detach(self):
            return ng.Tensor(self)

    try:
        nn.Parameter(Forgets(plain))
    except RuntimeError as error:
        assert "detach() returns an instance" in str(error)
    else:
        raise AssertionError("a Parameter of another class")


if __name__ == "__main__":
    main()
