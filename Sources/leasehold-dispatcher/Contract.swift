// leasehold-dispatcher
//
// PURPOSE     Holds callers, dials the endpoints that they are given, and moves bytes between the two.
// ACCEPTS     leasing edge: grant, refuse, probe, revoke. control edge: show process, show listeners.
//             Callers: TCP, HTTP/1.0 and 1.1, WebSocket (by Upgrade), PROXY protocol from trusted peers.
// SENDS       leasing edge: ticket, cancel, unused, dial-failed, ending, release, assert.
// HOLDS       connections, and for each job what it takes to tell it again: nothing that outlives the process.
// PRIVILEGES  none. Talks to callers and workers; reads the configuration; needs descriptors (LimitNOFILE).
// SIGNALS     SIGTERM drains (a second one stops at once), SIGUSR2 stops at once for a successor, SIGHUP reloads.
// WHEN IT FAILS   its connections are lost; the pool-keeper sees the proof of its death and sets their endpoints aside for a moment.
// WITHOUT THE POOL-KEEPER   sessions run on, callers are accepted and wait, bounded by max-queued and their own budget.
// KNOWN LIMITS    no TLS towards callers: put a terminator in front. A caller that leaves behind unread data which fills its
//             window is noticed only by its reset, or when it is granted.
