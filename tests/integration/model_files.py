"""convert, quantize, inspect and synth: what is written opens, answers like its source, and is there only when whole."""
import json
import math
import os
import pathlib
import struct
import tempfile

from mesh import MODEL, SOURCE, Mesh, check, comma, expected_cases, passed, run

case = expected_cases()[1]
ids = (case['prompt_ids'] + case['ids'])[:60]


def inspect(path, *options):
    return json.loads(run('inspect', path, '--json', *options)[0])


def logits(model):
    with tempfile.TemporaryDirectory() as own, Mesh(2, model=model) as mesh:
        path = pathlib.Path(own, 'logits.bin')
        mesh.run('score', '--ids', comma(ids), '--all', '--logits', path, '--json')
        return path.read_bytes()


def divergence(a, b, vocab):
    """Mean KL divergence of b's rows from a's."""
    count, total = len(a) // 4 // vocab, 0.0
    for i in range(count):
        rows = [struct.unpack_from(f'<{vocab}f', d, 4 * vocab * i) for d in (a, b)]
        tops = [max(r) for r in rows]
        sums = [math.log(math.fsum(math.exp(x - t) for x in r)) + t for r, t in zip(rows, tops)]
        total += math.fsum(math.exp(x - sums[0]) * (x - sums[0] - y + sums[1]) for x, y in zip(*rows))
    return total / count


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    kept, split, small = folder / 'kept.gguf', folder / 'split.gguf', folder / 'small.gguf'

    # As it is, whole and in parts: the same bits.
    whole = logits(MODEL)
    run('convert', MODEL, kept)
    run('convert', MODEL, split, '--split', '2MiB')
    parts = sorted(folder.glob('split-*.gguf'))
    check(len(parts) > 3 and not split.exists(), parts)
    check(logits(str(kept)) == whole, 'a copy gives other logits')
    check(logits(str(parts[0])) == whole, 'a split copy gives other logits')

    # A target that exists stays, unless told otherwise; nothing is left behind a failure.
    before = kept.read_bytes()
    check(b'--force' in run('convert', MODEL, kept, '--type', 'q4_0', code=1)[1], 'exists')
    check(kept.read_bytes() == before, 'it was touched')
    run('convert', '--force', MODEL, kept)
    run('convert', folder / 'absent', folder / 'new.gguf', code=1)
    run('convert', SOURCE, folder / 'new.gguf', code=1)
    check(not list(folder.glob('*.tmp*')) and not (folder / 'new.gguf').exists(), list(folder.iterdir()))
    for wrong in (['quantize', MODEL, small], ['quantize', MODEL, small, '--type', 'q9'], ['convert', MODEL],
                  ['convert', MODEL, small, 'more'], ['synth'], ['synth', small, '--shape', 'round'], ['inspect'],
                  ['inspect', MODEL, '--workers', 'many']):
        run(*wrong, code=2)

    # Fewer bits: other types, smaller, and not far from the source.
    source = inspect(MODEL)
    vocab = source['vocab_size']
    for name, types, bound in (('q6_k', {'Q6_K', 'F32'}, 0.02), ('q4_k_m', {'Q4_K', 'Q6_K', 'F32'}, 0.15),
                               ('iq4_nl', {'IQ4_NL', 'Q5_K', 'Q6_K', 'F32'}, 0.15)):
        run('quantize', MODEL, small, '--type', name, '--force')
        found = inspect(small)
        check(set(found['types']) <= types and len(found['types']) > 1, name, found['types'])
        check(found['weight_bytes'] < source['weight_bytes'], name, 'is no smaller')
        check(found['metadata']['tokenizer.ggml.tokens'] == source['metadata']['tokenizer.ggml.tokens'], name)
        distance = divergence(whole, logits(str(small)), vocab)
        check(0 < distance < bound, name, 'diverges by', distance)

    # A Hugging Face folder and the file made of it.
    for model in ('llama_yarn', 'gpt_oss', 'qwen3_moe'):
        hf = SOURCE / 'tests/fixtures/models' / model / 'hf'
        run('convert', hf, folder / f'{model}.gguf')
        ours, made = inspect(hf), inspect(folder / f'{model}.gguf')
        for key in ('family', 'layers', 'types', 'parameters', 'weight_bytes', 'tensor_count'):
            check(ours[key] == made[key], model, key, ours[key], made[key])

    # Random weights: the same bytes for the same seed; the plan fits the workers.
    one, two = folder / 'one.gguf', folder / 'two.gguf'
    run('synth', one, '--shape', 'tiny', '--type', 'q4_k_m', '--seed', '5')
    run('synth', two, '--shape', 'tiny', '--type', 'q4_k_m', '--seed', '5')
    check(one.read_bytes() == two.read_bytes(), 'seed 5 twice')
    run('synth', two, '--shape', 'tiny', '--type', 'q4_k_m', '--seed', '6', '--force')
    check(one.read_bytes() != two.read_bytes() and os.path.getsize(one) == os.path.getsize(two), 'seeds 5 and 6')
    check(json.loads(run('tokenize', '--model', one, '--json', stdin=b'ab c')[0])['ids'][0] == 1, 'its tokenizer')
    plan = inspect(one, '--workers', '64MiB,64MiB,1MiB')['plan']
    check(sum(s['layer_count'] for s in plan['stages']) == 4, plan)
    check([w['worker'] for w in plan['left_out']][-1] == 2, plan)
    check('impossible' in inspect(one, '--workers', '1MiB')['plan'], 'nothing fits')
    text = run('inspect', one, '--workers', '64MiB')[0].decode()
    check('family llama: 4 layers' in text and 'embedding, blocks 0 to 3, head' in text, text)
passed()
