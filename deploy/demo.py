#!/usr/bin/env python3
"""What `./dev demo` runs inside a private mesh: answers, a killed worker, the same answer again."""
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

STORY = 'Tell me a story about a fox named Milo and a lantern.'
QUESTIONS = [
    ('a question about a passage',
     'Read the passage and answer the question.\n\nVera Lindgren is a clockmaker who lives in Oakmere. She was born in '
     'Talwick in 1961. Her brother Otto is a baker. On Sundays the workshop is closed.\n\nQuestion: Where does Vera '
     'live?'),
    ('a translation', 'Translate to French: The girl reads an old book in the garden.'),
    ('a sentiment',
     'What is the sentiment of this review? Answer with positive, negative or neutral.\n\nThe soup was cold and the '
     'waiter was rude. I will never come back.'),
]


def title(text):
    print(f'\n=== {text}', flush=True)


def status():
    return json.loads(subprocess.run([LAYERMESH, 'status', '--json'], check=True, stdout=subprocess.PIPE).stdout)


def show_plan():
    subprocess.run([LAYERMESH, 'plan', '--explain'], check=True)
    sys.stdout.flush()


def chat_file(prompt):
    file = tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8')
    json.dump([{'role': 'user', 'content': prompt}], file)
    file.flush()
    return file


def generate(prompt, *options):
    """The whole answer as the object that --json prints."""
    with chat_file(prompt) as file:
        done = subprocess.run([LAYERMESH, 'generate', '--chat', file.name, '-n', '320', '--json', *options], check=True,
                              stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def stream(prompt, at_bytes=None, action=None):
    """Prints the answer as it comes; calls action() once at_bytes have come. Returns text, seconds, longest pause
    in seconds after the action (or over all)."""
    with chat_file(prompt) as file:
        child = subprocess.Popen([LAYERMESH, 'generate', '--chat', file.name, '-n', '320'], stdout=subprocess.PIPE)
        text, started = b'', time.monotonic()
        last, pause = started, 0.0
        while True:
            ready, _, _ = select.select([child.stdout], [], [], 60)
            if not ready:
                child.kill()
                raise SystemExit('demo: no text came for 60 s')
            piece = os.read(child.stdout.fileno(), 65536)
            now = time.monotonic()
            if not piece:
                break
            if text:
                pause = max(pause, now - last)
            last = now
            text += piece
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            if action and len(text) >= at_bytes:
                action()
                action, pause, last = None, 0.0, time.monotonic()
        if child.wait() != 0:
            raise SystemExit('demo: the answer failed')
    print(flush=True)
    return text, last - started, pause


def kill_middle_worker():
    victim = next(w for w in WORKERS if w['first_layer'] not in (None, 0))
    os.kill(victim['pid'], signal.SIGKILL)
    print(f"\n\n  *** SIGKILL to {victim['id']} (pid {victim['pid']}), which held layers "
          f"{victim['first_layer']} to {victim['last_layer']} ***\n", flush=True)


if len(sys.argv) != 2:
    raise SystemExit('usage: demo.py LAYERMESH   (LAYERMESH_ROUTER and LAYERMESH_COORDINATOR set)')
LAYERMESH = sys.argv[1]
WORKERS = status()['workers']

title('the mesh: a coordinator, a router and these workers, each a process of its own')
subprocess.run([LAYERMESH, 'status'], check=True)
title('the plan')
show_plan()

for what, question in QUESTIONS:
    title(what)
    print(f'> {question}\n', flush=True)
    stream(question)

title('a story, undisturbed')
print(f'> {STORY}\n', flush=True)
calm, calm_seconds, _ = stream(STORY)
calm_ids = generate(STORY)

title('the same story; a worker is killed in mid-sentence')
print(f'> {STORY}\n', flush=True)
epoch_before = status()['plan_epoch']
disturbed, disturbed_seconds, pause = stream(STORY, max(1, len(calm) * 2 // 5), kill_middle_worker)

title('the plan after that')
show_plan()

title('measured')
again = generate(STORY)
epoch_after = status()['plan_epoch']
same_text = calm == disturbed
same_ids = calm_ids['ids'] == again['ids']
print(f"undisturbed: {calm_ids['usage']['completion_tokens']} tokens, "
      f"{calm_ids['timings']['tokens_per_second']:.1f} tokens/s, first after {calm_ids['timings']['ttft_ms']:.0f} ms; "
      f'{calm_seconds:.2f} s in all')
print(f'with the kill: {disturbed_seconds:.2f} s in all, longest pause {pause * 1000:.0f} ms, '
      f'plan {epoch_before} -> {epoch_after}')
print(f"afterwards, on {sum(w['first_layer'] is not None and w['state'] != 'lost' for w in status()['workers'])} "
      f"workers: {again['timings']['tokens_per_second']:.1f} tokens/s")
print('the answer with the kill is ' + ('identical, byte for byte' if same_text else 'DIFFERENT'))
print('the ids before and after are ' + ('identical' if same_ids else 'DIFFERENT'))
if epoch_after == epoch_before:
    raise SystemExit('demo: the plan did not change; was the answer over before the kill?')
if not (same_text and same_ids):
    raise SystemExit(1)
