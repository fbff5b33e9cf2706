"""The backward walk. No numeric code.

Pending nodes are taken from a heap by their falling sequence numbers: the latest recorded first, and no node before all
that used its result.
"""

import itertools
import sys
import threading
import warnings
from heapq import heappop, heappush, heappushpop
from typing import Any

from .modes import local, set_mode, switch, switch_lock
from .node import Pending

# Set by the op table: the sum of two gradients (a new tensor; in place), a copy with strides (row-major if None), the
# stack of several, and whether a result has a NaN.
add: Any = None
add_: Any = None
laid_out: Any = None
stack: Any = None
has_nan: Any = None


next_pass = itertools.count().__next__


def unshared(tensor, references):
    """Whether nobody but the caller, who holds ``references`` references, sees this tensor or its memory."""
    return sys.getrefcount(tensor) <= references + 1 and (tensor._s is None or sys.getrefcount(tensor._s) <= 2)


def walk(roots, retain_graph=False, create_graph=False, captures=None, accumulate=True, step=None):
    """Propagate gradients from ``roots``, pairs of (node, gradient), to the leaves.

    ``captures``: dict of node -> None to be filled with the gradients that reach these nodes; then only nodes on the
    way to them run, not they themselves, and only what ran is freed. ``accumulate``: whether leaves (those captured, if
    any are) add to their ``.grad``. ``step``: a function (node, gradient) -> gradients in place of the node's own, whose
    results are not written to.
    """
    if local.walk is not None:
        local.depth += 1
        try:
            if local.depth % _DEPTH == 0:
                return _elsewhere(_run, roots, retain_graph, create_graph, captures, accumulate, step)
            return _run(roots, retain_graph, create_graph, captures, accumulate, step)
        finally:
            local.depth -= 1
    return _run(roots, retain_graph, create_graph, captures, accumulate, step)


_DEPTH = 30  # so many walks within walks fit on Python's stack


def _elsewhere(run, *args):
    """``run(*args)`` in a thread of its own, whose stack is empty, in the modes of this one."""
    modes, ended = dict(local.__dict__), []

    def work():
        local.__dict__.update(modes)
        try:
            run(*args)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=work, name="numgrad backward")
    thread.start()
    thread.join()
    if ended:
        raise ended[0]


def _run(roots, retain_graph, create_graph, captures, accumulate, step):
    running = None if captures is None else leading_to(captures, [node for node, _ in roots])
    needed = None if captures is None else running.union(captures)
    before, outer, within, number = set_mode("enabled", bool(create_graph)), local.needed, local.node, local.walk
    ends, local.ends, local.walk = local.ends, None, next_pass()
    local.needed = None if create_graph else needed
    selective = local.needed is not None
    if selective:
        with switch_lock:
            switch.selective += 1
    try:
        if switch.noted:
            _noted_walk(roots, retain_graph, step or bool(create_graph), captures, accumulate, needed, running)
        else:
            _walk(roots, retain_graph, step or bool(create_graph), captures, accumulate, needed, running, None)
        while local.ends:
            local.ends.pop(0)()
    finally:
        if selective:
            with switch_lock:
                switch.selective -= 1
        local.needed, local.node, local.walk, local.ends = outer, within, number, ends
        set_mode("enabled", before)


def queue_callback(callback):
    """Call ``callback()`` when the backward pass under way in this thread is done. RuntimeError outside of one."""
    if local.walk is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    if local.ends is None:
        local.ends = []
    local.ends.append(callback)


def needed_now():
    """The nodes that lead to where the walk of this thread goes; None where it goes everywhere."""
    return local.needed


def _noted_walk(roots, retain_graph, create_graph, captures, accumulate, needed, running):
    ends: list = []  # what hooks have to do when all gradients are there
    outer, local.task = local.task, (roots, captures, {}, ends)
    early = _uses(roots, running) if switch.leaf_hooks else None
    try:
        _walk(roots, retain_graph, create_graph, captures, accumulate, needed, running, early)
        for end in ends:
            end()
    finally:
        local.task = outer


def _uses(roots, running):
    """For each leaf, how many gradients come to it from the nodes that run."""
    counts: dict = {}
    for node in reachable([node for node, _ in roots]) if running is None else running:
        for parent in node.next:
            if parent is not None and parent.leaf:
                counts[parent] = counts.get(parent, 0) + 1
    return counts


