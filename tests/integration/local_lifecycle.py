"""layermesh local: environment, exit status, and that nothing is left, however it ends."""
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from mesh import LAYERMESH, MODEL, PROBE_MS, check, passed, run

BASE = ['local', '--model', MODEL, '--workers', '2', '--probe-ms', PROBE_MS, '--']


def daemons(folder):
    """Processes that name this folder in their command line."""
    found = []
    for entry in pathlib.Path('/proc').iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / 'cmdline').read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass  # it has ended meanwhile
    return found


def wait_until_gone(folder, what):
    end = time.monotonic() + 8
    while daemons(folder):
        check(time.monotonic() < end, what, 'left', daemons(folder))
        time.sleep(0.05)


with tempfile.TemporaryDirectory() as folder:
    os.environ['TMPDIR'] = folder
    # The command must not name the folder itself: it is found by that.
    out = run(*BASE, 'sh', '-c', 'echo "$LAYERMESH_ROUTER|$LAYERMESH_COORDINATOR"')[0].decode().strip().split('|')
    check(all(e.startswith(f'ipc://{folder}/') for e in out) and out[0] != out[1], out)
    wait_until_gone(folder, 'a command that ended')
    run(*BASE, 'sh', '-c', 'exit 7', code=7)
    run(*BASE, 'sh', '-c', 'kill -9 $$', code=137)
    run(*BASE, 'no-such-command-anywhere', code=1)
    check(os.listdir(folder) == [], os.listdir(folder))

    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGQUIT, 131), (signal.SIGKILL, None)):
        child = subprocess.Popen([LAYERMESH, *BASE, 'sh', '-c', 'echo up; exec sleep 1000'], stdout=subprocess.PIPE)
        check(child.stdout.readline() == b'up\n', 'the command did not start')
        check(len(daemons(folder)) == 4, daemons(folder))
        child.send_signal(number)
        child.wait(timeout=15)
        if status is not None:
            check(child.returncode == status, 'after', number, 'status', child.returncode)
            check(os.listdir(folder) == [], os.listdir(folder))
        wait_until_gone(folder, number)
        check(child.stdout.read() == b'', 'the command lives on')

    # Interrupted while it starts.
    child = subprocess.Popen([LAYERMESH, 'local', '--model', MODEL, '--workers', '2', '--probe-ms', '20000', '--', 'true'],
                             stderr=subprocess.PIPE)
    while len(daemons(folder)) < 4:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    err = child.communicate(timeout=15)[1]
    check(child.returncode == 1 and b'interrupted' in err, child.returncode, err)
    wait_until_gone(folder, 'an interrupted start')

    # More stages than layers cannot be.
    err = run('local', '--model', MODEL, '--workers', '13', '--probe-ms', '20', '--', 'true', code=1)[1]
    check(b'13 workers' in err and b'12 layers' in err, err)
    wait_until_gone(folder, 'a start that failed')
    os.environ.pop('TMPDIR')
passed()
