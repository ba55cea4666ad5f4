#include "admin_testing.h"

static char answer[8192];

Test(admin, ready_only_while_it_says_so_and_not_when_it_ends)
{
    struct admin *admin = start_admin(NULL);

    ask(admin, GET("/healthz"), answer, sizeof(answer));
    cr_assert(strstr(answer, "200 OK") && strstr(answer, "starting"), "%s", answer);
    ask(admin, GET("/readyz"), answer, sizeof(answer));
    cr_assert(strstr(answer, " 503 ") && strstr(answer, "starting"), "%s", answer);

    admin_beat(admin);
    admin_set_ready(admin, true, "epoch %d", 7);
    ask(admin, GET("/healthz"), answer, sizeof(answer));
    cr_assert(strstr(answer, "200 OK") && strstr(answer, "ok\n"), "%s", answer);
    ask(admin, GET("/readyz"), answer, sizeof(answer));
    cr_assert(strstr(answer, "200 OK") && strstr(answer, "epoch 7\n"), "%s", answer);

    admin_set_ready(admin, false, "no plan");
    ask(admin, GET("/readyz"), answer, sizeof(answer));
    cr_assert(strstr(answer, " 503 ") && strstr(answer, "no plan\n"), "%s", answer);

    admin_set_ready(admin, true, "again");
    admin_set_stopping(admin);
    admin_set_ready(admin, true, "too late");
    ask(admin, GET("/readyz"), answer, sizeof(answer));
    cr_assert(strstr(answer, " 503 ") && strstr(answer, "stopping\n"), "%s", answer);
    ask(admin, GET("/healthz"), answer, sizeof(answer));
    cr_assert(strstr(answer, "200 OK"), "%s", answer);
    admin_stop(&admin);
    cr_assert_null(admin);
    admin_stop(&admin);
}

Test(admin, off_is_no_port_and_nobody_minds_null)
{
    const struct admin_options options = {.listen = "off"};
    struct admin *admin = NULL;
    struct base_error err = {0};

    cr_assert_eq(admin_start(&options, &admin, &err), BASE_OK, "%s", err.text);
    cr_assert_str_eq(admin_address(admin), "");
    admin_beat(admin);
    admin_set_ready(admin, true, "all well");
    admin_set_stopping(admin);
    admin_stop(&admin);
    admin_beat(NULL);
    admin_set_ready(NULL, true, "x");
    admin_set_stopping(NULL);
}
