"""The Kubernetes manifests: every overlay renders, fits the API's schemas, and keeps what it promises.

Needs kubectl (with kustomize) and python3-yaml; the schemas are checked where kubectl-validate is there, which has
them built in. Environment: LAYERMESH, the program; LAYERMESH_SOURCE.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from flow import SKIP, check, run

SOURCE = pathlib.Path(os.environ['LAYERMESH_SOURCE']) / 'deploy/kubernetes'
PROGRAMS = pathlib.Path(os.environ['LAYERMESH']).parent.parent
VALUES = {'POD_IP': '10.0.0.7', 'POD_NAME': 'worker-0', 'MODEL': '/models/demo.gguf'}
OVERLAYS = ['base', 'overlays/single-node', 'overlays/ha-router', 'overlays/big-memory']


def skip(why):
    print('skipped:', why)
    sys.exit(SKIP)


def validator():
    found = shutil.which('kubectl-validate')
    in_go = pathlib.Path.home() / 'go/bin/kubectl-validate'
    return found or (str(in_go) if in_go.exists() else None)


def validate(tool, text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'all.yaml'
        path.write_text(text)
        return run([tool, str(path)])


def pods(documents):
    for d in documents:
        if d['kind'] in ('Deployment', 'StatefulSet', 'Job'):
            yield f"{d['kind']} {d['metadata']['name']}", d['spec']['template']


def check_pod(where, template):
    spec = template['spec']
    security = spec['securityContext']
    check(security['runAsNonRoot'] and security['seccompProfile']['type'] == 'RuntimeDefault', where, 'pod security')
    check(spec.get('enableServiceLinks') is False, where, 'service links')
    for container in spec.get('initContainers', []) + spec['containers']:
        own = container['securityContext']
        check(own['allowPrivilegeEscalation'] is False and own['readOnlyRootFilesystem'] is True
              and own['capabilities']['drop'] == ['ALL'], where, container['name'], 'container security')
        check('limits' in container['resources'], where, container['name'], 'limits')
    if 'keys' not in where:
        check(spec['automountServiceAccountToken'] is False, where, 'has a token of the API server')
        for container in spec['containers']:
            check('livenessProbe' in container and 'readinessProbe' in container, where, 'probes')
            # Kubelet waits so long before it kills; a drain needs it.
            check(spec['terminationGracePeriodSeconds'] >= 30, where, 'grace')


def check_flags(where, template):
    """The daemons take these command lines: --check says so, without a key, which is not here."""
    for container in template['spec']['containers']:
        program = container.get('command', [''])[0]
        if not program.startswith('/usr/bin/layermesh-'):
            continue
        service = program.removeprefix('/usr/bin/layermesh-')
        env = dict(os.environ, LAYERMESH_INSECURE='1')
        env.update({e['name']: e['value'] for e in container['env'] if 'value' in e and 'KEY' not in e['name']})
        arguments = [re.sub(r'\$\((\w+)\)', lambda m: VALUES[m[1]], a) for a in container['args']]
        done = run([PROGRAMS / service / f'layermesh-{service}', *arguments, '--check'], env=env)
        check(done.returncode == 0, where, arguments, done.stderr.decode())


def check_network(documents):
    policies = [d for d in documents if d['kind'] == 'NetworkPolicy']
    deny = [p for p in policies if p['spec']['podSelector'] == {} and 'ingress' not in p['spec']
            and 'egress' not in p['spec']]
    check(len(deny) == 1 and sorted(deny[0]['spec']['policyTypes']) == ['Egress', 'Ingress'], 'no default deny')


def check_selectors(documents):
    """Services, budgets and policies that select nothing are mistakes that no schema finds."""
    labels = [template['metadata']['labels'] for _, template in pods(documents)]
    for d in documents:
        wanted = d['spec'].get('selector') if d['kind'] == 'Service' else None
        if d['kind'] == 'PodDisruptionBudget':
            wanted = d['spec']['selector']['matchLabels']
        if wanted:
            check(any(wanted.items() <= own.items() for own in labels), d['kind'], d['metadata']['name'],
                  'selects no pod:', wanted)


def main():
    if shutil.which('kubectl') is None:
        skip('there is no kubectl')
    try:
        import yaml
    except ImportError:
        skip('there is no python3-yaml')
    tool = validator()
    if tool is None:
        print('kubectl-validate is not here: schemas are not checked')
    for overlay in OVERLAYS:
        done = run(['kubectl', 'kustomize', str(SOURCE / overlay)])
        check(done.returncode == 0, overlay, done.stderr.decode())
        text = done.stdout.decode()
        documents = list(yaml.safe_load_all(text))
        check(len(documents) > 15, overlay, 'renders only', len(documents))
        if tool is not None:
            checked = validate(tool, text)
            check(checked.returncode == 0, overlay, checked.stdout.decode() + checked.stderr.decode())
            wrong = validate(tool, text.replace('replicas: 1', 'replicas: one').replace('readOnlyRootFilesystem: true',
                                                                                       'readOnlyRootFilesytem: true'))
            check(wrong.returncode != 0, 'the validator lets a wrong manifest pass')
        for where, template in pods(documents):
            check_pod(f'{overlay}: {where}', template)
            check_flags(f'{overlay}: {where}', template)
        check_network(documents)
        check_selectors(documents)
        print(f'{overlay}: {len(documents)} objects')
    print('1 passed, 0 failed')


main()
