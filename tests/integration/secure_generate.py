"""A mesh on TCP with keys answers as one on ipc does, for a client's key and for an admin's; without a
key, with a wrong one, and in the clear nobody gets an answer."""
from mesh import Mesh, check, passed
from secure_mesh import SecureMesh

PROMPT = ['-p', 'Tell me a story about a fox.', '-n', 60, '--ignore-eos']

with Mesh(2) as mesh:
    expected = mesh.run('generate', *PROMPT)[0]

with SecureMesh(2) as mesh:
    check(mesh.run('generate', *PROMPT)[0] == expected, 'another answer with an admin key')
    check(mesh.run('generate', *PROMPT, '--key', f'{mesh.keys}/app.key')[0] == expected, 'another answer with a client key')

    plain = {k: v for k, v in mesh.env.items() if k != 'LAYERMESH_KEY'}
    from mesh import run
    _, err = run('generate', *PROMPT, code=1, env=plain)
    check(b'TCP needs a key' in err, err)
    run('generate', *PROMPT, '--insecure', code=1, env=plain)  # a NULL handshake at an encrypted port
    other = mesh.issue('gone', 'client')
    mesh.keys_run('revoke', 'gone')
    _, err = run('generate', *PROMPT, '--key', other, code=1, env=plain)
    check(b'does not admit our key' in err, err)
    _, err = run('status', '--key', f'{mesh.keys}/app.key', code=1, env=plain)
    check(b'is the key of a client' in err, err)
    run('generate', *PROMPT, '--key', f'{mesh.keys}/w-1.key', code=1, env=plain)  # the key of a worker
passed()
