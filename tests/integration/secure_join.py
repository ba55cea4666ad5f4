"""A new machine joins a running mesh with one line and gets layers while nothing is restarted. A token
works once: of two machines that race for it one wins, a replay and an expired one let nobody in."""
import json
import os
import pathlib

from mesh import check, passed
from secure_mesh import SecureMesh, wait_until

PROMPT = ['-p', 'Tell me a story about a fox.', '-n', 200, '--ignore-eos']


def token(mesh, *options):
    line = mesh.keys_run('token', '--role', 'worker', '--coordinator', mesh.coordinator, *options)
    check(len(line.split()) == 1 and line.startswith('lmj1.'), 'no single line:', line)
    return line


def join(mesh, name, line):
    mesh.start_worker(name, '--join', line, '--key', f'{mesh.folder.name}/{name}/own.key')


def ended(mesh, name):
    return wait_until(lambda: mesh.processes[name].poll() is not None and mesh.processes.pop(name), 30,
                      f'{name} does not end')


def is_there(status, name):
    return any(w['id'] == name and w['state'] in ('spare', 'loading', 'ready') for w in status['workers'])


# Two stages wanted; one worker is enough for the first plan, so the newcomer is what makes the second.
with SecureMesh(1, stages=1, options={'coordinator': ('--stages', 0, '--cooldown-ms', 0, '--min-gain', 0)}) as mesh:
    pids = {name: process.pid for name, process in mesh.processes.items()}
    epoch = mesh.status()['plan_epoch']
    expected = mesh.run('generate', *PROMPT)[0]
    child = mesh.start('generate', *PROMPT)

    line = token(mesh)
    join(mesh, 'w-2', line)
    status = mesh.wait_for(lambda s: is_there(s, 'w-2'), 30, 'the newcomer does not register')
    mesh.wait_for(lambda s: any(w['id'] == 'w-2' for w in mesh.holders(s)), 30, 'the newcomer gets no layers')
    check(mesh.status()['plan_epoch'] > epoch, 'no new plan was made')
    out, err = child.communicate(timeout=60)
    check(child.returncode == 0 and out == expected, 'the answer in progress is another', err)
    check(mesh.run('generate', *PROMPT)[0] == expected, 'another answer with the newcomer')
    for name, pid in pids.items():
        check(mesh.processes[name].poll() is None and mesh.processes[name].pid == pid, name, 'was restarted')
    own = pathlib.Path(f'{mesh.folder.name}/w-2/own.key')
    check(own.stat().st_mode & 0o777 == 0o600, 'the key may be read by others')
    check(os.listdir(own.parent) == ['own.key'], os.listdir(own.parent))

    # Later starts need no token, and no coordinator is named either.
    mesh.processes['w-2'].terminate()
    check(mesh.processes.pop('w-2').wait(timeout=30) == 0, 'w-2 did not end well')
    mesh.start_worker('w-2', '--key', own)
    mesh.wait_for(lambda s: any(w['id'] == 'w-2' for w in mesh.holders(s)), 30, 'w-2 does not come back')

    # Replay of a used token.
    join(mesh, 'w-3', line)
    check(ended(mesh, 'w-3').returncode == 1, 'a used token let w-3 start')
    check('used already' in mesh.log('w-3'), mesh.log('w-3'))
    check(' reason=token ' in mesh.log('coordinator'), 'the replay was not counted')

    # Two machines, one token.
    race = token(mesh)
    for name in ('r-1', 'r-2'):
        join(mesh, name, race)
    wait_until(lambda: any(mesh.processes[n].poll() is not None for n in ('r-1', 'r-2')), 30, 'neither loses')
    lost = [n for n in ('r-1', 'r-2') if mesh.processes[n].poll() is not None]
    check(len(lost) == 1, 'both lost:', lost)
    check('used already' in mesh.log(lost[0]), mesh.log(lost[0]))
    mesh.processes.pop(lost[0])
    won = 'r-1' if lost == ['r-2'] else 'r-2'
    mesh.wait_for(lambda s: is_there(s, won), 30, 'the winner does not register')
    check(not is_there(mesh.status(), lost[0]), 'the loser registered')

    # Nobody takes the name of a worker that has a key, and an expired token opens nothing.
    expired = token(mesh, '--ttl', '1s')
    wait_until(lambda: any(k['state'] == 'expired' for k in json.loads(mesh.keys_run('list', '--json'))['keys']), 5,
               'the token does not expire')
    join(mesh, 'w-5', expired)
    check(ended(mesh, 'w-5').returncode == 1, 'an expired token let w-5 start')
    mesh.start_worker('thief', '--join', token(mesh), '--node-id', 'w-2', '--key', f'{mesh.folder.name}/thief/own.key')
    check(ended(mesh, 'thief').returncode == 1, 'a token gave away the name w-2')
    check('has a key already' in mesh.log('thief'), mesh.log('thief'))
    check(mesh.run('generate', *PROMPT)[0] == expected, 'another answer at the end')
passed()
