#!/usr/bin/env python3
"""The dashboard and the autoscaler ask for metrics that the daemons have."""
import json
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
known = set()
for path in [*root.glob('services/*/*.c'), *root.glob('common/*/*.c')]:
    known.update(re.findall(r'PREFIX\s+"([a-z_]+)"', path.read_text(encoding='utf-8')))
dashboard = root / 'deploy/compose/grafana/dashboards/layermesh.json'
asked = {}
for panel in json.loads(dashboard.read_text(encoding='utf-8'))['panels']:
    for target in panel['targets']:
        for name in re.findall(r'layermesh_([a-z_]+)', target['expr']):
            asked[re.sub(r'_(bucket|sum|count)$', '', name)] = panel['title']
for path in root.glob('deploy/kubernetes/**/*.yaml'):
    for name in re.findall(r'rate\(layermesh_([a-z_]+)_bucket', path.read_text(encoding='utf-8')):
        asked[name] = path.name
if not asked or not known:
    sys.exit('check_dashboard: nothing was found; the gate checked nothing')
missing = {name: where for name, where in asked.items() if name not in known}
for name, where in sorted(missing.items()):
    print(f'{where}: no daemon has layermesh_{name}')
print(f'check_dashboard: {len(asked)} metrics asked for, {len(missing)} missing')
sys.exit(1 if missing else 0)
