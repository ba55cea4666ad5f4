"""What the integration tests share: a private mesh of real daemons, and the CLI on it.

Environment: LAYERMESH, the program; LAYERMESH_SOURCE, the root of the repository.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

LAYERMESH = os.environ['LAYERMESH']
SOURCE = pathlib.Path(os.environ['LAYERMESH_SOURCE'])
MODEL = str(SOURCE / 'models/demo/demo-q8_0.gguf')
PROBE_MS = '100'


def check(condition, *what):
    if not condition:
        raise SystemExit('failed: ' + ' '.join(str(w) for w in what))


def expected_cases():
    return json.loads((SOURCE / 'models/demo/expected.json').read_text(encoding='utf-8'))['cases']


def comma(ids):
    return ','.join(str(i) for i in ids)


def run(*arguments, code=0, stdin=b'', env=None, timeout=120):
    """Runs the CLI to its end and checks its exit status. Returns (stdout, stderr) as bytes."""
    done = subprocess.run([LAYERMESH, *map(str, arguments)], input=stdin, env=env, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(done.returncode == code, 'layermesh', *arguments, 'ended with', done.returncode, 'not', code, '\n',
          done.stderr.decode(errors='replace'))
    return done.stdout, done.stderr


class Mesh:
    """`with Mesh(3, spares=1) as mesh:` keeps a mesh up for the block."""

    def __init__(self, workers, spares=0, model=MODEL, options=()):
        self.command = [LAYERMESH, 'local', '--model', model, '--workers', str(workers), '--spares', str(spares),
                        '--probe-ms', PROBE_MS, *options, '--', 'sh', '-c',
                        'echo "$LAYERMESH_ROUTER $LAYERMESH_COORDINATOR"; exec cat >/dev/null']
        self.process = None
        self.env = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        words = self.process.stdout.readline().decode().split()
        if len(words) != 2:
            raise SystemExit(f'failed: the mesh did not start, status {self.process.wait()}')
        self.env = dict(os.environ, LAYERMESH_ROUTER=words[0], LAYERMESH_COORDINATOR=words[1])
        return self

    def __exit__(self, kind, value, trace):
        self.process.stdin.close()  # ends cat, and with it the mesh
        status = self.process.wait(timeout=30)
        if kind is None:
            check(status == 0, 'layermesh local ended with', status)

    def run(self, *arguments, **options):
        return run(*arguments, env=self.env, **options)

    def start(self, *arguments):
        return subprocess.Popen([LAYERMESH, *map(str, arguments)], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def generate(self, *arguments):
        return json.loads(self.run('generate', '--json', *arguments)[0])

    def chat(self, messages, *arguments):
        with tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8') as file:
            json.dump({'messages': messages}, file)
            file.flush()
            return self.generate('--chat', file.name, *arguments)

    def status(self):
        return json.loads(self.run('status', '--json')[0])

    def wait_for(self, condition, seconds, what):
        """Looks at the status until condition(status) holds."""
        end = time.monotonic() + seconds
        while True:
            status = self.status()
            if condition(status):
                return status
            check(time.monotonic() < end, what, 'within', seconds, 's; status:', json.dumps(status))
            time.sleep(0.1)


def without_timings(answer):
    return {key: value for key, value in answer.items() if key != 'timings'}


def passed():
    print('passed')
    sys.exit(0)
