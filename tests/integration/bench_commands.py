"""What `layermesh bench` prints as JSON, with peers that are made up; no speed is judged."""
import json
import pathlib
import tempfile

from mesh import MODEL, check, passed, run

BENCH = """#!/bin/sh
echo '[{"avg_ts":5}]'
"""
BATCHED = """#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in -npp) pp=$2 ;; -ntg) tg=$2 ;; -npl) pl=$2 ;; esac
    shift
done
echo
echo "{\\"pp\\":$pp,\\"tg\\":$tg,\\"pl\\":$pl,\\"speed_tg\\":$pl}"
"""


def bench(*arguments):
    return json.loads(run('bench', *arguments, '--json')[0])


def check_row(row, peer, reads):
    check(0 < row['low'] <= row['ratio'] <= row['high'], row)
    check(row['ours'] > 0 and row['peer'] == peer, row)
    check(not reads or 0 < row['gigabytes_per_s'] and 0 < row['of_read_bandwidth'], row)


with tempfile.TemporaryDirectory() as folder:
    peer, batched, packs = (pathlib.Path(folder, name) for name in ('bench', 'batched', 'packs'))
    for path, text in ((peer, BENCH), (batched, BATCHED)):
        path.write_text(text, encoding='utf-8')
        path.chmod(0o755)
    compare = ('compare', '--model', MODEL, '--threads', 1, '--pairs', 2, '--prompt', 8, '--steps', 2)
    both = bench(*compare, '--peer-bench', peer, '--peer-batched', batched, '--batches', '2,3', '--depth', 5)
    check_row(both['prefill'], 5, False)
    check_row(both['decode'], 5, True)
    check([row['batch'] for row in both['batches']] == [2, 3], both)
    for row in both['batches']:
        check_row(row, row['batch'], True)
    check(both['depth'] == 5 and both['read_gigabytes_per_s'] > 0, both)
    decode = bench(*compare, '--peer-bench', peer, '--phases', 'decode')
    check('decode' in decode and 'prefill' not in decode and 'batches' not in decode, decode)
    batched.write_text('#!/bin/sh\n', encoding='utf-8')
    err = run('bench', *compare, '--peer-batched', batched, code=1)[1]
    check(b'0 rows of JSON' in err, err)
    err = run('bench', *compare, '--peer-batched', folder + '/none', code=1)[1]
    check(b'/none' in err, err)

    load = bench('load', '--model', MODEL, '--pack-cache', packs, '--pairs', 2)
    check(0 < load['low'] <= load['ratio'] <= load['high'], load)
    check(load['pack_seconds'] > 0 and load['cached_seconds'] > 0 and any(packs.iterdir()), load)

    stage = bench('stage', '--model', MODEL, '--threads', 1, '--prompt', 8, '--steps', 2, '--batches', '1,2',
                  '--depths', '0,9', '--pack-cache', packs, '--map')
    check([(row['what'], row['batch'], row['depth']) for row in stage['rows']] ==
          [(what, batch, depth) for depth in (0, 9) for what, batch in (('prefill', 1), ('decode', 1), ('decode', 2))],
          stage)
    for row in stage['rows']:
        check(row['tokens_per_s'] > 0 and (row['what'] == 'prefill' or row['gigabytes_per_s'] > 0), row)
    check(stage['load_seconds'] > 0, stage)

kernels = bench('kernels', '--types', 'q8_0,Q4_K', '--tokens', '1,3', '--threads', 2, '--ms', 8, '--rows', 64,
                '--columns', 256)
check([(row['type'], row['tokens']) for row in kernels['products']] ==
      [('Q8_0', 1), ('Q8_0', 3), ('Q4_K', 1), ('Q4_K', 3)], kernels)
check(kernels['barrier_ns'] > 0, kernels)
passed()
