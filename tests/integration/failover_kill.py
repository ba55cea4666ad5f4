"""SIGKILL of every stage, while prompts are read and while answers are written, with spares at hand:
the answers, greedy and seeded, are those of an undisturbed mesh."""
import os
import signal

from failover_mesh import (GREEDY, LONG_PROMPT, SEEDED, SHORT, begin, collect, is_free, is_lost, kill, stage_holder,
                           texts)
from mesh import Mesh, check, passed

STAGES = 3

with Mesh(STAGES, spares=STAGES) as mesh:
    undisturbed = [mesh.run('generate', *LONG_PROMPT, *sampling)[0] for sampling in (GREEDY, SEEDED)]
    check(undisturbed[0] != undisturbed[1], 'greedy and seeded answers are the same')
    for stage in range(STAGES):
        # A stopped stage lets no prompt through, so the kill comes before the first token.
        victim = stage_holder(mesh, stage)
        os.kill(victim['pid'], signal.SIGSTOP)
        children = [mesh.start('generate', *LONG_PROMPT, *sampling) for sampling in (GREEDY, SEEDED)]
        # On a busy machine its lease may end before both run: then it was lost in the prompt all the same.
        mesh.wait_for(lambda s: s['requests']['running'] == 2 or is_lost(s, victim), 20, 'the requests do not run')
        kill(victim)
        check(collect(children) == undisturbed, 'killed in prefill, stage', stage, victim['id'])
        check(stage_holder(mesh, stage)['id'] != victim['id'], 'the lost worker still holds a stage')
    mesh.wait_for(is_free, 5, 'pages or requests are left')

with Mesh(STAGES, spares=STAGES) as mesh:
    undisturbed = texts(mesh, SHORT)
    for stage in range(STAGES):
        victim = stage_holder(mesh, stage)
        children = [mesh.start('generate', *SHORT, *sampling) for sampling in (GREEDY, SEEDED)]
        begun = [begin(child, 1 + 150 * stage) for child in children]
        kill(victim)
        check(all(child.poll() is None for child in children), 'the answers were complete before the kill')
        answers = [first + rest for first, rest in zip(begun, collect(children))]
        check(answers == undisturbed, 'killed in decode, stage', stage, victim['id'])
    mesh.wait_for(is_free, 5, 'pages or requests are left')
passed()
