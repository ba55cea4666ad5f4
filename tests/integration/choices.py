"""Several answers to one prompt: each is what a request of its own gets, also when stages are killed, and
the prompt is computed and kept once."""
from failover_mesh import begin, collect, is_free, kill, stage_holder
from mesh import Mesh, check, expected_cases, passed

STAGES = 3
CHOICES = 4
SEED = 40
TOKENS = 200
PROMPT = ' '.join(case['text'] for case in expected_cases())[:2600]
SAMPLING = ['--temperature', 0.9, '--top-k', 50, '--top-p', 0.95, '--dry-multiplier', 0.5]
REQUEST = ['-p', PROMPT, '-n', TOKENS, '--ignore-eos', *SAMPLING]


def text_of(choices):
    """What generate prints for them."""
    return '\n'.join(f'--- choice {i} ---\n{text}' for i, text in enumerate(choices))


with Mesh(STAGES, spares=STAGES) as mesh:
    singles = [mesh.generate(*REQUEST, '--seed', SEED + i) for i in range(CHOICES)]
    check(len({s['text'] for s in singles}) == CHOICES, 'seeds make no difference')
    request = [*REQUEST, '--choices', CHOICES, '--seed', SEED]

    answer = mesh.generate(*request)
    check(set(answer) == {'choices', 'usage', 'timings'}, list(answer))
    prompt_tokens = singles[0]['usage']['prompt_tokens']
    shared = prompt_tokens // 64 * 64
    for i, (choice, single) in enumerate(zip(answer['choices'], singles)):
        check(choice['index'] == i, choice['index'])
        for key in ('ids', 'text', 'logprobs', 'finish_reason', 'usage'):
            check(choice[key] == single[key], 'choice', i, key, choice[key], 'alone', single[key])
        check(choice['shared_tokens'] == (shared if i > 0 else 0), i, choice['shared_tokens'])
    check(shared > 0 and answer['usage'] == {'prompt_tokens': prompt_tokens, 'completion_tokens': CHOICES * TOKENS,
                                             'shared_tokens': (CHOICES - 1) * shared}, answer['usage'])

    # Pages in use while all run: those of the prompt once, and of each answer its own.
    child = mesh.start('generate', *request)
    begin(child, 200)
    def pages_used(status):
        return [w['kv_pages']['used'] for w in status['workers'] if w['first_layer'] is not None]
    # Heartbeats tell it a little later.
    used = pages_used(mesh.wait_for(lambda s: s['requests']['running'] == CHOICES and all(pages_used(s)), 20,
                                    'the choices do not run'))
    most = shared // 64 + CHOICES * (-(-(prompt_tokens + TOKENS) // 64) - shared // 64)
    check(all(u <= most for u in used), used, 'pages are used, at most', most)
    check(most < CHOICES * -(-prompt_tokens // 64), 'the bound holds without sharing too')
    child.communicate(timeout=60)

    # A stage is killed while the first answers are being written, and once more while the prompt is read.
    for stage, written in ((1, 300), (2, 20)):
        victim = stage_holder(mesh, stage)
        child = mesh.start('generate', *request)
        first = begin(child, written)
        kill(victim)
        check(child.poll() is None, 'the answers were complete before the kill')
        text = (first + collect([child])[0]).decode()
        check(text == text_of([s['text'] for s in singles]), 'after the loss of stage', stage, repr(text))
    mesh.wait_for(is_free, 5, 'pages or requests are left')

    # One stops by itself, the others go on.
    word = singles[1]['text'].split()[3]
    stopped = mesh.generate(*request, '--stop', word)
    for choice, single in zip(stopped['choices'], singles):
        check(choice['text'] == single['text'].split(word)[0], choice['text'])
        check(choice['finish_reason'] == ('stop' if word in single['text'] else 'length'), choice['finish_reason'])
    greedy = mesh.generate('-p', 'Once upon a time', '-n', 5, '--choices', 2)['choices']
    check(greedy[0]['ids'] == greedy[1]['ids'], greedy)
    too_many = mesh.run('generate', '-p', 'x', '--choices', 129, code=2)[1]
    check(b'choices' in too_many, too_many)
passed()
