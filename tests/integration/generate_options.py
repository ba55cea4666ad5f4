"""Options of generate: the form of the object, stops, penalties, bans, streaming."""
import subprocess

from mesh import LAYERMESH, Mesh, check, comma, expected_cases, passed, without_timings

story = expected_cases()[1]
prompt = ['--ids', comma(story['prompt_ids'])]

with Mesh(2) as mesh:
    answer = mesh.generate(*prompt, '-n', 30)
    check(list(answer) == ['ids', 'text', 'logprobs', 'finish_reason', 'usage', 'timings'], list(answer))
    check(set(answer['usage']) == {'prompt_tokens', 'completion_tokens'}, answer['usage'])
    check(set(answer['timings']) == {'ttft_ms', 'total_ms', 'tokens_per_second'}, answer['timings'])
    check(answer['finish_reason'] == 'length' and len(answer['ids']) == 30, answer)
    check(all(isinstance(x, float) and x <= 0 for x in answer['logprobs']), answer['logprobs'])
    check(0 < answer['timings']['ttft_ms'] <= answer['timings']['total_ms'], answer['timings'])

    streamed = mesh.run('generate', *prompt, '-n', 30)[0].decode()
    check(streamed == answer['text'], 'streamed', repr(streamed), 'not', repr(answer['text']))

    word = answer['text'].split()[3]
    stopped = mesh.generate(*prompt, '-n', 30, '--stop', 'no such text', '--stop', word)
    check(stopped['finish_reason'] == 'stop', stopped)
    check(stopped['text'] == answer['text'][:answer['text'].index(word)], repr(stopped['text']))

    banned = mesh.generate(*prompt, '-n', 5, '--logit-bias', f"{answer['ids'][0]}=-inf")
    check(answer['ids'][0] not in banned['ids'][:1], banned)
    forced = mesh.generate(*prompt, '-n', 1, '--logit-bias', '1234=100000')
    check(forced['ids'] == [1234], forced)

    tops = mesh.generate(*prompt, '-n', 4, '--top-logprobs', 3)['top_logprobs']
    check(len(tops) == 4 and all(len(row) == 3 for row in tops), tops)
    for row, token, logprob in zip(tops, answer['ids'], answer['logprobs']):
        check(row[0] == {'id': token, 'logprob': logprob}, row, token, logprob)
        check(row[0]['logprob'] >= row[1]['logprob'] >= row[2]['logprob'], row)

    seeded = [mesh.generate(*prompt, '-n', 12, '--temperature', 1.2, '--seed', seed) for seed in (1, 1, 2, 3, 4)]
    check(without_timings(seeded[0]) == without_timings(seeded[1]), 'the same seed gives two answers')
    check(any(s['ids'] != seeded[0]['ids'] for s in seeded[2:]), 'seeds make no difference')

    endless = mesh.generate('--ids', comma(expected_cases()[5]['prompt_ids']), '-n', 40, '--ignore-eos')
    check(endless['finish_reason'] == 'length' and len(endless['ids']) == 40, endless)
    check(2 not in endless['ids'] and 0 not in endless['ids'], 'an end token in spite of --ignore-eos')

    full = mesh.generate(*prompt, '-n', 0, '--ignore-eos')
    check(full['finish_reason'] == 'length', full['finish_reason'])
    check(full['usage']['prompt_tokens'] + full['usage']['completion_tokens'] in (1024, 1025), full['usage'])

    too_long = mesh.run('generate', '--ids', comma([5] * 1100), code=1)[1]
    check(b'1100' in too_long or b'context' in too_long, too_long)
    with open('/dev/full', 'wb') as full:
        for form, reason in (([], b'No space left'), (['--json'], b'could not be printed')):
            done = subprocess.run([LAYERMESH, 'generate', *prompt, '-n', '900', '--ignore-eos', *form], env=mesh.env,
                                  stdout=full, stderr=subprocess.PIPE, timeout=60)
            check(done.returncode == 1 and reason in done.stderr, form, done)
    beyond = mesh.run('generate', '--ids', '4096', code=1)[1]
    check(b'4096' in beyond, beyond)
passed()
