"""What `./dev install` leaves: programs that find each other, and a library that others build with."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from mesh import MODEL, PROBE_MS, SOURCE, check, passed

BUILD = sys.argv[1]


def output(*command, **options):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240, **options)
    check(done.returncode == 0, *command, 'ended with', done.returncode, '\n', done.stdout.decode(errors='replace'))
    return done.stdout.decode()


with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    output('meson', 'install', '-C', BUILD, '--no-rebuild', '--destdir', root)
    pc = next(root.rglob('layermesh.pc'))
    prefix = pc.parents[3] if pc.parents[1].name != 'lib' else pc.parents[2]
    library = next(root.rglob('liblayermesh.so.0'))
    symbols = [line.split()[-1] for line in output('nm', '-D', '--defined-only', library).splitlines()]
    check(symbols and all(s.startswith('lmesh_') for s in symbols), symbols)
    header = (SOURCE / 'common/sdk/include/layermesh.h').read_text(encoding='utf-8')
    check(all(f'{s}(' in header for s in symbols), 'symbols that the header does not declare:', symbols)
    check('[liblayermesh.so.0]' in output('readelf', '-d', library), 'soname')

    env = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=folder, PKG_CONFIG_PATH=str(pc.parent),
               LD_LIBRARY_PATH=str(library.parent))
    env.pop('LAYERMESH_BINDIR', None)
    flags = output('pkg-config', '--cflags', '--libs', 'layermesh', env=env).split()
    shutil.copy(SOURCE / 'common/sdk/example/example_generate.c', root)
    output('cc', '-std=c11', '-Wall', '-Werror', root / 'example_generate.c', *flags, '-o', root / 'example')
    said = output(next(root.rglob('bin/layermesh')), 'local', '--model', MODEL, '--workers', '2', '--probe-ms', PROBE_MS,
                  '--', root / 'example', 'Once upon a time', env=env)
    check('(32 tokens in' in said and len(said) > 60, said)
    print(said, prefix)
passed()
