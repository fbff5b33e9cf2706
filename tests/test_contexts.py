"""Grad modes and their kin as decorators of functions that suspend themselves."""

import asyncio
import inspect
import threading

import pytest

import numgrad as ng
from numgrad.autograd import forward_ad

MODES = {
    "no_grad": (ng.no_grad(), lambda: not ng.is_grad_enabled()),
    "no_grad without brackets": (ng.no_grad, lambda: not ng.is_grad_enabled()),
    "set_grad_enabled": (ng.set_grad_enabled(False), lambda: not ng.is_grad_enabled()),
    "inference_mode": (ng.inference_mode(), ng.is_inference_mode_enabled),
    "autocast": (ng.autocast("cpu"), lambda: ng.is_autocast_enabled("cpu")),
    "device": (ng.device("cuda:0"), lambda: ng.get_default_device().type == "cuda"),
    "dual_level": (forward_ad.dual_level(), lambda: forward_ad.local.level is not None),
}
ng.set_grad_enabled(True)  # the one of the table has turned recording off


@pytest.fixture(params=MODES)
def mode(request):
    """(decorator, whether it holds now); it does neither before nor after the test."""
    decorate, holds = MODES[request.param]
    assert not holds()
    yield decorate, holds
    assert not holds()


def test_a_generator_runs_in_its_mode_and_its_caller_does_not(mode):
    decorate, holds = mode
    seen = []

    @decorate
    def numbers(first):
        try:
            while True:
                try:
                    first += yield first, holds()
                except KeyError as error:
                    seen.append((error.args, holds()))
        finally:
            seen.append(holds())

    assert inspect.isgeneratorfunction(numbers)
    stepper = numbers(1)
    assert next(stepper) == (1, True) and not holds()
    assert stepper.send(2) == (3, True) and not holds()
    assert stepper.throw(KeyError("here")) == (3, True) and not holds()
    stepper.close()
    assert seen == [(("here",), True), True]
    with pytest.raises(StopIteration):
        next(stepper)


def test_what_a_generator_raises_and_returns():
    @ng.no_grad()
    def last(error):
        try:
            yield 1
        except ValueError:
            raise error from None
        return 2

    def outer():
        return (yield from last(None))

    stepper = outer()
    assert next(stepper) == 1
    with pytest.raises(StopIteration) as stop:
        next(stepper)
    assert stop.value.value == 2
    stepper = last(OSError("its own"))
    next(stepper)
    with pytest.raises(OSError, match="its own"):
        stepper.throw(ValueError)
    assert ng.is_grad_enabled()


def test_a_generator_that_will_not_close():
    @ng.no_grad()
    def stubborn():
        try:
            yield
        except GeneratorExit:
            yield

    stepper = stubborn()
    next(stepper)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        stepper.close()
    assert ng.is_grad_enabled()


def test_coroutines_take_turns(mode):
    decorate, holds = mode

    @decorate
    async def inside():
        seen = []
        for _ in range(3):
            seen.append(holds())
            await asyncio.sleep(0)
        return seen

    async def outside():
        seen = []
        for _ in range(3):
            seen.append(holds())
            await asyncio.sleep(0)
        return seen

    async def main():
        return await asyncio.gather(inside(), outside(), inside())

    assert inspect.iscoroutinefunction(inside)
    assert asyncio.run(main()) == [[True] * 3, [False] * 3, [True] * 3]


def test_a_cancelled_coroutine_ends_in_its_mode(mode):
    decorate, holds = mode
    seen = []

    @decorate
    async def waits():
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(holds())
            await asyncio.sleep(0)
            seen.append(holds())

    async def main():
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == [True, True]


def test_an_asynchronous_generator(mode):
    decorate, holds = mode
    seen = []

    @decorate
    async def numbers(count):
        try:
            for k in range(count):
                try:
                    got = yield k, holds()
                    if got:
                        seen.append(got)
                except KeyError:
                    seen.append(holds())
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            seen.append(holds())

    async def main():
        assert [item async for item in numbers(2)] == [(0, True), (1, True)] and not holds()
        stepper = numbers(5)
        assert await stepper.asend(None) == (0, True)
        assert await stepper.asend("sent") == (1, True)
        assert await stepper.athrow(KeyError) == (2, True) and not holds()
        await stepper.aclose()

    assert inspect.isasyncgenfunction(numbers)
    asyncio.run(main())
    assert seen == [True, "sent", True, True]


def test_autocast_around_a_function_called_by_two_threads():
    """Each call has its own context: one that ends does not restore the state of another."""
    both = threading.Barrier(2)

    @ng.autocast("cpu")
    def inside():
        both.wait(60)
        return ng.is_autocast_enabled("cpu")

    seen = []

    def run(own):
        ng.set_autocast_enabled("cpu", own)
        seen.append((inside(), ng.is_autocast_enabled("cpu") is own))

    threads = [threading.Thread(target=run, args=(own,)) for own in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(True, True)] * 2
