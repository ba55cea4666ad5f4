"""Two things measured in turns, as common/bench/bench_pairs.h does it, for benches that drive meshes."""
import random
import statistics


def take_pairs(measure, first, second, count):
    """[(measure(first), measure(second)), ...], the order turned round from pair to pair; both are warmed before."""
    rows = []
    for thing in (first, second):
        measure(thing)
    for i in range(count):
        order = (first, second) if i % 2 == 0 else (second, first)
        values = {id(thing): measure(thing) for thing in order}
        rows.append((values[id(first)], values[id(second)]))
    return rows


def ratio(rows):
    """The median of first / second, and bounds that hold it with 95 % (percentile bootstrap, fixed seed)."""
    ratios = [first / second for first, second in rows]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(10000))
    return statistics.median(ratios), medians[250], medians[-251]
