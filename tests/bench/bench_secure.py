"""What encryption costs: the same mesh on loopback TCP with keys and with --insecure, measured in turns.
Usage: bench_secure.py [--pairs N] [--model FILE] [--workers N]; environment as in tests/integration.
Prints one JSON line: tokens a second of decode and prefill, medians, and the cost (1 - the median of the
paired ratios) with its 95 % bounds."""
import argparse
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'integration'))
from mesh import MODEL, comma  # noqa: E402
from pairs import ratio, take_pairs  # noqa: E402
from secure_mesh import SecureMesh  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument('--pairs', type=int, default=8)
options.add_argument('--model', default=MODEL)
options.add_argument('--workers', type=int, default=2)
options.add_argument('--tokens', type=int, default=400)
options = options.parse_args()
LONG = comma(5 + i % 100 for i in range(500))


def decode(mesh):
    answer = mesh.generate('--ids', '5,6,7', '-n', options.tokens, '--ignore-eos')
    timings = answer['timings']
    return (options.tokens - 1) / (timings['total_ms'] - timings['ttft_ms']) * 1000


def prefill(mesh):
    answer = mesh.generate('--ids', LONG, '-n', 1, '--ignore-eos')
    return answer['usage']['prompt_tokens'] / answer['timings']['ttft_ms'] * 1000


with SecureMesh(options.workers, model=options.model) as secure, \
        SecureMesh(options.workers, insecure=True, model=options.model) as plain:
    result = {'pairs': options.pairs, 'workers': options.workers}
    for name, measure in (('decode', decode), ('prefill', prefill)):
        rows = take_pairs(measure, secure, plain, options.pairs)
        middle, low, high = ratio(rows)
        result[name] = {'encrypted_tokens_per_s': round(statistics.median(r[0] for r in rows), 1),
                        'plain_tokens_per_s': round(statistics.median(r[1] for r in rows), 1),
                        'cost': round(1 - middle, 4), 'cost_low': round(1 - high, 4), 'cost_high': round(1 - low, 4)}
    print(json.dumps(result))
