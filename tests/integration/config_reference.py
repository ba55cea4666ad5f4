"""deploy/reference is what the programs say of themselves; deploy/examples are valid; what is wrong in a file is
refused with file and line."""
import os
import pathlib
import subprocess
import tempfile

from mesh import LAYERMESH, MODEL, SOURCE, check, passed, run

BIN = pathlib.Path(LAYERMESH).parent.parent
DAEMONS = ('coordinator', 'router', 'worker')
REQUIRED = {'coordinator': [], 'router': ['--model', MODEL, '--coordinator', 'ipc:///tmp/x'],
            'worker': ['--model', MODEL, '--coordinator', 'ipc:///tmp/x']}


def daemon(name, *arguments, code=0, env=None):
    done = subprocess.run([BIN / name / f'layermesh-{name}', *map(str, arguments)], env=env or {}, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(done.returncode == code, name, *arguments, 'ended with', done.returncode, 'not', code, done.stderr.decode())
    return done.stdout.decode(), done.stderr.decode()


for name in DAEMONS:
    reference = SOURCE / 'deploy/reference' / f'{name}.yaml'
    printed = daemon(name, '--print-config')[0]
    check(printed == reference.read_text(encoding='utf-8'),
          f'{reference} is not what the program says: write it anew with layermesh-{name} --print-config')
    check(daemon(name, '--config', reference, '--print-config')[0] == printed, name, 'reads its reference otherwise')
    daemon(name, '--config', reference, *REQUIRED[name], '--insecure', '--check')
    help_text = daemon(name, '--help')[0]
    for line in printed.splitlines():
        if line.startswith('# --'):
            option, *variable = line[2:].split(';')[0].split(', ')
            check(f' {option} ' in help_text and all(f'[{v}]' in help_text for v in variable), line, 'not in --help')

with tempfile.TemporaryDirectory() as folder:
    # The examples, with keys where they say.
    keys = pathlib.Path(folder, 'keys')
    run('keys', 'init', '--keys', keys)
    run('keys', 'issue', 'w-1', '--role', 'worker', '--keys', keys, '--out', pathlib.Path(folder, 'worker.key'))
    (keys / 'router.key').rename(pathlib.Path(folder, 'router.key'))
    for name in DAEMONS:
        example = (SOURCE / 'deploy/examples' / f'{name}.yaml').read_text(encoding='utf-8')
        check('/var/lib/layermesh/' in example, name)
        path = pathlib.Path(folder, f'{name}.yaml')
        path.write_text(example.replace('/var/lib/layermesh', folder), encoding='utf-8')
        daemon(name, '--config', path, '--check')
    path = pathlib.Path(folder, 'x.yaml')
    for text, place, word in (('max-running: 4\nmax-walking: 5\n', ':2:', 'max-walking'),
                              ('max-running: many\n', ':1:', 'many'), ('max-running: 9999\n', ':1:', '256'),
                              ('max-running: 4\n\nmax-running: 4\n', ':3:', 'max-running'),
                              ('listen: tcp://192.0.2.1:7500\n', '', '--key'), ('log-level: loud\n', '', 'loud'),
                              ('admin-listen: nowhere\n', '', 'nowhere')):
        path.write_text(text, encoding='utf-8')
        err = daemon('router', '--config', path, *REQUIRED['router'], '--check', code=2)[1]
        check(word in err and (place == '' or f'{path}{place}' in err), text, err)
        check(len(err.splitlines()) == 1, err)
    path.write_text('max-running: 4\nmax-waiting: 5\n', encoding='utf-8')
    printed = daemon('router', '--config', path, '--max-running', 6, '--print-config',
                     env={'LAYERMESH_ROUTER_MAX_RUNNING': '7', 'LAYERMESH_ROUTER_BATCH_TOKENS': '8'})[0]
    check('\nmax-running: 6\n' in printed and '\nmax-waiting: 5\n' in printed and '\nbatch-tokens: 8\n' in printed,
          printed)
passed()
