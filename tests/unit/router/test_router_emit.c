#include <criterion/criterion.h>
#include <string.h>

#include "router_fixture.h"

TestSuite(router_emit);

static const uint32_t PROMPT[64] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

Test(router_emit, each_token_is_a_partial_while_the_client_reads)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 30);
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->partial_count, 30);
    fixture_destroy(mesh);
}

Test(router_emit, a_slow_client_gets_one_large_partial_and_holds_nobody_up)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 30);
    fixture_send(mesh, 1, &request);
    fixture_send(mesh, 2, &request);
    mesh->client_takes[1] = ROUTER_SENT_NOT;
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 2, 1)->final_count, 1);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->partial_count, 0);
    cr_assert_eq(fixture_pages_used(mesh), 0, "what is computed needs no pages");
    mesh->client_takes[1] = ROUTER_SENT;
    fixture_wait_ms(mesh, 20);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->partial_count, 1);
    cr_assert_eq(answer->id_count, 30);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(memcmp(answer->ids, fixture_answer_of(mesh, 2, 1)->ids, 30 * 4), 0);
    fixture_destroy(mesh);
}

Test(router_emit, what_is_not_read_is_not_computed_on_and_ends_at_last)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 1000);
    fixture_send(mesh, 1, &request);
    mesh->client_takes[1] = ROUTER_SENT_NOT;
    fixture_run(mesh);
    uint64_t steps = mesh->steps_sent;
    cr_assert_lt(steps, 300);
    struct wire_message ping = {.kind = WIRE_PING};
    fixture_wait_ms(mesh, 5000);
    fixture_send(mesh, 1, &ping);
    mesh->client_takes[1] = ROUTER_SENT;
    fixture_wait_ms(mesh, 20);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->id_count, 1000, "it went on when it was read");
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 1);

    request.generate.request_id = 2;
    fixture_send(mesh, 1, &request);
    mesh->client_takes[1] = ROUTER_SENT_NOT;
    fixture_run(mesh);
    for (int i = 0; i < 3; i++) {
        fixture_wait_ms(mesh, 5000);
        fixture_send(mesh, 1, &ping);
    }
    fixture_run(mesh);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    struct wire_router_status status;
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running + status.requests_waiting, 0);
    fixture_destroy(mesh);
}

Test(router_emit, refusals_wait_for_room_too)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    mesh->client_takes[1] = ROUTER_SENT_NOT;
    for (uint64_t i = 0; i < 100; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 0, 10);
        fixture_send(mesh, 1, &request);
    }
    cr_assert_eq(mesh->answer_count, 0);
    mesh->client_takes[1] = ROUTER_SENT;
    fixture_wait_ms(mesh, 20);
    cr_assert_eq(mesh->answer_count, 100);
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(fixture_answer_of(mesh, 1, i)->final_count, 1);
    fixture_destroy(mesh);
}

Test(router_emit, refusals_of_a_client_that_is_gone_are_dropped)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    mesh->client_takes[1] = mesh->client_takes[2] = ROUTER_SENT_NOT;
    for (uint64_t i = 0; i < 20; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 0, 10);
        fixture_send(mesh, 1 + i % 2, &request);
    }
    mesh->client_takes[1] = ROUTER_CLIENT_GONE;
    mesh->client_takes[2] = ROUTER_SENT;
    fixture_wait_ms(mesh, 100);
    cr_assert_eq(mesh->answer_count, 10);
    fixture_destroy(mesh);
}

Test(router_emit, unread_scores_are_kept_in_order_and_bounded)
{
    struct router_options options = fixture_options();
    options.batch_tokens = 4;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    mesh->client_takes[1] = ROUTER_SENT_NOT;
    struct wire_message score = {.kind = WIRE_SCORE,
        .score = {.request_id = 1,
            .ids = PROMPT,
            .id_count = 64,
            .all_positions = true,
            .want_logits = true,
            .want_logprobs = true}};
    fixture_send(mesh, 1, &score);
    fixture_run(mesh);
    cr_assert_lt(mesh->steps_sent, 10, "16 micro-batches are needed for all");
    mesh->client_takes[1] = ROUTER_SENT;
    fixture_wait_ms(mesh, 20);
    fixture_run(mesh);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->row_count, 64);
    cr_assert_eq(answer->score_count, 63);
    cr_assert_eq(answer->final_count, 1);
    uint64_t hashes[64];
    sim_log_hashes(PROMPT, 64, hashes);
    for (uint32_t p = 0; p < 64; p++)
        for (uint32_t id = 0; id < FIXTURE_VOCAB; id++)
            cr_assert_eq(answer->logits[p * FIXTURE_VOCAB + id], sim_logit(hashes[p], id));
    fixture_destroy(mesh);
}

