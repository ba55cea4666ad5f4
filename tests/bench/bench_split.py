"""What a split costs: one worker with a thread for each stage against stages of --stage-threads each (1: the same
threads in sum), with real daemons on the same cores, measured in turns while several sequences decode at a time.
Usage: bench_split.py [--model FILE] [--stages N] [--stage-threads N] [--sequences N] [--tokens N] [--pairs N];
environment as in tests/integration. Prints one JSON line: tokens a second of all sequences together, medians, and the
loss (1 - the median of the paired ratios) with its bounds."""
import argparse
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'integration'))
from mesh import MODEL, Mesh, check  # noqa: E402
from pairs import ratio, take_pairs  # noqa: E402

options = argparse.ArgumentParser()
options.add_argument('--model', default=MODEL)
options.add_argument('--stages', type=int, default=2)
options.add_argument('--stage-threads', type=int, default=1)
options.add_argument('--sequences', type=int, default=8)
options.add_argument('--tokens', type=int, default=64)
options.add_argument('--pairs', type=int, default=10)
options = options.parse_args()


def decode(mesh):
    """From the first token of any sequence to the last one of all."""
    answer = mesh.generate('--ids', '5,6,7', '--choices', options.sequences, '-n', options.tokens, '--ignore-eos')
    choices = answer['choices'] if options.sequences > 1 else [answer]
    made = sum(choice['usage']['completion_tokens'] for choice in choices)
    check(made == options.sequences * options.tokens, 'tokens are missing:', made)
    begin_ms = min(choice['timings']['ttft_ms'] for choice in choices)
    end_ms = max(choice['timings']['total_ms'] for choice in choices)
    return (made - 1) / (end_ms - begin_ms) * 1000


with Mesh(options.stages, model=options.model, options=('--threads', str(options.stage_threads))) as split, \
        Mesh(1, model=options.model, options=('--threads', str(options.stages))) as whole:
    rows = take_pairs(decode, split, whole, options.pairs)
middle, low, high = ratio(rows)
print(json.dumps({'pairs': options.pairs, 'stages': options.stages,
                  'stage_threads': options.stage_threads, 'sequences': options.sequences,
                  'split_tokens_per_s': round(statistics.median(r[0] for r in rows), 1),
                  'whole_tokens_per_s': round(statistics.median(r[1] for r in rows), 1),
                  'loss': round(1 - middle, 4), 'loss_low': round(1 - high, 4), 'loss_high': round(1 - low, 4)}))