def _walk(roots, retain_graph, create_graph, captures, accumulate, needed, running, early):
    pending: dict = {}
    leaves: dict = {}
    heap: list = []
    for node, gradient in roots:
        if needed is not None and node not in needed:
            continue
        if node in pending or node in leaves:
            table = leaves if node.leaf else pending
            table[node] = add(table[node], gradient)
        elif node.leaf:
            leaves[node] = gradient
        else:
            pending[node] = gradient
            heappush(heap, (node.seq, node))
    gradient = None
    node = heappop(heap)[1] if heap else None
    anomaly, observer = local.anomaly, switch.observer
    watched = anomaly or observer is not None
    try:
        while node is not None:
            if watched:
                if anomaly:
                    local.node = node
                if observer is not None:
                    observer.begin_node(node)
            gradient = pending.pop(node)
            hooks = node.hooks
            if hooks is not None and hooks.tensor and not (type(gradient) is Pending and not gradient):
                gradient = _run_hooks(hooks.tensor, gradient)
            if captures is not None and node in captures:
                captures[node] = gradient
                if node not in running:
                    if accumulate and hooks is not None and hooks.pre:  # `backward` to this node: it is seen to arrive
                        _run_pre_hooks(node, gradient)
                    gradient = None
                    node = heappop(heap)[1] if heap else None
                    continue
            if node.saved is None or switch.last_write < node.seq:
                node.check()
            if hooks is not None and hooks.pre:
                gradient = _run_pre_hooks(node, gradient)
            if not create_graph:
                gradients = node.backward(gradient)
            elif create_graph is True:
                gradients = node.backward_recorded(gradient)
            else:
                gradients = create_graph(node, gradient)
            if hooks is not None and hooks.post:
                gradients = _run_post_hooks(node, gradients, gradient)
            if watched:
                if observer is not None:
                    observer.end_node(node)
                if anomaly and local.check_nan:
                    _check_finite(node, gradients)
            if not retain_graph and node.saved and node.frees:
                node.saved = None  # a second pass is refused; nodes that saved no values may run again
            gradient = None
            following = None
            for parent, gradient in zip(node.next, gradients):
                if parent is None or gradient is None or (needed is not None and parent not in needed):
                    if gradient is not None or not _is_told(parent, pending, captures, needed):
                        continue
                    gradient = Pending()
                table = leaves if parent.leaf else pending
                held = table.get(parent)
                if held is not None:
                    if type(held) is Pending:
                        table[parent] = held.joined(gradient)
                    elif create_graph:
                        table[parent] = add(held, gradient)
                    else:
                        # held by: the table, `held`, getrefcount's argument
                        table[parent] = add_(held, gradient) if unshared(held, 2) else add(held, gradient)
                    held = None
                else:
                    table[parent] = gradient
                    if table is pending:
                        if following is None:
                            following = parent
                        else:
                            heappush(heap, (parent.seq, parent))
            gradient = gradients = None
            if early is not None:
                _finish(_ready(node, early), leaves, captures, accumulate, create_graph)
            if heap:
                node = heappop(heap)[1] if following is None else heappushpop(heap, (following.seq, following))[1]
            else:
                node = following
    except Exception:
        if anomaly:
            _report(node)
        raise
    _finish(list(leaves), leaves, captures, accumulate, create_graph)


def _is_told(node, pending, captures, needed):
    """Whether a node to which no gradient has come yet, and perhaps none comes, is to run all the same."""
    return (
        node is not None and node.told and node not in pending and (captures is None or node not in captures)
        and (needed is None or node in needed)
    )  # fmt: skip


def _ready(node, early):
    """The leaves to which nothing more comes after this node: ``early`` counts what is still to come."""
    found = []
    for parent in node.next:
        if parent in early:
            early[parent] -= 1
            if not early[parent]:
                found.append(parent)
    return found


def _finish(ready, leaves, captures, accumulate, create_graph):
    """Hooks and accumulation for those of the leaves ``ready`` to which gradients came."""
    observer = switch.observer
    if observer is None:
        return _finish_all(ready, leaves, captures, accumulate, create_graph)
    for leaf in ready:
        if leaf in leaves:
            observer.begin_node(leaf)
            _finish_all((leaf,), leaves, captures, accumulate, create_graph)
            observer.end_node(leaf)


def _finish_all(ready, leaves, captures, accumulate, create_graph):
    for leaf in ready:
        gradient = leaves.pop(leaf, None)
        if gradient is None:
            continue
        hooks = leaf.hooks
        if hooks is not None and hooks.tensor:
            gradient = _run_hooks(hooks.tensor, gradient)
        if captures is not None and leaf in captures:
            captures[leaf] = gradient
        if accumulate and (captures is None or leaf in captures):
            if hooks is None:
                _accumulate(leaf, gradient, create_graph)
            else:
                if hooks.pre:
                    gradient = _run_pre_hooks(leaf, gradient)
                _accumulate(leaf, gradient, create_graph)
                if hooks.accumulated:
                    _run_accumulate_hooks(leaf)
                if hooks.post:
                    _run_post_hooks(leaf, (), gradient)
            gradient = None


