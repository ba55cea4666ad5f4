#!/usr/bin/env python3
"""Mean KL divergence of one model file from another over a text: what its weights and our 8-bit activations cost.

usage: bench_quality.py LAYERMESH REFERENCE.gguf TEXT MODEL.gguf...
The text is cut into windows of 512 tokens; the first half of each is context only. KV pages are f16, as in service.
Needs python3-numpy.
"""
import json
import subprocess
import sys
import tempfile

import numpy as np

WINDOW = 512


def tokens(program, model, text):
    with open(text, 'rb') as file:
        done = subprocess.run([program, 'tokenize', '--model', model, '--json', '--no-special'], stdin=file, check=True,
                              stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    return found['ids'] if isinstance(found, dict) else found


def logits(program, model, windows):
    """[windows, WINDOW, vocab] f32, in one mesh of one worker."""
    with tempfile.TemporaryDirectory() as folder:
        script = ' && '.join(f'{program} score --ids {",".join(map(str, w))} --all --logits {folder}/{i}'
                             for i, w in enumerate(windows))
        subprocess.run([program, 'local', '--model', model, '--workers', '1', '--', 'sh', '-c', script], check=True,
                       stdout=subprocess.DEVNULL)
        return [np.fromfile(f'{folder}/{i}', dtype=np.float32).reshape(WINDOW, -1) for i in range(len(windows))]


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def main():
    program, reference, text, *models = sys.argv[1:]
    ids = tokens(program, reference, text)
    windows = [ids[i:i + WINDOW] for i in range(0, len(ids) - WINDOW + 1, WINDOW)]
    if not windows or not models:
        sys.exit(__doc__)
    exact = [log_softmax(x[WINDOW // 2:]) for x in logits(program, reference, windows)]
    for model in models:
        got = [log_softmax(x[WINDOW // 2:]) for x in logits(program, model, windows)]
        divergence = np.concatenate([(np.exp(p) * (p - q)).sum(axis=-1) for p, q in zip(exact, got)])
        same = np.concatenate([p.argmax(-1) == q.argmax(-1) for p, q in zip(exact, got)])
        print(json.dumps({'model': model, 'windows': len(windows), 'mean_kl': float(divergence.mean()),
                          'standard_error': float(divergence.std() / len(divergence) ** 0.5),
                          'same_best': float(same.mean())}), flush=True)


main()
