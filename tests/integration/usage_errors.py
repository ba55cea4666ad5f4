"""Exit codes and reasons for what is typed wrong; tokenize and detokenize."""
import json
import os
import pathlib
import tempfile

from mesh import MODEL, check, comma, expected_cases, passed, run

os.environ.pop('LAYERMESH_ROUTER', None)
os.environ.pop('LAYERMESH_COORDINATOR', None)
NOBODY = ['--router', 'ipc:///nonexistent/layermesh']

for arguments in ([], ['nonsense'], ['generate'], ['generate', '-p', 'x'], ['generate', '-p'],
                  ['generate', '-p', 'x', '--ids', '1', *NOBODY], ['generate', '--ids', '', *NOBODY],
                  ['generate', '--ids', '1,,2', *NOBODY], ['generate', '--ids', '1,-2', *NOBODY],
                  ['generate', '-p', 'x', '-n', '-1', *NOBODY], ['generate', '-p', 'x', '--temperature', 'hot', *NOBODY],
                  ['generate', '-p', 'x', '--top-p', '1.5', *NOBODY], ['generate', '-p', 'x', '--unknown', *NOBODY],
                  ['generate', '-p', 'x', '--logit-bias', '1', *NOBODY], ['generate', '-p', 'x', 'y', *NOBODY],
                  ['generate', '-p', 'x', '--stop', '', *NOBODY],
                  ['score', *NOBODY], ['score', '--ids', '1', '--all', *NOBODY], ['status'], ['status', 'now'], ['plan'],
                  ['tokenize'], ['detokenize', '--model', MODEL], ['detokenize', '--model', MODEL, '--ids', 'x'],
                  ['local', '--model', MODEL, '--workers', '2'], ['local', '--workers', '2', '--', 'true'],
                  ['local', '--model', MODEL, '--', 'true'], ['local', '--model', MODEL, '--workers', '65', '--', 'true'],
                  ['local', '--model', MODEL, '--workers', '0', '--', 'true'],
                  ['synth'], ['synth', '--context', '0', 'x.gguf'], ['synth', '--shape', 'none', 'x.gguf'],
                  ['bench'], ['bench', 'nonsense'], ['bench', 'kernels', '--tokens', '0'], ['bench', 'stage'],
                  ['bench', 'stage', '--model', MODEL, '--batches', '0'], ['bench', 'stage', '--model', MODEL, '--map'],
                  ['bench', 'load', '--model', MODEL], ['bench', 'load', '--pack-cache', 'x'],
                  ['bench', 'compare', '--model', MODEL], ['bench', 'compare', '--peer-bench', 'x'],
                  ['bench', 'compare', '--model', MODEL, '--peer-bench', 'x', '--phases', 'decode,batches'],
                  ['bench', 'compare', '--model', MODEL, '--peer-batched', 'x', '--phases', 'decode'],
                  ['bench', 'compare', '--model', MODEL, '--peer-batched', 'x', '--phases', 'batch'],
                  ['bench', 'compare', '--model', MODEL, '--peer-batched', 'x', '--phases', ''],
                  ['bench', 'compare', '--model', MODEL, '--peer-batched', 'x', '--batches', '4,65'],
                  ['bench', 'compare', '--model', MODEL, '--peer-batched', 'x', '--pairs', '0']):
    out, err = run(*arguments, code=2)
    check(out == b'' and err != b'', arguments, out, err)

err = run('generate', '-p', 'x', *['--stop', 'x'] * 65, *NOBODY, code=2)[1]
check(b'64 times' in err, err)

for command in ('local', 'generate', 'score', 'tokenize', 'detokenize', 'status', 'plan', 'version'):
    check(f'layermesh {command}'.encode() in run(command, '--help')[0], command, '--help')
check(run('version')[0].startswith(b'layermesh '), 'version')

with tempfile.TemporaryDirectory() as folder:
    bad = pathlib.Path(folder, 'bad.json')
    for text, reason in (('[{"role":"user"', b'line 1'), ('[]', b'empty'), ('[{"role":"cat","content":""}]', b'role')):
        bad.write_text(text, encoding='utf-8')
        err = run('generate', '--chat', bad, *NOBODY, code=1)[1]
        check(reason in err and bytes(bad) in err, err)
    cut = pathlib.Path(folder, 'cut.gguf')
    cut.write_bytes(pathlib.Path(MODEL).read_bytes()[:5000])
    check(bytes(cut) in run('tokenize', '--model', cut, code=1)[1], 'a cut model')
    check(b'cut.gguf' in run('local', '--model', cut, '--workers', '1', '--', 'true', code=1)[1], 'a cut model')
    score = pathlib.Path(folder, 'logits')
    run('score', '--ids', '1,2', '--logits', score, *NOBODY, code=1)
    check(sorted(os.listdir(folder)) == ['bad.json', 'cut.gguf'], os.listdir(folder))
check(b'nonexistent' in run('generate', '-p', 'x', *NOBODY, code=1)[1], 'no router')
check(b'nonexistent' in run('status', '--coordinator', NOBODY[1], '--timeout-ms', '300', code=1)[1], 'no coordinator')
check(b'--insecure' in run('generate', '-p', 'x', '--router', 'tcp://192.0.2.1:5501', code=1)[1], 'plain TCP')

for case in expected_cases():
    ids = json.loads(run('tokenize', '--model', MODEL, '--no-special', '--json', stdin=case['prompt'].encode())[0])['ids']
    check(ids == case['prompt_ids'], ids, 'not', case['prompt_ids'])
    plain = run('tokenize', '--model', MODEL, '--no-special', stdin=case['prompt'].encode())[0]
    check([int(w) for w in plain.split()] == ids, plain)
    text = run('detokenize', '--model', MODEL, '--ids', comma(case['ids']))[0]
    check(text.decode() == case['text'], text)
for data in (b'', b'\xff\xfe\x00half \xe6\x88', 'é 我 🦙'.encode()):
    ids = json.loads(run('tokenize', '--model', MODEL, '--no-special', '--json', stdin=data)[0])['ids']
    check((run('detokenize', '--model', MODEL, '--ids', comma(ids))[0] if ids else b'') == data, data, ids)
run('detokenize', '--model', MODEL, '--ids', '4096', code=1)
passed()