def _accumulate(leaf, gradient, create_graph):
    held = leaf.grad
    if held is None:
        if create_graph:
            leaf.grad = gradient
        elif unshared(gradient, 3) and (  # the caller's and our name, the argument
            gradient._m.contiguous if leaf.strides is None else gradient._m.strides == leaf.strides
        ):
            leaf.grad = gradient
        else:
            leaf.grad = laid_out(gradient, leaf.strides)
    elif create_graph or held._n is not None:
        leaf.grad = add(held, gradient)
    else:
        add_(held, gradient)


def leading_to(targets, starts):
    """The nodes between ``starts`` and ``targets``: a target can be reached from them by at least one step."""
    state = {}  # node -> whether it leads to a target; absent while its parents are being looked at

    def following(node):
        return () if node.stops and node in targets else node.next

    for start in starts:
        stack = [(start, iter(following(start)))]
        seen = {start}
        path = stack
        while path:
            node, parents = path[-1]
            for parent in parents:
                if parent is None or parent in state or parent in seen:
                    continue
                seen.add(parent)
                path.append((parent, iter(following(parent))))
                break
            else:
                path.pop()
                state[node] = any(parent in targets or state.get(parent, False) for parent in following(node) if parent)
    return {node for node, leads in state.items() if leads}


def reachable(starts):
    """``starts`` and all nodes that a walk from there can come to."""
    seen = set(starts)
    stack = list(starts)
    while stack:
        for parent in stack.pop().next:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return seen


def _run_hooks(hooks, gradient):
    for hook in list(hooks.values()):
        changed = hook(gradient)
        if changed is not None:
            gradient = _like(gradient, changed, hook)
    return gradient


def _like(gradient, changed, hook):
    """What a hook on a tensor returned in place of its gradient, if it can stand for it."""
    if type(gradient) is Pending or type(changed) is type(gradient) and changed._m is gradient._m:
        return changed
    name = getattr(hook, "__name__", type(hook).__name__)
    if not hasattr(changed, "_m"):
        raise TypeError(f"expected Variable, but hook '{name}' returned '{type(changed).__name__}'")
    if changed.shape != gradient.shape:
        raise RuntimeError(
            f"hook '{name}' has changed the size of value: from {list(gradient.shape)} to {list(changed.shape)}"
        )
    if changed.dtype is not gradient.dtype or changed.device != gradient.device:
        raise RuntimeError(
            f"hook '{name}' has changed the type of value (was {gradient.dtype!r} on {gradient.device}, got "
            f"{changed.dtype!r} on {changed.device})"
        )
    return changed


def _run_pre_hooks(node, gradient):
    outputs = node.outputs(gradient)
    for hook in list(node.hooks.pre.values()):
        changed = hook(outputs)
        if changed is not None:
            outputs = changed if isinstance(changed, tuple) else (changed,)
    return node.incoming(outputs)


def _run_post_hooks(node, gradients, gradient):
    gradients, outputs = tuple(gradients), node.outputs(gradient)
    for hook in list(node.hooks.post.values()):
        changed = hook(gradients, outputs)
        if changed is not None:
            gradients = changed if isinstance(changed, tuple) else (changed,)
    return gradients


def _run_accumulate_hooks(leaf):
    tensor = leaf.tensor() if leaf.tensor is not None else None
    if tensor is None and leaf.tensor is not None:  # nobody can see its gradient any more
        return
    for hook in list(leaf.hooks.accumulated.values()):
        if hook(tensor) is not None:
            raise RuntimeError("Tensor post accumulate grad hooks should return None.")


def _check_finite(node, gradients):
    for k, gradient in enumerate(gradients):
        if gradient is not None and type(gradient) is not Pending and has_nan(gradient):
            raise RuntimeError(f"Function '{node.name}' returned nan values in its {k}th output.")


def _report(node):
    """In `detect_anomaly`: warn where the op was called whose gradient failed, and by the gradient of what."""
    text = f"Error detected in {node.name}. "
    caused = "caused the error"
    while node is not None:
        if node.anomaly is None:
            text += (
                "No forward pass information available. Enable detect anomaly during forward pass for more information."
            )
        else:
            text += f"Traceback of forward call that {caused}:\n{node.anomaly}"
        try:
            warnings.warn(text, stacklevel=6)
        except UserWarning:  # the error under way is the one to be raised
            print(text, file=sys.stderr)
        node = node.within
        if node is not None:
            text, caused = f"Previous calculation was induced by {node.name}. ", "induced the previous calculation"
