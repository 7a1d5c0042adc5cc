// leasehold-dispatcher
//
// PURPOSE     Holds callers, dials the endpoints that they are given, and moves bytes between the two.
// ACCEPTS     leasing edge: grant, refuse, probe, revoke, adopt. control edge: show process, show listeners.
//             Callers: TCP, HTTP/1.0 and 1.1, WebSocket (by Upgrade), PROXY protocol from trusted peers.
// SENDS       leasing edge: ticket, cancel, unused, dial-failed, ending, release, assert, escrow. vitals edge: counts, and the ends of jobs
//             that were not served or are traced. The journal: the ends of jobs, as log-jobs says.
// HOLDS       connections, of which the pool-keeper has duplicates; a memfd of records and counts, and pipes, which outlive the process with them.
// PRIVILEGES  none. Talks to callers and workers; reads the configuration; needs descriptors (LimitNOFILE).
// SIGNALS     SIGTERM drains (a second one stops at once), SIGUSR2 hands over to a successor, SIGHUP reloads.
// WHEN IT FAILS   the next process in the seat adopts its connections before READY and goes on at the exact byte. Exceptions: docs/architecture.md.
// WITHOUT THE POOL-KEEPER   sessions run on, callers are accepted and wait, bounded by max-queued and their own budget.
// KNOWN LIMITS    no TLS towards callers: put a terminator in front. A caller that leaves behind unread data which fills its
//             window is noticed only by its reset, or when it is granted.
