"""What a mesh must live through wherever it runs. `compose.py` and `namespaces.py` bring the hosts.

A Hosts object has:
  up(workers), down()                   keys, coordinator, router, workers; everything removed again
  client(*arguments) -> argv            the command line of `layermesh ARGUMENTS` on another host
  workers() -> {node id: handle}        those that run
  kill(handle), cut(handle)             SIGKILL without a word; off the network
  stop(handle) -> exit status           SIGTERM, waited for
  add(count), upgrade(handle)           more workers; the same one again, from a newer image or program
"""
import json
import os
import subprocess
import sys
import time

SKIP = 77
STORY = ('-p', 'Tell me a story about a fox.', '-n', '900', '--ignore-eos')


def check(condition, *what):
    if not condition:
        raise SystemExit('failed: ' + ' '.join(str(w) for w in what))


def step(text):
    print(f'== {text}', flush=True)


def run(argv, timeout=120, **options):
    return subprocess.run([str(a) for a in argv], timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **options)


class Flow:
    def __init__(self, hosts):
        self.hosts = hosts

    def cli(self, *arguments, code=0):
        done = run(self.hosts.client(*arguments))
        check(code is None or done.returncode == code, 'layermesh', *arguments, 'ended with', done.returncode,
              done.stderr.decode(errors='replace'))
        return done.stdout

    def status(self):
        """None while nobody answers."""
        done = run(self.hosts.client('status', '--json', '--timeout-ms', '2000'))
        try:
            return json.loads(done.stdout) if done.returncode == 0 else None
        except ValueError:
            return None

    def wait(self, what, condition, seconds=60):
        """The status once condition holds; polls, since a status is asked for and not sent."""
        end = time.monotonic() + seconds
        while True:
            status = self.status()
            if status is not None and condition(status):
                return status
            check(time.monotonic() < end, 'in', seconds, 's:', what, json.dumps(status))
            time.sleep(0.2)

    def serving(self, status):
        return {w['id'] for w in status['workers'] if w['state'] == 'ready' and w['first_layer'] is not None}

    def known(self, status):
        return {w['id'] for w in status['workers'] if w['state'] not in ('lost', 'left')}

    def wait_known(self, count):
        return self.wait(f'{count} workers', lambda s: len(self.known(s)) == count and self.serving(s))

    def disturbed(self, name, disturb):
        """The story again, with one of the workers that serve disturbed in its middle: the same story."""
        status = self.wait('a plan that serves', lambda s: len(self.serving(s)) > 0)
        victim = sorted(self.serving(status))[-1]
        handle = self.hosts.workers()[victim]
        child = subprocess.Popen([str(a) for a in self.hosts.client('generate', *STORY)], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        begun = os.read(child.stdout.fileno(), 1)
        disturb(handle)
        check(child.poll() is None, name, 'came after the story')
        rest, err = child.communicate(timeout=120)
        check(child.returncode == 0, name, victim, 'status', child.returncode, err.decode(errors='replace'))
        check(begun + rest == self.story, name, victim, 'another story:', (begun + rest)[:80])
        self.wait(f'{victim} noticed as lost', lambda s: victim not in self.serving(s))

    def run(self):
        hosts = self.hosts
        step('up with three workers, over TCP, with keys')
        hosts.up(3)
        self.wait_known(3)
        self.story = self.cli('generate', *STORY)
        check(len(self.story) > 500, 'a short story', self.story)
        step('a worker is killed in mid-sentence')
        self.disturbed('kill', hosts.kill)
        step('a worker is cut off in mid-sentence')
        hosts.add(1)
        self.wait('two serve', lambda s: len(self.serving(s)) >= 1 and len(self.known(s)) >= 2)
        self.disturbed('cut', hosts.cut)
        step('five workers')
        hosts.add(5 - len(hosts.workers()))
        self.wait_known(5)
        check(self.cli('generate', *STORY) == self.story, 'another story with five workers')
        step('one is drained while it serves')
        status = self.wait('a plan', lambda s: len(self.serving(s)) > 0)
        drained = sorted(self.serving(status))[0]
        child = subprocess.Popen([str(a) for a in hosts.client('generate', *STORY)], stdout=subprocess.PIPE)
        begun = os.read(child.stdout.fileno(), 1)
        code = hosts.stop(hosts.workers()[drained])
        rest, _ = child.communicate(timeout=120)
        check(code == 0, 'the drained worker ended with', code)
        check(child.returncode == 0 and begun + rest == self.story, 'another story after a drain')
        step('one is upgraded')
        name, handle = sorted(hosts.workers().items())[0]
        hosts.upgrade(handle)
        self.wait(f'{name} back', lambda s: len(self.known(s)) == 4 and self.serving(s))
        check(self.cli('generate', *STORY) == self.story, 'another story after the upgrade')
        step('a stranger without a key gets nothing')
        done = run(hosts.client('generate', *STORY, key=None), timeout=60)
        check(done.returncode != 0 and done.stdout == b'', 'a client without a key was served', done.stdout[:60])
        step('down')


def main(hosts):
    flow = Flow(hosts)
    try:
        flow.run()
    except BaseException:
        hosts.logs()
        raise
    finally:
        hosts.down()
    print('1 passed, 0 failed')
    sys.exit(0)
