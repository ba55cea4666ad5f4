"""Attacks on the sockets of a mesh with keys, while an answer is being written: each is refused and
counted by its reason, no daemon ends, its memory stays bounded, and the answer is the undisturbed one."""
import re

from mesh import check, passed
from secure_mesh import SecureMesh, wait_until

STORY = ['-p', 'Tell me a story about a fox.', '-n', 400, '--ignore-eos']
GROWTH_KIB = 160 * 1024


def data_endpoint(mesh, name):
    return re.findall(r'(?:endpoint|data)=(tcp://\S+)', [line for line in mesh.log(name).splitlines()
                                                          if ' listening ' in line][-1])[-1]


with SecureMesh(2) as mesh:
    expected = mesh.run('generate', *STORY)[0]
    admin, app, worker = (f'{mesh.keys}/{name}.key' for name in ('admin', 'app', 'w-1'))
    spare = mesh.issue('hostile', 'worker')
    ended = mesh.issue('ended', 'worker')
    mesh.keys_run('revoke', 'ended')
    coordinator = (mesh.coordinator, '--server', 'coordinator')
    router = (mesh.router, '--server', 'router')
    hop = data_endpoint(mesh, 'w-2')
    hop_key = re.search(r'^public (\S+)$', open(f'{mesh.keys}/w-2.key').read(), re.M)[1]
    data = (hop, '--server', hop_key)
    before = {name: mesh.resident_kib(name) for name in mesh.processes}

    def attacked(daemon, reason, mode, target, *options, least=1):
        """The attack, and that the daemon counted at least so many refusals for that reason."""
        count = mesh.refusals(daemon)[reason]
        child = mesh.start('generate', *STORY)
        came = mesh.attack(mode, *target, *options)
        out, err = child.communicate(timeout=120)
        check(child.returncode == 0 and out == expected, mode, 'disturbed an answer', err.decode())
        wait_until(lambda: mesh.refusals(daemon)[reason] >= count + least, 10,
                   f'{daemon} did not count {mode} as {reason}: {mesh.refusals(daemon)}')
        for name, process in mesh.processes.items():
            check(process.poll() is None, name, 'ended after', mode, '\n', mesh.log(name))
            check(mesh.resident_kib(name) - before[name] < GROWTH_KIB, name, 'grew from', before[name], 'to',
                  mesh.resident_kib(name), 'KiB by', mode)
        return came

    # ---- another's place in the plan; first, so that the numbers of micro-batches are small ----
    status = mesh.status()
    epoch = status['plan_epoch']
    first = mesh.holders(status)[0]['id']
    back = (data_endpoint(mesh, 'router'), '--server', 'router')
    forged = ('--epoch', epoch, '--count', 2500, '--seconds', 3)
    attacked('router', 'hop', 'hop', back, '--key', spare, *forged, least=300)
    attacked('router', 'hop', 'hop', back, '--key', f'{mesh.keys}/{first}.key', '--name', 'result', *forged, least=300)
    attacked('w-2', 'hop', 'hop', data, '--key', spare, *forged, least=300)
    check(mesh.status()['plan_epoch'] == epoch, 'forged messages made another plan')
    for daemon, names in (('router', {'hostile', first}), ('w-2', {'hostile'})):
        lines = [line for line in mesh.log(daemon).splitlines() if ' reason=hop ' in line]
        check(len(lines) == len(names) and {re.search(r' name=(\S+)', line)[1] for line in lines} == names,
              daemon, 'logged other than once for each peer', lines)

    # ---- on the way in ----
    for daemon, target in (('coordinator', coordinator), ('router', router), ('w-2', data)):
        came = attacked(daemon, 'handshake', 'null', target, '--key', app)
        check(came['let_in'] == 0, 'let in without encryption', came)
        came = attacked(daemon, 'key', 'knock', target, '--key', app, '--stranger')
        check(came['let_in'] == 0 and came['turned_away'] > 0, 'a stranger was let in', came)
        attacked(daemon, 'handshake', 'raw', target, '--key', app, '--count', 200, '--seconds', 20, '--seed', 5, least=20)
    came = attacked('coordinator', 'key', 'knock', coordinator, '--key', ended)
    check(came['let_in'] == 0, 'a revoked key was let in', came)
    came = attacked('coordinator', 'key', 'knock', coordinator, '--key', app)
    check(came['let_in'] == 0, 'a client was let in at the coordinator', came)
    came = attacked('w-2', 'key', 'knock', data, '--key', admin)
    check(came['let_in'] == 0, 'an admin was let in at a worker', came)
    came = attacked('router', 'key', 'knock', router, '--key', spare)
    check(came['let_in'] == 0, 'a worker was let in at the clients\' socket', came)
    came = attacked('router', 'half_open', 'half-open', router, '--key', app, '--count', 300, '--seconds', 20, least=100)
    check(came['cut_off'] == 300, 'unfinished handshakes are kept', came)

    # ---- by who was let in ----
    came = attacked('coordinator', 'name', 'steal', coordinator, '--key', spare, '--name', 'w-1', least=4)
    check(came['denied'] >= 4, 'a stolen name was not refused', came)
    came = attacked('coordinator', 'role', 'roles', coordinator, '--key', spare, least=10)
    came = attacked('coordinator', 'role', 'roles', coordinator, '--key', admin, least=10)
    came = attacked('router', 'role', 'roles', router, '--key', app, least=10)
    came = attacked('w-2', 'role', 'roles', data, '--key', spare, least=10)
    check(mesh.refusals('w-2')['name'] >= 1, 'a hello under another name was not refused')
    for daemon, target, key in (('coordinator', coordinator, spare), ('router', router, app), ('w-2', data, spare)):
        attacked(daemon, 'frames', 'frames', target, '--key', key)
    came = attacked('coordinator', 'frames', 'frames', coordinator, '--key', spare)
    check(came['errors'] >= 1, 'nobody was told', came)
    for target, key in ((coordinator, spare), (router, app)):
        child = mesh.start('generate', *STORY)
        came = mesh.attack('oversize', *target, '--key', key)
        check(came['cut_off'] >= 1, 'a frame over the limit was taken', came)
        check(child.communicate(timeout=120)[0] == expected, 'an oversize frame disturbed an answer')
    came = attacked('coordinator', 'backlog', 'endless', coordinator, '--key', spare, '--count', 4000, '--seconds', 20)
    check(came['cut_off'] >= 1, 'a message without end was taken', came)
    came = attacked('router', 'backlog', 'endless', router, '--key', app, '--count', 4000, '--seconds', 20)
    attacked('coordinator', 'rate', 'flood', coordinator, '--key', spare, '--seconds', 4, least=100)
    attacked('router', 'rate', 'flood', router, '--key', app, '--seconds', 4, least=100)

    # Who asks and does not read is no trouble to others.
    for target, key, name in ((router, app, 'app'), (coordinator, admin, 'admin')):
        child = mesh.start('generate', *STORY)
        mesh.attack('slow', *target, '--key', key, '--name', name, '--seconds', 4)
        check(child.communicate(timeout=120)[0] == expected, 'a slow reader disturbed an answer')

    # ---- a key that ends while it is in use ----
    mesh.start_worker('hostile')
    mesh.wait_for(lambda s: any(w['id'] == 'hostile' and w['state'] in ('spare', 'ready') for w in s['workers']), 20,
                  'the third worker does not register')
    mesh.keys_run('revoke', 'hostile')
    mesh.wait_for(lambda s: any(w['id'] == 'hostile' and w['state'] == 'lost' for w in s['workers']), 10,
                  'a revoked worker is still a member')
    wait_until(lambda: mesh.processes['hostile'].poll() is not None, 20, 'a revoked worker goes on')
    mesh.processes.pop('hostile')
    talking = mesh.attack('slow', *router, '--key', app, '--seconds', 6, background=True)
    mesh.keys_run('revoke', 'app')
    wait_until(lambda: mesh.refusals('router')['revoked'] > 0, 20, 'a revoked client is still heard')
    out, _ = talking.communicate(timeout=60)
    check(b'"let_in": 1,' in out, 'the client was not connected before its key ended', out)
    check(mesh.run('generate', *STORY)[0] == expected, 'another answer at the end')

    # ---- while they end: the door stays shut to the last ----
    knocking = [mesh.attack('knock', *target, '--key', admin, '--stranger', '--seconds', 8, '--count', 1000000,
                            background=True) for target in (coordinator, router, data)]
    for name in ('coordinator', 'router', 'w-2'):
        count = mesh.refusals(name)['key']
        wait_until(lambda: mesh.refusals(name)['key'] > count, 20, f'nobody knocks at {name}')
    for process in mesh.processes.values():
        process.terminate()
    for name, process in mesh.processes.items():
        check(process.wait(timeout=60) == 0, name, 'ended with', process.returncode)
    for process in knocking:
        out, _ = process.communicate(timeout=60)
        check(b'"let_in": 0,' in out, 'a stranger was let in during the end', out)
passed()
