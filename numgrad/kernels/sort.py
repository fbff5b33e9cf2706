"""Sorting, selecting and searching along rows, contiguous; a unit is a row unless said otherwise. NaN counts as the
largest value, as in PyTorch.
"""

import numpy as np

from .jit import inlined, integer, kernel_template, pointer, shifted

_RUN = 16  # rows shorter than this, and runs that merging starts from, are sorted by insertion


@inlined
def _before(a, b):
    """Whether ``a`` comes strictly before ``b`` in rising order."""
    return a < b or (b != b and a == a)


@inlined
def _precedes(a, b, descending):
    return _before(b, a) if descending else _before(a, b)


@kernel_template
def sort_rows(operands, begin, end, *, T, DESCENDING):
    """Stable merge sort of every row, with the indices that sort it.

    Slots: x, values, indices, scratch for values, scratch for indices (all of the same size), n.
    """
    x = pointer(operands, 0, T)
    out_values = pointer(operands, 1, T)
    out_indices = pointer(operands, 2, np.int64)
    scratch_values = pointer(operands, 3, T)
    scratch_indices = pointer(operands, 4, np.int64)
    n = integer(operands, 5)
    for row in range(begin, end):
        source = shifted(x, row * n)
        values = shifted(out_values, row * n)
        indices = shifted(out_indices, row * n)
        other_values = shifted(scratch_values, row * n)
        other_indices = shifted(scratch_indices, row * n)
        for start in range(0, n, _RUN):
            for k in range(start, min(start + _RUN, n)):
                value = source[k]
                at = k
                while at > start and _precedes(value, values[at - 1], DESCENDING):
                    values[at] = values[at - 1]
                    indices[at] = indices[at - 1]
                    at -= 1
                values[at] = value
                indices[at] = k
        width = _RUN
        swapped = False
        while width < n:
            for start in range(0, n, 2 * width):
                middle = min(start + width, n)
                stop = min(start + 2 * width, n)
                left = start
                right = middle
                for k in range(start, stop):
                    if right >= stop or (left < middle and not _precedes(values[right], values[left], DESCENDING)):
                        other_values[k] = values[left]
                        other_indices[k] = indices[left]
                        left += 1
                    else:
                        other_values[k] = values[right]
                        other_indices[k] = indices[right]
                        right += 1
            values, other_values = other_values, values
            indices, other_indices = other_indices, indices
            swapped = not swapped
            width *= 2
        if swapped:
            for k in range(n):
                other_values[k] = values[k]
                other_indices[k] = indices[k]


@kernel_template
def top_of_rows(operands, begin, end, *, T, DESCENDING):
    """The first ``k`` in order of every row, by insertion: for small ``k``. Slots: x, values, indices, n, k."""
    x = pointer(operands, 0, T)
    out_values = pointer(operands, 1, T)
    out_indices = pointer(operands, 2, np.int64)
    n = integer(operands, 3)
    k = integer(operands, 4)
    for row in range(begin, end):
        source = shifted(x, row * n)
        values = shifted(out_values, row * k)
        indices = shifted(out_indices, row * k)
        held = 0
        for j in range(n):
            value = source[j]
            if held == k and not _precedes(value, values[k - 1], DESCENDING):
                continue
            at = min(held, k - 1)
            while at > 0 and _precedes(value, values[at - 1], DESCENDING):
                values[at] = values[at - 1]
                indices[at] = indices[at - 1]
                at -= 1
            values[at] = value
            indices[at] = j
            held = min(held + 1, k)


