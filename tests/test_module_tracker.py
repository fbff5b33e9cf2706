"""`ModuleTracker` knows which modules are at work, forward and backward."""

import numgrad as ng
from numgrad import nn
from numgrad.utils.module_tracker import ModuleTracker


class Noting(nn.Module):
    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def forward(self, x):
        x = x * 2
        self.notes.append((set(self.tracker.parents), self.tracker.is_bw))
        x.register_hook(lambda gradient: self.notes.append((set(self.tracker.parents), self.tracker.is_bw)))
        return [x * 3]


class Outer(nn.Module):
    def __init__(self, notes):
        super().__init__()
        self.inner = nn.ModuleList([Noting(notes), Noting(notes)])

    def forward(self, x):
        return self.inner[1](self.inner[0](x)[0])


def test_names_of_the_modules_at_work():
    notes: list = []
    model = Outer(notes)
    for _ in range(2):
        with ModuleTracker() as tracker:
            Noting.tracker = tracker
            model(ng.ones(2, requires_grad=True) * 1)[0].sum().backward()
            assert tracker.parents == {"Global"} and not tracker.is_bw
        first, second = ({"Global", "Outer", f"Outer.inner.{k}"} for k in (0, 1))
        assert notes == [(first, False), (second, False), (second, True), (first, True)]
        notes.clear()
    model(ng.ones(2, requires_grad=True))  # after the block nothing is followed
    assert notes[0] == ({"Global"}, False)
