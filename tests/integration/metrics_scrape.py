"""/metrics of each daemon: promtool finds nothing wrong, the numbers are those of what was asked, and a real
Prometheus reads them all. Where its Debian package (prometheus) is absent, its part is left out."""
import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

from mesh import check, passed
from observed_mesh import ObservedMesh

DAEMONS = ('coordinator', 'router', 'w-1', 'w-2')


def check_text(mesh):
    promtool = shutil.which('promtool')
    if promtool is None:
        print('promtool is absent: the text is not checked by it')
    for name in DAEMONS:
        text = mesh.get(name, '/metrics')[1]
        check(text.endswith('\n') and text.count('# TYPE') > 20, name, text)
        if promtool is not None:
            done = subprocess.run([promtool, 'check', 'metrics'], input=text.encode(), timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            check(done.returncode == 0 and not done.stdout, name, done.stdout.decode())


def check_numbers(mesh):
    for _ in range(3):
        mesh.run('generate', '-p', 'Hello', '-n', 20, '--ignore-eos')
    mesh.run('generate', '--ids', 1048575, '-n', 2, code=1)
    # The coordinator counts at its own pace, which generation may outrun.
    mesh.wait_for(lambda _: mesh.numbers('coordinator')['layermesh_plan_in_force'] == 1, 10, 'a counted plan')
    router, coordinator = mesh.numbers('router'), mesh.numbers('coordinator')
    check(router['layermesh_requests_total{outcome="length"}'] == 3, router)
    check(router['layermesh_requests_total{outcome="refused"}'] == 1, router)
    check(router['layermesh_request_errors_total{code="INVALID"}'] == 1, router)
    check(router['layermesh_completion_tokens_total'] == 60, router)
    check(router['layermesh_time_to_first_token_seconds_count'] == 3, router)
    check(router['layermesh_between_tokens_seconds_count'] == 57, router)
    check(router['layermesh_queue_wait_seconds_count'] == 3, router)
    check(router['layermesh_hop_seconds_count{stage="0"}'] == router['layermesh_hop_seconds_count{stage="1"}'] > 60,
          router)
    check(router['layermesh_kv_pages'] == coordinator['layermesh_kv_pages'] > 0, router, coordinator)
    check(router['layermesh_epoch'] == coordinator['layermesh_epoch'] >= 1, router, coordinator)
    check(coordinator['layermesh_workers{state="ready"}'] == 2, coordinator)
    check(coordinator['layermesh_routers'] == 1 and coordinator['layermesh_plan_in_force'] == 1, coordinator)
    for name in ('w-1', 'w-2'):
        worker = mesh.numbers(name)
        check(worker['layermesh_steps_total'] > 60 and worker['layermesh_busy_seconds_total'] > 0, worker)
        check(worker['layermesh_sent_bytes_total'] > 1000 and worker['layermesh_received_bytes_total'] > 1000, worker)
        check(worker['layermesh_kv_pages'] == router['layermesh_kv_pages'], worker)
        check(worker['process_resident_memory_bytes'] > 1e6 and worker['process_open_fds'] > 5, worker)


def free_port():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        return taken.getsockname()[1]


def check_prometheus(mesh):
    prometheus = shutil.which('prometheus')
    if prometheus is None:
        print('prometheus is absent: nobody scrapes')
        return
    folder, port = pathlib.Path(mesh.folder.name), free_port()
    targets = [mesh.admin(name) for name in DAEMONS]
    config = {'global': {'scrape_interval': '1s'},
              'scrape_configs': [{'job_name': 'layermesh', 'static_configs': [{'targets': targets}]}]}
    (folder / 'prometheus.yml').write_text(json.dumps(config), encoding='utf-8')  # JSON is YAML
    with open(folder / 'prometheus.log', 'wb') as log:
        server = subprocess.Popen([prometheus, f'--config.file={folder}/prometheus.yml',
                                   f'--storage.tsdb.path={folder}/data', f'--web.listen-address=127.0.0.1:{port}'],
                                  stdout=log, stderr=log)

    def ask(path):
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{port}/api/v1/{path}', timeout=10) as answer:
                return json.load(answer)['data']
        except OSError:
            return None

    try:
        end = time.monotonic() + 60
        while True:
            data = ask('targets')
            up = [t for t in data['activeTargets'] if t['health'] == 'up'] if data else []
            if len(up) == len(targets):
                break
            check(server.poll() is None, 'prometheus ended')
            check(time.monotonic() < end, 'prometheus does not reach all daemons:', data)
            time.sleep(0.2)
        rows = ask('query?query=layermesh_requests_total%7Boutcome%3D%22length%22%7D')['result']
        check(len(rows) == 1 and float(rows[0]['value'][1]) == 3, rows)
        rows = ask('query?query=layermesh_epoch')['result']
        check(len(rows) == 4 and len({row['value'][1] for row in rows}) == 1, rows)
    finally:
        server.kill()
        server.wait()


with ObservedMesh(memory='1GiB') as mesh:
    check_text(mesh)
    check_numbers(mesh)
    check_prometheus(mesh)
    check_text(mesh)
passed()
