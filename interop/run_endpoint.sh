#!/bin/bash
#
# What a container of the image runs. The environment says which side of which test case it is; see
# `interop endpoint --help`.

set -u

# A case that is not known is not worth the wait: exit status 127.
interop endpoint --check || exit

# Routes to the simulator, and the folder for logs.
/setup.sh

# The simulator listens there once its network is ready. Where nobody has that name, which may be known
# a little late, there is nothing to wait for.
if [[ ${ROLE:-} == client ]]; then
    while ((SECONDS < 3)); do
        if timeout 1 getent ahostsv4 sim >/dev/null; then
            /wait-for-it.sh sim:57832 -s -t 30 || exit 1
            break
        fi
        sleep 0.2
    done
fi

# In place of the shell, so that signals reach it.
exec interop endpoint
