"""Damaged bytes and messages at every TCP socket of a mesh with keys, from peers without a key and from
admitted ones: no daemon ends, its memory stays bounded, and it answers as before.
--seconds N: how long (default: a few, for every test run); --seed N."""
import argparse
import re
import time

from mesh import check, passed
from secure_mesh import SecureMesh

PROMPT = ['-p', 'Tell me a story about a fox.', '-n', 40, '--ignore-eos']
GROWTH_KIB = 192 * 1024

options = argparse.ArgumentParser()
options.add_argument('build', nargs='?')
options.add_argument('--seconds', type=float, default=8)
options.add_argument('--seed', type=int, default=1)
options = options.parse_args()


def data_endpoint(mesh, name):
    line = [line for line in mesh.log(name).splitlines() if ' listening ' in line][-1]
    return re.findall(r'(?:data|endpoint)=(tcp://\S+)', line)[-1]


def public_key(mesh, name):
    with open(f'{mesh.keys}/{name}.key') as file:
        return re.search(r'^public (\S+)$', file.read(), re.M)[1]


with SecureMesh(2) as mesh:
    expected = mesh.run('generate', *PROMPT)[0]
    hostile = mesh.issue('hostile', 'worker')
    client = mesh.issue('rude', 'client')
    targets = [(mesh.coordinator, 'coordinator', hostile), (mesh.coordinator, 'coordinator', f'{mesh.keys}/admin.key'),
               (mesh.router, 'router', client), (data_endpoint(mesh, 'router'), 'router', hostile),
               (data_endpoint(mesh, 'w-1'), public_key(mesh, 'w-1'), hostile),
               (data_endpoint(mesh, 'w-2'), public_key(mesh, 'w-2'), hostile)]
    before = {name: mesh.resident_kib(name) for name in mesh.processes}
    most = dict(before)
    end = time.monotonic() + options.seconds
    attackers = []
    for i, (endpoint, server, key) in enumerate(targets):
        common = (endpoint, '--server', server, '--key', key, '--seconds', options.seconds, '--seed',
                  options.seed * 100 + i)
        attackers.append(mesh.attack('fuzz', *common, background=True))
        attackers.append(mesh.attack('raw', *common, '--count', 1000000, background=True))
    answers = 0
    while time.monotonic() < end or answers == 0:
        check(mesh.run('generate', *PROMPT, timeout=300)[0] == expected, 'another answer while damaged messages come')
        answers += 1
        for name, process in mesh.processes.items():
            check(process.poll() is None, name, 'ended with', process.returncode, '\n', mesh.log(name))
            most[name] = max(most[name], mesh.resident_kib(name))
            check(most[name] - before[name] < GROWTH_KIB, name, 'grew from', before[name], 'to', most[name], 'KiB')
    sent = 0
    for process in attackers:
        out, err = process.communicate(timeout=120)
        check(process.returncode == 0, err.decode())
        sent += int(re.search(r'"sent": (\d+)', out.decode())[1])
    check(mesh.run('generate', *PROMPT)[0] == expected, 'another answer afterwards')
    check(sent > 100, 'hardly anything was sent:', sent)
    refused = {name: mesh.refusals(name) for name in mesh.processes}
    check(all(counts['role'] > 0 and counts['malformed'] > 0 and counts['handshake'] > 0
              for counts in refused.values()), 'not everybody was reached by everything:', refused)
    print(f'{sent} messages and connections, {answers} answers alike; KiB resident before and at most:',
          {name: (before[name], most[name]) for name in before}, 'refused:', refused)
passed()
