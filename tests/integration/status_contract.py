"""The machine-readable status and plan: exactly the keys that are promised."""
import json

from mesh import Mesh, check, passed

WORKER = {'id': str, 'pid': int, 'host': str, 'state': str, 'first_layer': (int, type(None)),
          'last_layer': (int, type(None)), 'memory_bytes': int, 'kv_pages': dict, 'step_ms': dict,
          'last_progress_ms': int}

with Mesh(3, spares=1) as mesh:
    mesh.generate('-p', 'Hello', '-n', 20, '--ignore-eos')
    status = mesh.status()
    check(set(status) == {'plan_epoch', 'workers', 'requests'}, set(status))
    check(isinstance(status['plan_epoch'], int) and status['plan_epoch'] > 0, status['plan_epoch'])
    check(set(status['requests']) == {'running', 'waiting'}, status['requests'])
    check(len(status['workers']) == 4, len(status['workers']), 'workers')
    for worker in status['workers']:
        check(set(worker) == set(WORKER), set(worker))
        for key, kind in WORKER.items():
            check(isinstance(worker[key], kind), key, worker[key])
        check(set(worker['kv_pages']) == {'used', 'total'}, worker['kv_pages'])
        check(set(worker['step_ms']) == {'predicted', 'measured'}, worker['step_ms'])
        check(worker['memory_bytes'] > 0 and worker['pid'] > 1, worker)
    stages = sorted((w for w in status['workers'] if w['first_layer'] is not None), key=lambda w: w['first_layer'])
    spares = [w for w in status['workers'] if w['first_layer'] is None]
    check(len(stages) == 3 and all(w['state'] == 'ready' for w in stages), stages)
    check(len(spares) == 1 and spares[0]['state'] == 'spare' and spares[0]['last_layer'] is None, spares)
    check(stages[0]['first_layer'] == 0 and stages[-1]['last_layer'] == 11, stages)
    for left, right in zip(stages, stages[1:]):
        check(left['last_layer'] + 1 == right['first_layer'], 'gap between', left['id'], right['id'])
    for stage in stages:
        check(stage['kv_pages']['total'] > 0 and stage['step_ms']['predicted'] > 0, stage)
    mesh.wait_for(lambda s: all(w['step_ms']['measured'] > 0 for w in s['workers'] if w['first_layer'] is not None), 5,
                  'measured step times do not arrive')

    table = mesh.run('status')[0].decode()
    explained = mesh.run('plan', '--explain')[0].decode()
    for worker in status['workers']:
        check(worker['id'] in table and worker['id'] in explained, worker['id'], 'is not shown')
    for word in ('predicted', 'measured', 'layers', 'no layers', 'why'):
        check(word in explained, word, 'is not in\n', explained)
    plan = json.loads(mesh.run('plan', '--explain', '--json')[0])
    check(plan['plan_epoch'] == status['plan_epoch'] and plan['state'] == 'active', plan)
    check(all(w['reason'] for w in plan['workers']), 'a worker without a reason:', plan)
    check(sum(w['weight_bytes'] for w in plan['workers']) > 10_000_000, 'weights', plan)
passed()
