"""The flow on a Docker Engine, with the Compose file that people use. Skipped without an engine.

Environment: LAYERMESH_SOURCE, the root of the repository.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from flow import SKIP, check, main, run, step

SOURCE = pathlib.Path(os.environ['LAYERMESH_SOURCE'])
PROJECT = 'layermesh-e2e'
BASE = 'debian:bookworm-slim'
IMAGE = 'layermesh:e2e'


def skip(why):
    print('skipped:', why)
    sys.exit(SKIP)


def compose_command():
    if run(['docker', 'compose', 'version']).returncode == 0:
        return ['docker', 'compose']
    return ['docker-compose'] if shutil.which('docker-compose') else skip('there is no docker compose')


def docker(*arguments, timeout=120):
    done = run(['docker', *arguments], timeout=timeout)
    check(done.returncode == 0, 'docker', *arguments, done.stderr.decode(errors='replace'))
    return done.stdout.decode().strip()


def make_base():
    """The image that the Dockerfile begins with: there, pulled, or made of Debian's packages."""
    if run(['docker', 'image', 'inspect', BASE]).returncode == 0:
        return
    if run(['docker', 'pull', BASE], timeout=300).returncode == 0:
        return
    if shutil.which('debootstrap') is None or os.geteuid() != 0:
        skip(f'{BASE} cannot be pulled, and debootstrap, as root, is needed to make it')
    step(f'{BASE} cannot be pulled: made with debootstrap')
    with tempfile.TemporaryDirectory() as folder:
        done = run(['debootstrap', '--variant=minbase', 'bookworm', folder + '/root'], timeout=900)
        check(done.returncode == 0, 'debootstrap', done.stdout.decode(errors='replace')[-400:])
        tar = subprocess.Popen(['tar', '-C', folder + '/root', '-c', '.'], stdout=subprocess.PIPE)
        done = run(['docker', 'import', '-', BASE], stdin=tar.stdout, timeout=300)
        check(tar.wait() == 0 and done.returncode == 0, 'docker import', done.stderr.decode())


class Compose:
    def __init__(self, command):
        self.command = [*command, '-p', PROJECT, '-f', str(SOURCE / 'deploy/compose/compose.yaml')]
        # A small share of a processor each, so that the story lasts long enough to be disturbed.
        self.env = dict(os.environ, LAYERMESH_IMAGE=IMAGE, WORKER_CPUS='0.4', COMPOSE_INTERACTIVE_NO_CLI='1')
        self.gone = set()

    def compose(self, *arguments, timeout=300):
        done = run([*self.command, *arguments], timeout=timeout, env=self.env, stdin=subprocess.DEVNULL)
        check(done.returncode == 0, 'compose', *arguments, done.stderr.decode(errors='replace')[-2000:])
        return done.stdout.decode()

    def up(self, workers):
        self.count = workers
        self.compose('up', '-d', '--no-build', '--scale', f'worker={workers}')

    def down(self):
        run([*self.command, 'down', '-v', '--remove-orphans', '-t', '5'], timeout=180, env=self.env)

    def logs(self):
        done = run([*self.command, 'logs', '--no-color', '--tail', '40'], env=self.env)
        print(done.stdout.decode(errors='replace')[-20000:])

    def client(self, *arguments, key='a key'):
        role = 'admin' if arguments[0] in ('status', 'plan') else 'client'
        key = key and f'/{role}-key/key'
        return ['docker', 'run', '--rm', '--network', f'{PROJECT}_mesh', '-v', f'{PROJECT}_{role}-key:/{role}-key:ro',
                '-e', f'LAYERMESH_KEY={key}' if key else 'LAYERMESH_INSECURE=1', '-e',
                'LAYERMESH_ROUTER=tcp://router:7500', '-e', 'LAYERMESH_COORDINATOR=tcp://coordinator:7400', IMAGE,
                *arguments]

    def workers(self):
        """Node id (a container's host name) to its id and process."""
        ids = self.compose('ps', '-q', 'worker').split()
        found = {}
        for container in json.loads(docker('inspect', *ids)) if ids else []:
            if container['State']['Running'] and container['Id'] not in self.gone:
                found[container['Config']['Hostname']] = (container['Id'], container['State']['Pid'])
        return found

    def kill(self, handle):
        self.gone.add(handle[0])
        # Compose would start it again at once; what is tested is that nobody needs it.
        docker('update', '--restart', 'no', handle[0])
        os.kill(handle[1], signal.SIGKILL)

    def cut(self, handle):
        self.gone.add(handle[0])
        docker('network', 'disconnect', '-f', f'{PROJECT}_mesh', handle[0])

    def stop(self, handle):
        docker('stop', '-t', '60', handle[0])
        code = int(docker('inspect', '-f', '{{.State.ExitCode}}', handle[0]))
        self.gone.add(handle[0])
        return code

    def add(self, count):
        for container in self.gone:
            run(['docker', 'rm', '-f', container])
        wanted = len(self.workers()) + count
        self.compose('up', '-d', '--no-build', '--no-recreate', '--scale', f'worker={wanted}', 'worker')

    def upgrade(self, handle):
        """A container is replaced by one of a newer image."""
        docker('stop', '-t', '60', handle[0])
        docker('rm', handle[0])
        docker('tag', IMAGE, IMAGE + '-next')
        self.env['LAYERMESH_IMAGE'] = IMAGE + '-next'
        wanted = len(self.workers()) + 1
        self.compose('up', '-d', '--no-build', '--no-recreate', '--scale', f'worker={wanted}', 'worker')


def build():
    command = compose_command()
    if shutil.which('docker') is None or run(['docker', 'info']).returncode != 0:
        skip('no Docker Engine answers')
    if run(['docker', 'version', '-f', '{{.Server.Version}}']).returncode != 0:
        skip('no Docker Engine answers')
    make_base()
    step('building the image')
    done = run(['docker', 'build', '--network', 'host', '-f', str(SOURCE / 'docker/Dockerfile'), '-t', IMAGE,
                str(SOURCE)], timeout=900)
    check(done.returncode == 0, 'docker build', done.stdout.decode(errors='replace')[-4000:],
          done.stderr.decode(errors='replace')[-2000:])
    return Compose(command)


if __name__ == '__main__':
    main(build())
