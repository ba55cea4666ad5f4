"""The demo model's expected answers, and the same bits on 1, 2, 3 and 12 stages."""
from mesh import Mesh, check, comma, expected_cases, passed, without_timings

NEAR_TIE = 0.05  # below this gap rounding the weights to 8 bits may turn a choice

first = None
for stage_count in (1, 2, 3, 12):
    with Mesh(stage_count) as mesh:
        answers = []
        for case in expected_cases():
            answer = mesh.chat(case['messages'], '-n', 400)
            by_ids = mesh.generate('--ids', comma(case['prompt_ids']), '-n', 400)
            check(without_timings(answer) == without_timings(by_ids), 'chat and ids differ:', case['prompt'])
            check(answer['usage']['prompt_tokens'] == len(case['prompt_ids']), answer['usage'])
            check(answer['usage']['completion_tokens'] == len(answer['ids']), answer['usage'])
            check(len(answer['logprobs']) == len(answer['ids']), 'logprobs and ids differ in length')
            check(answer['finish_reason'] == 'stop', answer)
            if case['smallest_gap'] > NEAR_TIE:
                check(answer['ids'] == case['ids'], stage_count, 'stages:', answer['ids'], 'not', case['ids'])
                check(answer['text'] == case['text'], stage_count, 'stages:', answer['text'])
            else:
                check(answer['ids'][:20] == case['ids'][:20], stage_count, 'stages:', answer['ids'])
            answers.append(without_timings(answer))
        first = first or answers
        check(answers == first, stage_count, 'stages give other ids or log-probabilities than one')
passed()
