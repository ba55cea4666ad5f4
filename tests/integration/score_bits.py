"""Scores are the same bits on any number of stages, and agree with themselves."""
import json
import math
import pathlib
import struct
import tempfile

from mesh import Mesh, check, comma, expected_cases, passed

case = expected_cases()[1]
ids = (case['prompt_ids'] + case['ids'])[:200]


def read_rows(path, vocab_size):
    data = path.read_bytes()
    check(len(data) % (4 * vocab_size) == 0, path, 'has', len(data), 'bytes')
    values = struct.unpack(f'<{len(data) // 4}f', data)
    return [values[i:i + vocab_size] for i in range(0, len(values), vocab_size)]


def logprob(row, token):
    top = max(row)
    return row[token] - top - math.log(math.fsum(math.exp(x - top) for x in row))


first_bytes = first_json = None
with tempfile.TemporaryDirectory() as folder:
    every, last = pathlib.Path(folder, 'all.bin'), pathlib.Path(folder, 'last.bin')
    for stage_count in (1, 2, 3, 12):
        with Mesh(stage_count) as mesh:
            out = mesh.run('score', '--ids', comma(ids), '--all', '--logits', every, '--json')[0]
            mesh.run('score', '--ids', comma(ids), '--logits', last)
            if first_bytes is None:
                first_bytes, first_json = every.read_bytes(), out
                rows = read_rows(every, 4096)
                check(len(rows) == len(ids), len(rows), 'rows')
                answer = json.loads(out)
                check(set(answer) == {'ids', 'logprobs'} and answer['ids'] == ids, answer)
                check(answer['logprobs'][0] is None and len(answer['logprobs']) == len(ids), answer)
                for i in range(1, len(ids)):
                    wanted = logprob(rows[i - 1], ids[i])
                    check(abs(answer['logprobs'][i] - wanted) < 1e-4, 'position', i, answer['logprobs'][i], wanted)
                made = mesh.generate('--ids', comma(ids[:50]), '-n', 1)
                check(made['ids'][0] == max(range(4096), key=lambda t: rows[49][t]), 'greedy is not the best logit')
                check(abs(made['logprobs'][0] - logprob(rows[49], made['ids'][0])) < 1e-4, made)
            check(every.read_bytes() == first_bytes, stage_count, 'stages give other logits than one')
            check(out == first_json, stage_count, 'stages give other log-probabilities than one')
            check(last.read_bytes() == first_bytes[-4096 * 4:], 'the last row alone differs')
            check(sorted(p.name for p in pathlib.Path(folder).iterdir()) == ['all.bin', 'last.bin'], 'left-overs')
passed()
