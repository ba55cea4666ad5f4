"""What the failover tests share."""
import os
import pathlib
import signal
import subprocess
import tempfile

from mesh import LAYERMESH, MODEL, PROBE_MS, Mesh, check, expected_cases

# Answers that are still being written when the kill comes, also on a busy machine.
SHORT = ['-p', 'Tell me a story about a fox.', '-n', 900, '--ignore-eos']
# Long enough to be read in many micro-batches.
LONG_PROMPT = ['-p', ' '.join(case['text'] for case in expected_cases())[:2400], '-n', 40, '--ignore-eos']
GREEDY = []
SEEDED = ['--temperature', 0.9, '--top-k', 50, '--seed', 7]


def stage_holder(mesh, stage):
    """The worker of the stage-th stage, once a plan serves."""
    def holders(status):
        return sorted((w for w in status['workers'] if w['first_layer'] is not None and w['state'] == 'ready'),
                      key=lambda w: w['first_layer'])
    return holders(mesh.wait_for(lambda s: len(holders(s)) > stage, 10, f'no stage {stage}'))[stage]


def kill(worker):
    os.kill(worker['pid'], signal.SIGKILL)


def begin(child, count):
    """The first count bytes that child writes."""
    text = b''
    while len(text) < count:
        piece = os.read(child.stdout.fileno(), count - len(text))
        check(piece, 'a client ended after', text)
        text += piece
    return text


def collect(children):
    """What children wrote from now on; all must end well."""
    outputs = []
    for child in children:
        out, err = child.communicate(timeout=60)
        check(child.returncode == 0, 'status', child.returncode, err.decode(errors='replace'))
        outputs.append(out)
    return outputs


def texts(mesh, prompt):
    return [mesh.run('generate', *prompt, *sampling)[0] for sampling in (GREEDY, SEEDED)]


def is_lost(status, worker):
    return any(w['id'] == worker['id'] and w['state'] == 'lost' for w in status['workers'])


def is_free(status):
    return status['requests'] == {'running': 0, 'waiting': 0} and all(
        w['kv_pages']['used'] == 0 for w in status['workers'] if w['state'] == 'ready')


class SmallMesh(Mesh):
    """Daemons started one by one, with an own amount of memory each."""

    def __init__(self, memory='20MiB', workers=2, stages=2):
        super().__init__(workers)
        self.memory = memory
        self.workers = workers
        self.stages = stages
        self.processes = {}
        self.folder = None

    def start_program(self, service, name, *arguments):
        program = pathlib.Path(LAYERMESH).parent.parent / service / f'layermesh-{service}'
        with open(f'{self.folder.name}/{name}.log', 'ab') as log:
            self.processes[name] = subprocess.Popen([program, *map(str, arguments)], stderr=log)

    def start_coordinator(self):
        self.start_program('coordinator', 'coordinator', '--listen', self.env['LAYERMESH_COORDINATOR'], '--stages',
                           self.stages, '--min-workers', self.stages, '--kv-tokens', 2048)

    def start_worker(self, name):
        self.start_program('worker', name, '--model', MODEL, '--coordinator', self.env['LAYERMESH_COORDINATOR'],
                           '--data-listen', f'ipc://{self.folder.name}/{name}.sock', '--node-id', name, '--memory',
                           self.memory, '--threads', 1, '--probe-ms', PROBE_MS)

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, LAYERMESH_ROUTER=f'ipc://{self.folder.name}/router.sock',
                        LAYERMESH_COORDINATOR=f'ipc://{self.folder.name}/coordinator.sock')
        self.start_coordinator()
        self.start_program('router', 'router', '--model', MODEL, '--coordinator', self.env['LAYERMESH_COORDINATOR'],
                           '--listen', self.env['LAYERMESH_ROUTER'], '--data-listen',
                           f'ipc://{self.folder.name}/results.sock')
        for i in range(self.workers):
            self.start_worker(f'w-{i + 1}')
        try:
            stage_holder(self, self.stages - 1)
        except SystemExit as failure:
            self.__exit__(SystemExit, failure, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        for process in self.processes.values():
            process.kill()
        for name, process in self.processes.items():
            process.wait()
            if kind is not None:
                print(f'--- {name}\n' + pathlib.Path(f'{self.folder.name}/{name}.log').read_text()[-6000:])
        self.folder.cleanup()
