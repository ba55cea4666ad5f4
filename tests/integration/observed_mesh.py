"""A mesh whose daemons have admin ports and log JSON, for the tests of operations."""
import json
import pathlib
import subprocess
import urllib.error
import urllib.request

from failover_mesh import SmallMesh
from mesh import LAYERMESH, check


class ObservedMesh(SmallMesh):
    def __init__(self, router_options=(), **options):
        super().__init__(**options)
        self.router_options = router_options

    def start_program(self, service, name, *arguments):
        if service == 'router':
            arguments = (*arguments, '--canary-s', 1, *self.router_options)
        super().start_program(service, name, *arguments, '--admin-listen', '127.0.0.1:0', '--log-format', 'json')

    def log(self, name):
        """Events of a daemon, in order."""
        lines = pathlib.Path(f'{self.folder.name}/{name}.log').read_text(encoding='utf-8').splitlines()
        return [json.loads(line) for line in lines]

    def admin(self, name):
        return [e['address'] for e in self.log(name) if e['message'] == 'admin'][-1]

    def get(self, name, path):
        """(status, body) of an admin port."""
        try:
            with urllib.request.urlopen(f'http://{self.admin(name)}{path}', timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()

    def numbers(self, name):
        """Every series of /metrics by its name with labels."""
        status, text = self.get(name, '/metrics')
        check(status == 200, name, status)
        rows = [line.rsplit(' ', 1) for line in text.splitlines() if not line.startswith('#')]
        return {row[0]: float(row[1]) for row in rows}

    def healthcheck(self, name, *arguments):
        """(exit status, what it printed)."""
        done = subprocess.run([LAYERMESH, 'healthcheck', '--admin', self.admin(name), *arguments], timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, (done.stdout + done.stderr).decode()
