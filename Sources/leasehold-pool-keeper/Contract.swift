// leasehold-pool-keeper
//
// PURPOSE     Decides who gets which endpoint, and in what order. Nobody else does.
// ACCEPTS     endpoints edge (as a client): snapshot, upsert, remove, source. leasing edge: ticket, cancel, unused, dial-failed,
//             ending, release, assert, escrow (with descriptors). scaling edge: drain-idle, drain, undrain. control edge: show pools | endpoints | leases | queue,
//             drain, undrain, quarantine, pause, resume.
// SENDS       leasing edge: grant, refuse, probe, revoke, adopt (with descriptors). state edge: each pool's state. leases edge: open leases. scaling edge: drained.
// HOLDS       endpoints, tickets, leases in memory: told again by its neighbours. In escrow, duplicates of the dispatchers' descriptors, within
//             RLIMIT_NOFILE minus a reserve: it hands them to the next process in a seat, cuts what nobody adopts, and reads none.
//             On disk: the epoch, and the operator's pauses and drains. The state directory is locked: a second pool-keeper does not start
//             there. In the runtime directory: the roster of dispatchers, and the endpoints whose worker may be at a job of a dead one.
// PRIVILEGES  none, and no network. Reads the configuration; writes its state and runtime directories.
// SIGNALS     SIGTERM and SIGUSR2 stop at once (nothing is lost by it), SIGHUP reloads.
// WHEN IT FAILS   sessions run on, callers stay parked; its successor grants nothing before it has the endpoints and every live
//             dispatcher's leases, and then goes on in the original order.
// KNOWN LIMITS    what is in escrow ends with it, if its dispatcher is dead. A dispatcher that lives and does not answer keeps a restarted pool-keeper waiting: STATUS names it.
