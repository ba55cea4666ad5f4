/* Checks of our own logic; stays on in release. Never for input: input returns an error. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#define base_assert(expression)                                                                    \
    ((expression) ? (void)0 : base_assert_fail(#expression, __FILE__, __LINE__))

_Noreturn void base_assert_fail(const char *expression, const char *file, int line);

#endif