/* A score of every row of its prompt, in parts of 4. */
static struct fixture *start_score(struct router_options *options, uint64_t *ids, size_t count)
{
    options->batch_tokens = 4;
    struct fixture *mesh = fixture_new(options, NULL);
    fixture_plan(mesh, 1, 20);
    mesh->partials_taken[1] = 0;
    for (size_t i = 0; i < count; i++) {
        struct wire_message score = {.kind = WIRE_SCORE,
            .score = {.request_id = ids[i],
                .ids = PROMPT,
                .id_count = 64,
                .all_positions = true,
                .want_logits = true}};
        fixture_send(mesh, 1, &score);
    }
    return mesh;
}

static void check_nothing_left(struct fixture *mesh)
{
    struct wire_router_status status;
    fixture_run(mesh);
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running + status.requests_waiting, 0);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

/* More bytes than a client may leave unread: the request that would add to them ends and says so,
 * another one of the client, which fits, goes on, and so do those of others. */
Test(router_emit, unread_bytes_over_the_limit_end_the_request)
{
    struct router_options options = fixture_options();
    uint64_t ids[2] = {1, 2};
    options.unread_bytes = 2 * (4 * FIXTURE_VOCAB * 4 + sizeof(void *) * 10);
    struct fixture *mesh = start_score(&options, ids, 1);
    struct wire_message other = fixture_generate(9, PROMPT, 20, 30);
    fixture_send(mesh, 2, &other);
    fixture_run(mesh);
    const struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_ERROR);
    cr_assert_eq(answer->final.error.code, BASE_FULL);
    cr_assert(
        strstr(answer->final.error.text, "does not read") != NULL, "%s", answer->final.error.text);
    cr_assert_eq(answer->row_count, 0);
    cr_assert_eq(fixture_answer_of(mesh, 2, 9)->id_count, 30);
    struct wire_message again = fixture_generate(3, PROMPT, 20, 2);
    mesh->partials_taken[1] = -1;
    fixture_send(mesh, 1, &again);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 3)->id_count, 2, "the client may ask again");
    check_nothing_left(mesh);
}

/* The limit is the client's: of two requests that fit alone, one ends. */
Test(router_emit, unread_bytes_of_all_requests_of_a_client_count)
{
    struct router_options options = fixture_options();
    uint64_t ids[2] = {1, 2};
    options.unread_bytes = 8 * (4 * FIXTURE_VOCAB * 4 + sizeof(void *) * 10);
    struct fixture *mesh = start_score(&options, ids, 1);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 0, "one alone fits");
    fixture_destroy(mesh);
    mesh = start_score(&options, ids, 2);
    fixture_run(mesh);
    int over = 0;
    for (uint64_t id = 1; id <= 2; id++)
        over += fixture_answer_of(mesh, 1, id)->final.error.code == BASE_FULL;
    cr_assert_eq(over, 1);
    mesh->partials_taken[1] = -1;
    fixture_wait_ms(mesh, 20);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 1);
    cr_assert_eq(fixture_answer_of(mesh, 1, 2)->final_count, 1);
    check_nothing_left(mesh);
}

static void wait_with_pings(struct fixture *mesh, uint32_t ms)
{
    const struct wire_message ping = {.kind = WIRE_PING};
    for (uint32_t i = 0; i < ms; i += 500) {
        fixture_send(mesh, 1, &ping);
        fixture_wait_ms(mesh, 500);
        fixture_run(mesh);
    }
}

Test(router_emit, who_takes_nothing_for_long_is_told_so)
{
    struct router_options options = fixture_options();
    uint64_t id = 1;
    struct fixture *mesh = start_score(&options, &id, 1);
    wait_with_pings(mesh, options.client_silence_ms + 1000);
    const struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.error.code, BASE_TIMEOUT);
    cr_assert(
        strstr(answer->final.error.text, "does not read") != NULL, "%s", answer->final.error.text);
    check_nothing_left(mesh);
}

/* One part every half a client's silence: slow, and no reason to end it. */
Test(router_emit, who_reads_slowly_gets_all)
{
    struct router_options options = fixture_options();
    uint64_t id = 1;
    struct fixture *mesh = start_score(&options, &id, 1);
    for (int i = 0; i < 16; i++) {
        mesh->partials_taken[1] = 1;
        wait_with_pings(mesh, options.client_silence_ms / 2);
    }
    const struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->row_count, 64);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_STOP);
    check_nothing_left(mesh);
}
