"""The systemd units: accepted by systemd-analyze, hardened, patient enough for the examples' grace; and the programs
work where memory can never be both written and executed, as the units demand. Parts whose tool or kernel is absent
are left out with a line."""
import ctypes
import pathlib
import re
import shutil
import subprocess
import tempfile

from mesh import LAYERMESH, SOURCE, Mesh, check, expected_cases, passed

BIN = pathlib.Path(LAYERMESH).parent.parent
UNITS = sorted((SOURCE / 'deploy/systemd').glob('*.service'))
PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN = 65, 1

check([u.name for u in UNITS] == [f'layermesh-{n}.service' for n in ('coordinator', 'router', 'worker')], UNITS)
for unit in UNITS:
    text = unit.read_text(encoding='utf-8')
    name = unit.stem.removeprefix('layermesh-')
    for line in ('NoNewPrivileges=yes', 'ProtectSystem=strict', 'MemoryDenyWriteExecute=yes', 'CapabilityBoundingSet=',
                 'Type=notify', 'User=layermesh'):
        check(f'\n{line}\n' in text, unit, 'lacks', line)
    example = (SOURCE / 'deploy/examples' / f'{name}.yaml').read_text(encoding='utf-8')
    grace = re.search(r'^grace-s: (\d+)$', example, re.M)
    stop = int(re.search(r'^TimeoutStopSec=(\d+)$', text, re.M)[1])
    check(grace is None or int(grace[1]) < stop, unit, 'would kill within the grace period')

if shutil.which('systemd-analyze') is None:
    print('systemd-analyze is absent: the units are not checked by it')
else:
    with tempfile.TemporaryDirectory() as folder:
        for unit in UNITS:
            service = unit.stem.removeprefix('layermesh-')
            copy = pathlib.Path(folder, unit.name)
            copy.write_text(unit.read_text(encoding='utf-8').replace('/usr/local/bin', str(BIN / service)),
                            encoding='utf-8')
            done = subprocess.run(['systemd-analyze', 'verify', '--man=no', copy], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=60)
            check(done.returncode == 0 and not done.stdout, unit, done.stdout.decode())
            done = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--threshold=20', copy],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            check(done.returncode == 0, unit, 'is more exposed than 2.0:', done.stdout.decode())

# Inherited by all that is started from here.
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    print('this kernel has no PR_SET_MDWE: not run without executable memory')
else:
    case = expected_cases()[0]
    with Mesh(2) as mesh:
        text = mesh.run('generate', '-p', case['prompt'], '-n', len(case['ids']))[0].decode()
        check(text.strip() == case['text'].strip(), text)
passed()
