"""A mesh of real daemons on loopback TCP with keys: what the tests of its defences share."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

from mesh import LAYERMESH, MODEL, PROBE_MS, Mesh, check, run

BUILD = pathlib.Path(LAYERMESH).parent.parent
ATTACK = BUILD.parent / 'tests/attack/attack'


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, what, 'within', seconds, 's')
        time.sleep(0.05)


class SecureMesh(Mesh):
    """`with SecureMesh(2) as mesh:` coordinator, router and workers on TCP, each with its own key."""

    def __init__(self, workers=2, stages=0, insecure=False, model=MODEL, options=None):
        super().__init__(workers)
        self.workers = workers
        self.stages = stages or workers
        self.insecure = insecure
        self.model = model
        self.options = options or {}
        self.processes = {}
        self.folder = None
        self.keys = None

    # ---- keys ----

    def keys_run(self, *arguments, **options):
        return run('keys', *arguments, '--keys', self.keys, **options)[0].decode().strip()

    def issue(self, name, role):
        return self.keys_run('issue', name, '--role', role)

    # ---- processes ----

    def log(self, name):
        path = pathlib.Path(self.folder.name) / f'{name}.log'
        return path.read_text(errors='replace') if path.exists() else ''

    def start_program(self, service, name, *arguments):
        program = BUILD / service / f'layermesh-{service}'
        extra = ['--insecure'] if self.insecure else []
        extra += ['--admin-listen', '127.0.0.1:0']
        with open(f'{self.folder.name}/{name}.log', 'ab') as log:
            self.processes[name] = subprocess.Popen([str(a) for a in (program, *arguments, *extra)], stderr=log,
                                                    env=self.clean_env())

    @staticmethod
    def clean_env():
        return {k: v for k, v in os.environ.items() if not k.startswith('LAYERMESH_')}

    def endpoint_of(self, name, word='endpoint'):
        """The address that a daemon says it listens on."""
        def said():
            check(self.processes[name].poll() is None, name, 'ended:\n', self.log(name))
            found = re.findall(rf' listening .*?\b{word}=(\S+)', self.log(name))
            return found[-1] if found else None
        return wait_until(said, 20, f'{name} does not listen')

    def start_coordinator(self, listen='tcp://127.0.0.1:*'):
        key = [] if self.insecure else ['--keys', self.keys]
        self.start_program('coordinator', 'coordinator', '--listen', listen, '--stages', self.stages,
                           '--min-workers', self.stages, '--kv-tokens', 2048, *key,
                           *self.options.get('coordinator', ()))
        self.coordinator = self.endpoint_of('coordinator')

    def start_router(self):
        key = [] if self.insecure else ['--key', f'{self.keys}/router.key']
        self.start_program('router', 'router', '--model', self.model, '--coordinator', self.coordinator, '--listen',
                           'tcp://127.0.0.1:*', *key, *self.options.get('router', ()))
        self.router = self.endpoint_of('router')

    def start_worker(self, name, *arguments, key=None):
        if not arguments:
            key = key or f'{self.keys}/{name}.key'
            arguments = ['--coordinator', self.coordinator, *([] if self.insecure else ['--key', key])]
        self.start_program('worker', name, '--model', self.model, '--node-id', name, '--threads', 1, '--probe-ms',
                           PROBE_MS, *arguments, *self.options.get('worker', ()))

    def refusals(self, name):
        """What this daemon has refused, by reason, as its own metrics say."""
        address = re.findall(r' admin address=(\S+)', self.log(name))[-1]
        with urllib.request.urlopen(f'http://{address}/metrics', timeout=10) as page:
            text = page.read().decode()
        return {reason: int(float(value)) for reason, value in
                re.findall(r'^\w*refused_total\{reason="(\w+)"\} (\S+)$', text, re.M)}

    def resident_kib(self, name):
        status = pathlib.Path(f'/proc/{self.processes[name].pid}/status').read_text()
        return int(re.search(r'VmRSS:\s+(\d+)', status)[1])

    def attack(self, mode, endpoint, *options, background=False):
        """Runs the hostile peer; what came back to it."""
        command = [ATTACK, mode, endpoint, *map(str, options)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if background:
            return process
        out, err = process.communicate(timeout=300)
        check(process.returncode == 0, command, err.decode())
        return json.loads(out)

    def holders(self, status):
        return sorted((w for w in status['workers'] if w['first_layer'] is not None and w['state'] == 'ready'),
                      key=lambda w: w['first_layer'])

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.keys = f'{self.folder.name}/keys'
        try:
            self.keys_run('init')
            self.issue('app', 'client')
            self.start_coordinator()
            self.start_router()
            for i in range(self.workers):
                self.issue(f'w-{i + 1}', 'worker')
                self.start_worker(f'w-{i + 1}')
            self.env = dict(self.clean_env(), LAYERMESH_ROUTER=self.router, LAYERMESH_COORDINATOR=self.coordinator)
            if self.insecure:
                self.env['LAYERMESH_INSECURE'] = '1'
            else:
                self.env['LAYERMESH_KEY'] = f'{self.keys}/admin.key'
            self.wait_for(lambda s: len(self.holders(s)) >= self.stages, 30, 'no plan')
        except BaseException as failure:
            self.__exit__(type(failure), failure, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        ended = {}
        for process in self.processes.values():
            process.terminate()
        for name, process in self.processes.items():
            try:
                ended[name] = process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                ended[name] = process.wait()
            if kind is not None:
                print(f'--- {name} ended with {ended[name]}\n' + self.log(name)[-6000:])
        self.folder.cleanup()
        if kind is None:
            bad = {name: status for name, status in ended.items() if status != 0}
            check(not bad, 'these did not end well at SIGTERM:', bad)
