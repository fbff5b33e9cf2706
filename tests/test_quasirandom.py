"""Sobol' sequences beside PyTorch's."""

import copy

import pytest

import numgrad as ng

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("options", [{}, {"scramble": True, "seed": 7}], ids=str)
def test_points_are_pytorchs(options):
    def drawn(T):
        engine = T.quasirandom.SobolEngine(5, **options)
        parts = [engine.draw(), engine.draw(6), engine.draw_base2(0), engine.fast_forward(8).draw(3), engine.draw(2, dtype=T.float64)]
        whole = engine.reset().draw(20)
        late = T.quasirandom.SobolEngine(5, **options).fast_forward(1000).draw(2)
        return [*(part.tolist() for part in parts), whole.tolist(), late.tolist(), engine.num_generated, repr(engine), engine.sobolstate.tolist()]

    assert drawn(ng) == drawn(torch)


def test_default_stream_and_copies():
    def drawn(T):
        T.manual_seed(3)
        engine = T.quasirandom.SobolEngine(2, scramble=True)
        engine.draw(3)
        return copy.deepcopy(engine).draw(4).tolist(), engine.draw(4, out=T.empty(0)).tolist()

    mine = drawn(ng)
    assert mine == drawn(torch) and mine[0] == mine[1]


def test_refused():
    Sobol = ng.quasirandom.SobolEngine
    for dimension in (0, Sobol.MAXDIM + 1):
        with pytest.raises(ValueError, match="range of dimensionality"):
            Sobol(dimension)
    engine = Sobol(3)
    engine.draw(3)
    with pytest.raises(ValueError, match="power of 2"):
        engine.draw_base2(2)
    with pytest.raises(TypeError, match="floating-point"):
        engine.draw(dtype=ng.int64)