@kernel_template
def best_of_axis(operands, begin, end, *, T, MODE):
    """The largest (``MODE`` 0) or smallest (1) along the middle axis of (outer, n, inner), and where it is first met.

    Units: one of outer and a block of ``width`` columns. Slots: x, values, indices, n, inner, width.
    """
    x = pointer(operands, 0, T)
    out_values = pointer(operands, 1, T)
    out_indices = pointer(operands, 2, np.int64)
    n = integer(operands, 3)
    inner = integer(operands, 4)
    width = integer(operands, 5)
    blocks = (inner + width - 1) // width
    for unit in range(begin, end):
        first = unit % blocks * width
        columns = min(width, inner - first)
        source = shifted(x, unit // blocks * n * inner + first)
        values = shifted(out_values, unit // blocks * inner + first)
        indices = shifted(out_indices, unit // blocks * inner + first)
        for c in range(columns):
            values[c] = source[c]
            indices[c] = 0
        if inner == 1:
            best = source[0]
            at = 0
            for k in range(0, n, 256):
                part = shifted(source, k)
                length = min(256, n - k)
                found = 0  # whether anything in this part is better: a loop without branches
                if MODE == 0:
                    for j in range(length):
                        found |= not (part[j] <= best)
                else:
                    for j in range(length):
                        found |= not (part[j] >= best)
                if found and best == best:
                    for j in range(length):
                        value = part[j]
                        if _precedes(best, value, False) if MODE == 0 else (value < best or value != value):
                            best = value
                            at = k + j
                            if value != value:
                                break
            values[0] = best
            indices[0] = at
        else:
            for k in range(1, n):
                row = shifted(source, k * inner)
                for c in range(columns):
                    value = row[c]
                    held = values[c]
                    if MODE == 0:
                        better = value > held
                    else:
                        better = value < held
                    better = better or (value != value and held == held)
                    values[c] = value if better else held
                    indices[c] = k if better else indices[c]


@kernel_template
def rank_of_rows(operands, begin, end, *, T, KIND):
    """The value of a given rank in every row and an index of it, by quickselect.

    ``KIND`` 0: of rank ``rank``, NaN being largest; 1: the lower median, NaN if there is one; 2: that of the numbers.
    Slots: x, values, indices, scratch for values and for indices (rows), n, rank.
    """
    x = pointer(operands, 0, T)
    out_values = pointer(operands, 1, T)
    out_indices = pointer(operands, 2, np.int64)
    scratch_values = pointer(operands, 3, T)
    scratch_indices = pointer(operands, 4, np.int64)
    n = integer(operands, 5)
    rank = integer(operands, 6)
    for row in range(begin, end):
        source = shifted(x, row * n)
        values = shifted(scratch_values, row * n)
        indices = shifted(scratch_indices, row * n)
        numbers = 0
        behind = n
        for k in range(n):  # NaN to the end
            value = source[k]
            if value == value:
                values[numbers] = value
                indices[numbers] = k
                numbers += 1
            else:
                behind -= 1
                values[behind] = value
                indices[behind] = k
        wanted = rank if KIND == 0 else (numbers - 1) // 2
        if (KIND == 1 and numbers < n) or wanted >= numbers or numbers == 0:
            wanted = n - 1  # a NaN: the first one, as they lie in reverse
        else:
            low = 0
            high = numbers - 1
            while low < high:
                pivot = values[low + (high - low) // 2]
                i = low
                j = high
                while i <= j:
                    while values[i] < pivot:
                        i += 1
                    while values[j] > pivot:
                        j -= 1
                    if i <= j:
                        values[i], values[j] = values[j], values[i]
                        indices[i], indices[j] = indices[j], indices[i]
                        i += 1
                        j -= 1
                if wanted <= j:
                    high = j
                elif wanted >= i:
                    low = i
                else:
                    break
        out_values[row] = values[wanted]
        out_indices[row] = indices[wanted]


@kernel_template
def mode_of_rows(operands, begin, end, *, T):
    """The most frequent value of every sorted row, the smallest of equals, and the last index at which it stands.

    Slots: values, indices (sorted rows and what sorts them), out values, out indices, n.
    """
    x = pointer(operands, 0, T)
    indices = pointer(operands, 1, np.int64)
    out_values = pointer(operands, 2, T)
    out_indices = pointer(operands, 3, np.int64)
    n = integer(operands, 4)
    for row in range(begin, end):
        values = shifted(x, row * n)
        most = 0
        start = 0
        for k in range(1, n + 1):
            if k == n or values[k] != values[start]:
                if k - start > most:
                    most = k - start
                    out_values[row] = values[start]
                    out_indices[row] = indices[row * n + k - 1]
                start = k


@kernel_template
def order_rows(operands, begin, end, *, T):
    """The stable lexicographic order of the rows of a matrix; one unit for the whole. Slots: x, order, scratch, n,
    width."""
    x = pointer(operands, 0, T)
    order = pointer(operands, 1, np.int64)
    other = pointer(operands, 2, np.int64)
    n = integer(operands, 3)
    width = integer(operands, 4)
    for _ in range(begin, end):
        for k in range(n):
            order[k] = k
        run = 1
        swapped = False
        while run < n:
            for start in range(0, n, 2 * run):
                middle = min(start + run, n)
                stop = min(start + 2 * run, n)
                left = start
                right = middle
                for k in range(start, stop):
                    take_left = left < middle
                    if take_left and right < stop:
                        a = shifted(x, order[left] * width)
                        b = shifted(x, order[right] * width)
                        c = 0
                        while c < width and a[c] == b[c]:
                            c += 1
                        take_left = c == width or not _before(b[c], a[c])
                    if take_left:
                        other[k] = order[left]
                        left += 1
                    else:
                        other[k] = order[right]
                        right += 1
            order, other = other, order
            swapped = not swapped
            run *= 2
        if swapped:
            for k in range(n):
                other[k] = order[k]


@kernel_template
def mark_runs(operands, begin, end, *, T):
    """Numbers the runs of equal neighbours in an order of rows; one unit for the whole.

    Slots: x, order, inverse (the run of every row), starts (where each run begins in the order), count (of runs), n,
    width.
    """
    x = pointer(operands, 0, T)
    order = pointer(operands, 1, np.int64)
    inverse = pointer(operands, 2, np.int64)
    starts = pointer(operands, 3, np.int64)
    count = pointer(operands, 4, np.int64)
    n = integer(operands, 5)
    width = integer(operands, 6)
    for _ in range(begin, end):
        run = -1
        for k in range(n):
            fresh = k == 0
            if not fresh:
                a = shifted(x, order[k - 1] * width)
                b = shifted(x, order[k] * width)
                for c in range(width):
                    if a[c] != b[c]:
                        fresh = True
            if fresh:
                run += 1
                starts[run] = k
            inverse[order[k]] = run
        count[0] = run + 1


@kernel_template
def search_sorted(operands, begin, end, *, T, RIGHT):
    """Where every value would be inserted into its sorted row; units: values.

    Slots: sorted rows, values, order (indices that sort the rows, if ``sorted_by``), out, n, values in a row (0: there
    is one sorted row for all), sorted_by.
    """
    rows = pointer(operands, 0, T)
    values = pointer(operands, 1, T)
    order = pointer(operands, 2, np.int64)
    out = pointer(operands, 3, np.int64)
    n = integer(operands, 4)
    per_row = integer(operands, 5)
    sorted_by = integer(operands, 6)
    for k in range(begin, end):
        start = 0 if per_row == 0 else k // per_row * n
        value = values[k]
        low = 0
        high = n
        while low < high:
            middle = (low + high) // 2
            at = start + (order[start + middle] if sorted_by else middle)
            passed = rows[at] <= value if RIGHT else rows[at] < value
            if passed or (value != value):
                low = middle + 1
            else:
                high = middle
        out[k] = low


@kernel_template
def count_values(operands, begin, end, *, W):
    """``out[x[k]] += weights[k]``; one unit for the whole. Slots: x, weights (or one 1), out, n, step of the
    weights."""
    x = pointer(operands, 0, np.int64)
    weights = pointer(operands, 1, W)
    out = pointer(operands, 2, W)
    n = integer(operands, 3)
    step = integer(operands, 4)
    for _ in range(begin, end):
        for k in range(n):
            out[x[k]] += weights[k * step]


@kernel_template
def count_bins(operands, begin, end, *, T):
    """A histogram of equal bins; one unit for the whole. Slots: x, out (counts, of T), n, bins, low, high (floats)."""
    x = pointer(operands, 0, T)
    out = pointer(operands, 1, T)
    n = integer(operands, 2)
    bins = integer(operands, 3)
    limits = pointer(operands, 4, np.float64)
    low = limits[0]
    high = limits[1]
    for _ in range(begin, end):
        for k in range(n):
            value = np.float64(x[k])
            if value >= low and value <= high:
                at = np.int64((value - low) * bins / (high - low))
                out[max(0, min(at, bins - 1))] += T(1)  # a range of infinite width gives NaN, which is no place
