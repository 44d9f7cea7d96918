#!/bin/sh
# A load generator of fixed outcomes: a server that takes 60 ms a request, one at a time (1,000 requests a minute), under
# equally spaced arrivals. Usage: scripted.sh DIR RATE_PER_MINUTE DURATION_S; writes DIR/out.csv. It takes a moment, so that
# a driver can be killed while it runs.
#   SCRIPTED_SLEEP      that moment, seconds
#   SCRIPTED_PACE       a file that holds it instead, where it is there; so it can be changed while a search goes on
#   SCRIPTED_HOLD       a file: as long as it is there, the program waits
#   SCRIPTED_SERVICE    seconds a request
#   SCRIPTED_JITTER     seconds that some answers are late, without keeping the server busy
#   SCRIPTED_FAIL_ONCE  a file: as long as it is not there, it is made and the program fails
#   SCRIPTED_STUBBORN   not empty: SIGTERM is ignored
set -eu
if [ -n "${SCRIPTED_STUBBORN:-}" ]; then trap '' TERM; fi
if [ -n "${SCRIPTED_FAIL_ONCE:-}" ] && [ ! -e "$SCRIPTED_FAIL_ONCE" ]; then
    : >"$SCRIPTED_FAIL_ONCE"
    echo "out of luck, for once"
    exit 3
fi
moment=${SCRIPTED_SLEEP:-0.05}
if [ -n "${SCRIPTED_PACE:-}" ] && [ -e "$SCRIPTED_PACE" ]; then moment=$(cat "$SCRIPTED_PACE"); fi
sleep "$moment"
while [ -n "${SCRIPTED_HOLD:-}" ] && [ -e "$SCRIPTED_HOLD" ]; do sleep 0.1; done
awk -v rate="$2" -v duration="$3" -v service="${SCRIPTED_SERVICE:-0.06}" -v jitter="${SCRIPTED_JITTER:-0}" 'BEGIN {
    print "intended,sent,first,done,in,out,ok"
    count = int(rate * duration / 60 + 0.5)
    if (count < 1) count = 1
    for (i = 0; i < count; i++) {
        t = i * duration / count
        begin = t > free ? t : free
        free = begin + service
        printf "%.6f,%.6f,%.6f,%.6f,8,8,true\n", t, t, begin + service / 2, free + jitter * (i % 7) / 7
    }
}' >"$1/out.csv"
