"""The flow in network namespaces: one host each, joined by a bridge, with keys over TCP.

Needs root and iproute2; skipped otherwise. Environment: LAYERMESH, the program; LAYERMESH_SOURCE.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from flow import SKIP, check, main, run

LAYERMESH = pathlib.Path(os.environ['LAYERMESH'])
SOURCE = pathlib.Path(os.environ['LAYERMESH_SOURCE'])
MODEL = SOURCE / 'models/demo/demo-q8_0.gguf'
TAG = f'lm{os.getpid() % 10000}'
NET = '10.213.7'


def ip(*arguments):
    done = run(['ip', *arguments])
    check(done.returncode == 0, 'ip', *arguments, done.stderr.decode())


def program(service):
    built = LAYERMESH.parent.parent / service / f'layermesh-{service}'
    return str(built if built.exists() else LAYERMESH.parent / f'layermesh-{service}')


class Namespaces:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.hosts = {}      # name to number
        self.processes = {}  # name to process
        self.number = 0

    # ---- hosts ----

    def make_bridge(self):
        ip('netns', 'add', f'{TAG}-hub')
        ip('-n', f'{TAG}-hub', 'link', 'add', 'br0', 'type', 'bridge')
        ip('-n', f'{TAG}-hub', 'link', 'set', 'br0', 'up')

    def make_host(self, name):
        self.number += 1
        number, space = self.number, f'{TAG}-{name}'
        ip('netns', 'add', space)
        self.hosts[name] = number
        ip('-n', f'{TAG}-hub', 'link', 'add', f'port{number}', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
        ip('-n', f'{TAG}-hub', 'link', 'set', f'port{number}', 'master', 'br0', 'up')
        ip('-n', space, 'addr', 'add', f'{NET}.{number}/24', 'dev', 'eth0')
        ip('-n', space, 'link', 'set', 'eth0', 'up')
        ip('-n', space, 'link', 'set', 'lo', 'up')

    def inside(self, name, *command):
        return ['ip', 'netns', 'exec', f'{TAG}-{name}', *map(str, command)]

    def path(self, name):
        return f'{self.folder.name}/{name}'

    def start(self, name, service, **env):
        with open(self.path(name + '.log'), 'ab') as log:
            self.processes[name] = subprocess.Popen(self.inside(name, program(service), *env.pop('arguments')),
                                                    env=dict(os.environ, **env), stderr=log, stdout=log)

    def start_worker(self, name):
        # Each enrols with a line of its own, the way a new machine does.
        arguments = ['--model', MODEL, '--node-id', name, '--data-listen', f'tcp://{NET}.{self.hosts[name]}:7600',
                     '--threads', 1, '--probe-ms', 100, '--key', self.path(name + '.key')]
        if not os.path.exists(self.path(name + '.key')):
            done = run([LAYERMESH, 'keys', 'token', name, '--keys', self.path('keys'), '--role', 'worker', '--coordinator',
                        f'tcp://{NET}.{self.hosts["coordinator"]}:7400'])
            check(done.returncode == 0, 'keys token', done.stderr.decode())
            arguments += ['--join', done.stdout.decode().strip()]
        else:
            arguments += ['--coordinator', f'tcp://{NET}.{self.hosts["coordinator"]}:7400']
        self.start(name, 'worker', arguments=arguments)

    # ---- what the flow wants ----

    def up(self, workers):
        self.make_bridge()
        for name in ('coordinator', 'router', 'client'):
            self.make_host(name)
        for arguments in (['init'], ['issue', 'client', '--role', 'client', '--out', self.path('client.key')]):
            done = run([LAYERMESH, 'keys', *arguments, '--keys', self.path('keys')])
            check(done.returncode == 0, 'keys', *arguments, done.stderr.decode())
        control = f'tcp://{NET}.{self.hosts["coordinator"]}:7400'
        router = f'tcp://{NET}.{self.hosts["router"]}'
        self.start('coordinator', 'coordinator', arguments=['--listen', control, '--keys', self.path('keys')])
        self.start('router', 'router', arguments=['--model', MODEL, '--coordinator', control, '--listen',
                                                  router + ':7500', '--data-listen', router + ':7501', '--key',
                                                  self.path('keys/router.key')])
        self.add(workers)

    def down(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        for name in [*self.hosts, 'hub']:
            run(['ip', 'netns', 'del', f'{TAG}-{name}'])
        self.folder.cleanup()

    def logs(self):
        for name in self.processes:
            print(f'--- {name}\n' + pathlib.Path(self.path(name + '.log')).read_text(errors="replace")[-6000:])

    def client(self, *arguments, key='client.key'):
        if arguments[0] in ('status', 'plan'):
            key = 'keys/admin.key'
        secrets = [f'LAYERMESH_KEY={self.path(key)}'] if key else ['LAYERMESH_INSECURE=1']
        return self.inside('client', 'env', *secrets, f'LAYERMESH_ROUTER=tcp://{NET}.{self.hosts["router"]}:7500',
                           f'LAYERMESH_COORDINATOR=tcp://{NET}.{self.hosts["coordinator"]}:7400', LAYERMESH,
                           *arguments)

    def workers(self):
        return {n: n for n, p in self.processes.items() if n.startswith('w-') and p.poll() is None}

    def kill(self, name):
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def cut(self, name):
        ip('-n', f'{TAG}-{name}', 'link', 'set', 'eth0', 'down')
        self.processes['cut-' + name] = self.processes.pop(name)
        os.rename(self.path(name + '.log'), self.path(f'cut-{name}.log'))

    def stop(self, name):
        self.processes[name].send_signal(signal.SIGTERM)
        return self.processes[name].wait(timeout=60)

    def add(self, count):
        for _ in range(count):
            name = f'w-{self.number}'
            self.make_host(name)
            self.start_worker(name)

    def upgrade(self, name):
        check(self.stop(name) == 0, 'the worker to be upgraded did not drain')
        self.start_worker(name)


if __name__ == '__main__':
    if os.geteuid() != 0 or shutil.which('ip') is None or run(['ip', 'netns', 'add', TAG + '-probe']).returncode != 0:
        print('skipped: network namespaces need root and iproute2')
        sys.exit(SKIP)
    run(['ip', 'netns', 'del', TAG + '-probe'])
    main(Namespaces())
