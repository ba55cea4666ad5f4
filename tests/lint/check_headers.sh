#!/bin/sh
# Every header compiles on its own, with only include paths of modules, in C11.
cd "$1" || exit 2
paths=
for module in common/* services/* common/sdk/include; do
    [ -d "$module" ] && paths="$paths -I$module"
done
count=0
for header in common/*/*.h services/*/*.h common/sdk/include/*.h; do
    [ -e "$header" ] || continue
    module=$(dirname "$header")
    # Include paths are flat, so a file called limits.h or sched.h would shadow
    # the system header of that name for everyone.
    case $header in
    common/sdk/include/layermesh.h) ;;
    services/cli/cmd_*.h) ;;
    "$module/$(basename "$module")".h | "$module/$(basename "$module")"_*.h) ;;
    *) echo "$header: name must start with its module's name"; exit 1 ;;
    esac
    # shellcheck disable=SC2086
    printf '#include "%s"\n' "$(basename "$header")" |
        cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only $paths -x c - || exit 1
    count=$((count + 1))
done
[ "$count" -gt 0 ] || { echo "check_headers: no headers found"; exit 1; }
echo "check_headers: $count headers"
