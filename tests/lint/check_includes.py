#!/usr/bin/env python3
"""Third-party headers may be included only where the layer table says so."""
import pathlib
import re
import sys

ALLOWED = {
    r'<(czmq|zmq)\.h>': [r'^common/net/', r'^services/[a-z]+/(main|[a-z_]+_io)\.c$', r'^tests/'],
    r'[<"](protobuf-c/|.*\.pb-c\.h)': [r'^common/wire/'],
    r'<(openblas/)?cblas[a-z_]*\.h>': [r'^common/tensor/tensor_openblas\.c$'],
    r'<(immintrin|x86intrin|cpuid)\.h>': [r'^common/tensor/'],
    r'<(pcre2|utf8proc)\.h>': [r'^common/text/', r'^tests/'],
    r'<jansson\.h>': [r'^common/(hf|text)/', r'^services/cli/', r'^tests/'],
    r'<xxhash\.h>': [r'^common/(gguf|hf)/', r'^common/stage/stage_pack\.c$', r'^tests/'],
    r'<yaml\.h>': [r'^common/config/config_file\.c$'],
    r'<microhttpd\.h>': [r'^common/admin/admin_http\.c$'],
    r'<criterion/': [r'^tests/'],
}
BANNED = re.compile(r'\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|rand|srand|gmtime|localtime|gets)\s*\(')
NO_SLEEP = re.compile(r'\b(sleep|usleep|nanosleep)\s*\(')

root = pathlib.Path(sys.argv[1])
files = [p for d in ('common', 'services', 'tests') for p in sorted((root / d).rglob('*.[ch]'))]
if not files:
    sys.exit('check_includes: no source files found; the gate checked nothing')
bad = 0
for path in files:
    rel = path.relative_to(root).as_posix()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+([<"][^>"]+[>"])', line)
        for pattern, places in ALLOWED.items():
            if m and re.match(pattern, m[1]) and not any(re.search(p, rel) for p in places):
                print(f'{rel}:{number}: {m[1]} is not allowed here')
                bad += 1
        code = line.split('//')[0]
        if BANNED.search(code) and not code.lstrip().startswith('*'):
            print(f'{rel}:{number}: banned function')
            bad += 1
        if NO_SLEEP.search(code) and not rel.startswith('tests/'):
            print(f'{rel}:{number}: wait for an event, do not sleep')
            bad += 1
        if re.search(r'\bTODO\b(?!\(\d+\))', line):
            print(f'{rel}:{number}: a TODO needs its issue number')
            bad += 1
print(f'check_includes: {len(files)} files, {bad} violations')
sys.exit(1 if bad else 0)
