"""A stage is lost and nobody stands by: the others take over if they have the memory, and the answer is
the same; else the request ends within 5 s in an error that names the lost stage."""
import json
import time

from failover_mesh import GREEDY, SEEDED, SHORT, SmallMesh, begin, collect, is_free, kill, stage_holder, texts
from mesh import Mesh, check, passed

with Mesh(3) as mesh:
    undisturbed = texts(mesh, SHORT)
    for stage, left in ((1, 2), (0, 1)):
        victim = stage_holder(mesh, stage)
        children = [mesh.start('generate', *SHORT, *sampling) for sampling in (GREEDY, SEEDED)]
        begun = [begin(child, 1) for child in children]
        kill(victim)
        check(all(child.poll() is None for child in children), 'the answers were complete before the kill')
        answers = [first + rest for first, rest in zip(begun, collect(children))]
        check(answers == undisturbed, 'killed without spare, stage', stage, victim['id'])
        holders = [w for w in mesh.status()['workers'] if w['first_layer'] is not None and w['state'] != 'lost']
        check(len(holders) == left, holders)
    mesh.wait_for(is_free, 5, 'pages or requests are left')

# Two workers that can only just hold the model together.
with SmallMesh() as mesh:
    victim = stage_holder(mesh, 1)
    child = mesh.start('generate', *SHORT, *GREEDY)
    begin(child, 1)
    kill(victim)
    began = time.monotonic()
    err = child.communicate(timeout=30)[1].decode()
    seconds = time.monotonic() - began
    check(child.returncode == 1, 'status', child.returncode, err)
    check(victim['id'] in err, 'the error does not name', victim['id'], ':', err)
    check(seconds < 5, 'the error took', seconds, 's')
    # And the mesh is whole again when it is back.
    mesh.start_worker(victim['id'])
    mesh.wait_for(lambda s: s['plan_epoch'] > 1 and sum(w['state'] == 'ready' for w in s['workers']) == 2, 20,
                  'no plan after the worker came back')
    check(len(json.loads(mesh.run('generate', '--json', *SHORT, *GREEDY)[0])['ids']) > 100, 'no answer afterwards')
passed()
