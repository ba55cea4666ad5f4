"""Ctrl-C of a client ends its request and frees its pages on all stages; so does its death."""
import json
import os
import signal

from mesh import Mesh, check, passed

LONG = ['-p', 'Tell me a story.', '-n', 900, '--ignore-eos']


def is_idle(status):
    return status['requests'] == {'running': 0, 'waiting': 0} and all(
        w['kv_pages']['used'] == 0 for w in status['workers'])


with Mesh(3) as mesh:
    child = mesh.start('generate', *LONG)
    text = os.read(child.stdout.fileno(), 1)
    check(len(text) == 1, 'no text came')
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    check(child.returncode == 1, 'status', child.returncode)
    check(b'cancelled' in err, err)
    mesh.wait_for(is_idle, 5, 'pages of a cancelled request are not freed')

    child = mesh.start('generate', '--json', *LONG)
    mesh.wait_for(lambda s: s['requests']['running'] == 1, 10, 'the request does not run')
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    check(child.returncode == 1, 'status', child.returncode)
    answer = json.loads(out)
    check(answer['finish_reason'] == 'cancelled', answer['finish_reason'])
    check(len(answer['ids']) == len(answer['logprobs']), 'lengths')
    mesh.wait_for(is_idle, 5, 'pages of a cancelled request are not freed')

    child = mesh.start('generate', *LONG)
    check(len(os.read(child.stdout.fileno(), 1)) == 1, 'no text came')
    child.kill()
    child.communicate()
    mesh.wait_for(is_idle, 20, 'pages of a killed client are not freed')

    err = mesh.run('generate', '--deadline-ms', 1, *LONG, code=1)[1]
    check(b'deadline' in err or b'time' in err.lower(), err)
    mesh.wait_for(is_idle, 5, 'pages of a request past its deadline are not freed')
passed()
