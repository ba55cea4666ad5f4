"""A stage that hangs: its lease runs out, a spare takes over, and the answer is the same. When it wakes up
it disturbs nobody and can be used again."""
import os
import signal

from failover_mesh import GREEDY, SHORT, begin, is_free, stage_holder
from mesh import Mesh, check, passed

with Mesh(2, spares=1) as mesh:
    undisturbed = mesh.run('generate', *SHORT, *GREEDY)[0]
    for stage in (0, 1):
        victim = stage_holder(mesh, stage)
        child = mesh.start('generate', *SHORT, *GREEDY)
        begun = begin(child, 1)
        os.kill(victim['pid'], signal.SIGSTOP)
        check(child.poll() is None, 'the answer was complete before the hang')
        out, err = child.communicate(timeout=30)
        os.kill(victim['pid'], signal.SIGCONT)
        check(child.returncode == 0, 'status', child.returncode, err)
        check(begun + out == undisturbed, 'hung stage', stage)
        mesh.wait_for(lambda s: all(w['state'] in ('ready', 'spare') for w in s['workers']), 10,
                      'the worker that woke up is not back')
        check(mesh.run('generate', *SHORT, *GREEDY)[0] == undisturbed, 'after the hang')
    mesh.wait_for(is_free, 5, 'pages or requests are left')
passed()
