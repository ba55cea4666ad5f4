"""32 seeded requests of mixed lengths at once give what each gives alone."""
import json

from mesh import Mesh, check, comma, expected_cases, passed, without_timings

cases = expected_cases()


def arguments(i):
    case = cases[i % len(cases)]
    ids = case['prompt_ids'] * (1 + i % 3)
    options = ['--ids', comma(ids), '-n', 8 + 5 * (i % 9), '--temperature', 0.6 + 0.1 * (i % 5), '--seed', 1000 + i,
               '--ignore-eos']
    if i % 4 == 1:
        options += ['--top-k', 40]
    if i % 4 == 2:
        options += ['--top-p', 0.9, '--repeat-penalty', 1.1]
    if i % 4 == 3:
        options += ['--min-p', 0.05, '--frequency-penalty', 0.3, '--top-logprobs', 3]
    return options


with Mesh(3) as mesh:
    children = [mesh.start('generate', '--json', *arguments(i)) for i in range(32)]
    together = []
    for i, child in enumerate(children):
        out, err = child.communicate(timeout=240)
        check(child.returncode == 0, 'request', i, err.decode())
        together.append(without_timings(json.loads(out)))
    for i in range(32):
        alone = without_timings(mesh.generate(*arguments(i)))
        check(together[i] == alone, 'request', i, '\ntogether', together[i], '\nalone   ', alone)
        check(len(alone['ids']) == 8 + 5 * (i % 9), 'request', i, 'length')
    check(len({json.dumps(t['ids']) for t in together}) > 16, 'seeds make no difference')
    mesh.wait_for(lambda s: all(w['kv_pages']['used'] == 0 for w in s['workers']), 10, 'pages are not freed')
passed()
