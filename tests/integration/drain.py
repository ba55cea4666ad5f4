"""SIGTERM to each daemon while requests run: new ones are refused, running ones end well, the status is 0, within
the grace period; what cannot end is told so when that is over."""
import os
import signal
import time

from failover_mesh import GREEDY, SHORT, begin, stage_holder
from mesh import check, passed
from observed_mesh import ObservedMesh


def end(mesh, name, seconds=20):
    check(mesh.processes[name].wait(timeout=seconds) == 0, name, 'ended with', mesh.processes[name].returncode)


with ObservedMesh(memory='1GiB', workers=3, router_options=('--grace-s', 30)) as mesh:
    undisturbed = mesh.run('generate', *SHORT, *GREEDY)[0]
    # The coordinator: the mesh serves on without it.
    child = mesh.start('generate', *SHORT, *GREEDY)
    begun = begin(child, 1)
    mesh.processes['coordinator'].send_signal(signal.SIGTERM)
    end(mesh, 'coordinator')
    out, err = child.communicate(timeout=60)
    check(child.returncode == 0 and begun + out == undisturbed, 'without a coordinator', child.returncode, err)
    mesh.start_coordinator()
    mesh.wait_for(lambda s: sum(w['state'] == 'ready' for w in s['workers']) == 2, 30, 'nobody registered again')

    # A worker: its stage moves to the spare.
    victim = stage_holder(mesh, 1)
    child = mesh.start('generate', *SHORT, *GREEDY)
    begun = begin(child, 1)
    mesh.processes[victim['id']].send_signal(signal.SIGTERM)
    end(mesh, victim['id'])
    out, err = child.communicate(timeout=60)
    check(child.returncode == 0 and begun + out == undisturbed, 'a worker drained', child.returncode, err)
    check(mesh.log(victim['id'])[-1]['message'] == 'leaving', mesh.log(victim['id'])[-1])

    # The router: refuses, finishes, goes.
    child = mesh.start('generate', *SHORT, *GREEDY)
    begun = begin(child, 1)
    os.kill(stage_holder(mesh, 0)['pid'], signal.SIGSTOP)  # so that it is still running when we look
    mesh.processes['router'].send_signal(signal.SIGTERM)
    waited = time.monotonic() + 10
    while not any(e['message'] == 'signal' for e in mesh.log('router')):
        check(time.monotonic() < waited, 'the router did not hear the signal')
        time.sleep(0.02)
    check(mesh.get('router', '/readyz') == (503, 'stopping\n'), mesh.get('router', '/readyz'))
    check(mesh.get('router', '/healthz')[0] == 200, 'it is alive while it drains')
    err = mesh.run('generate', '-p', 'x', '-n', 1, code=1)[1]
    check(b'draining' in err, err)
    os.kill(stage_holder(mesh, 0)['pid'], signal.SIGCONT)
    out, err = child.communicate(timeout=60)
    check(child.returncode == 0 and begun + out == undisturbed, 'the router drained', child.returncode, err)
    end(mesh, 'router')

# A request that cannot end: the grace period ends it.
with ObservedMesh(memory='1GiB', router_options=('--grace-s', 0.5)) as mesh:
    child = mesh.start('generate', *SHORT, *GREEDY)
    begin(child, 1)
    os.kill(stage_holder(mesh, 1)['pid'], signal.SIGSTOP)
    mesh.processes['router'].send_signal(signal.SIGTERM)
    end(mesh, 'router')
    out, err = child.communicate(timeout=60)
    check(child.returncode == 1 and b'stopped' in err, child.returncode, err)
passed()
