"""SIGTERM moves a stage to a spare while it serves: no pause is needed, the answer is the same, status 0."""
import signal
import time

from failover_mesh import GREEDY, SHORT, SmallMesh, begin, is_free, stage_holder
from mesh import check, passed

with SmallMesh(memory='1GiB', workers=3, stages=2) as mesh:
    undisturbed = mesh.run('generate', *SHORT, *GREEDY)[0]
    victim = stage_holder(mesh, 0)
    child = mesh.start('generate', *SHORT, *GREEDY)
    begun = begin(child, 1)
    mesh.processes[victim['id']].send_signal(signal.SIGTERM)
    check(mesh.processes[victim['id']].wait(timeout=10) == 0, 'a drained worker ends with status 0')
    out, err = child.communicate(timeout=30)
    check(child.returncode == 0, 'status', child.returncode, err)
    check(begun + out == undisturbed, 'drained in decode')
    check(stage_holder(mesh, 0)['id'] != victim['id'], 'the drained worker still holds a stage')
    # The coordinator goes away and comes back: the workers serve on and register again.
    mesh.processes['coordinator'].kill()
    mesh.processes['coordinator'].wait()
    check(mesh.run('generate', *SHORT, *GREEDY)[0] == undisturbed, 'without a coordinator')
    mesh.start_coordinator()
    mesh.wait_for(lambda s: sum(w['state'] == 'ready' for w in s['workers']) == 2, 20, 'nobody registered again')
    check(mesh.run('generate', *SHORT, *GREEDY)[0] == undisturbed, 'with a new coordinator')
    mesh.wait_for(is_free, 5, 'pages or requests are left')
    # Nobody is there to hand over to: it does not wait.
    mesh.processes['coordinator'].kill()
    mesh.processes['coordinator'].wait()
    time.sleep(0.5)
    for name in [n for n in mesh.processes if n.startswith('w-') and mesh.processes[n].poll() is None]:
        mesh.processes[name].send_signal(signal.SIGTERM)
        check(mesh.processes[name].wait(timeout=5) == 0, name, 'waited for a coordinator that is gone')
passed()
