"""Health and readiness as they come and go: /readyz of a router is a token that really went round."""
import os
import signal
import time

from failover_mesh import kill, stage_holder
from mesh import check, passed, run
from observed_mesh import ObservedMesh

DAEMONS = ('coordinator', 'router', 'w-1', 'w-2')


def wait_ready(mesh, name, status, words, seconds=30):
    end = time.monotonic() + seconds
    while True:
        answer = mesh.get(name, '/readyz')
        if answer[0] == status and words in answer[1]:
            return
        check(time.monotonic() < end, name, 'is not', status, words, 'but', answer)
        time.sleep(0.1)


with ObservedMesh(memory='14MiB') as mesh:
    # Nobody has asked anything: the router's own token goes round.
    wait_ready(mesh, 'router', 200, 'a token went round')
    for name in DAEMONS:
        check(mesh.healthcheck(name) == (0, 'ok\n'), name, mesh.healthcheck(name))
        status, text = mesh.healthcheck(name, '--ready')
        check(status == 0 and len(text.splitlines()) == 1, name, status, text)
    check(mesh.numbers('router')['layermesh_canaries_total{outcome="ok"}'] >= 1, 'no canary')
    check(sum(v for k, v in mesh.numbers('router').items() if k.startswith('layermesh_requests_total')) == 0,
          'the canary is counted as a request')
    check(mesh.get('router', '/nothing')[0] == 404, 'an unknown path')

    # A stage that hangs, and the other one has no room for its layers: nothing can go round.
    victim = stage_holder(mesh, 1)
    os.kill(victim['pid'], signal.SIGSTOP)
    wait_ready(mesh, 'router', 503, '')
    status, text = mesh.healthcheck('router', '--ready')
    check(status == 1 and '503' in text and len(text.splitlines()) == 1, status, text)
    check(mesh.healthcheck('router')[0] == 0, 'a router that waits is alive')
    # The coordinator is there to be joined, and says what it waits for.
    wait_ready(mesh, 'coordinator', 200, 'waiting: ')
    check(mesh.numbers('coordinator')['layermesh_plan_in_force'] == 0, 'no plan can be in force')
    os.kill(victim['pid'], signal.SIGCONT)
    wait_ready(mesh, 'router', 200, 'a token went round')

    # Lost for good.
    kill(stage_holder(mesh, 0))
    wait_ready(mesh, 'router', 503, 'unavailable')
    check(mesh.numbers('coordinator')['layermesh_peers_lost_total{role="worker"}'] >= 2, 'losses are not counted')

    # What a probe says when nobody is there, or somebody else.
    address = mesh.admin('router')
    mesh.processes['router'].kill()
    mesh.processes['router'].wait()
    err = run('healthcheck', '--admin', address, code=1)[1]
    check(b'refused' in err.lower(), err)
    for arguments in ([], ['--admin', 'nonsense'], ['ftp://127.0.0.1:1/'], ['http://127.0.0.1/'],
                      ['http://127.0.0.1:1/a b'], ['a', 'b']):
        run('healthcheck', *arguments, code=2)
    run('healthcheck', f'http://{mesh.admin("coordinator")}/readyz')
    run('healthcheck', f'http://{mesh.admin("coordinator")}/nothing', code=1)

    for name in ('coordinator', 'router'):
        for event in mesh.log(name):
            check({'time', 'level', 'program', 'pid', 'message'} <= set(event), event)
    check(any(event.get('epoch') for event in mesh.log('router')), 'no event names its epoch')
passed()
