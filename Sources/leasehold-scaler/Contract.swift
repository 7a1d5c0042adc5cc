// leasehold-scaler
//
// PURPOSE     Starts and stops local worker processes so that each pool with `workers:` has as many as its jobs need.
// ACCEPTS     state edge: demand and endpoints by state. scaling edge: drained. control edge: show process, show workers.
// SENDS       workers edge: the workers whose port accepts, as endpoints. scaling edge: drain-idle, drain, undrain.
// HOLDS       workers.roster in its runtime directory: port, pid and start time of each worker, so that its successor finds them again.
// DRIVERS     LEASEHOLD_WORKERS=units, as under systemd: workers are leasehold-worker@POOL-PORT.service, started and stopped over the
//             system bus, and none is started while leasehold.target stops. Without it they are children that outlive it, with end-with-scaler, as under `leasehold up`, children that do not.
// PRIVILEGES  units: to manage leasehold-worker@ units (polkit); workers run as leasehold-worker. Children: those of the worker commands,
//             which run as the scaler's own user. No network but connects to 127.0.0.1.
// SIGNALS     SIGTERM ends the scaler and leaves the fleet as it is; with end-with-scaler it ends the workers first (a second SIGTERM
//             kills them). SIGHUP reloads.
// WHEN IT FAILS   the fleet stays as it is. Workers are units or sessions of their own, so nothing that ends the scaler ends them.
// WITHOUT THE BUS     workers that run serve on; none is started or stopped until it is back.
// WITHOUT THE POOL-KEEPER   the fleet stays as it is: crashed workers come back, nobody is stopped.
// WITHOUT THE WATCHER   new workers serve nobody until it is back; those that it knew go on.
// KNOWN LIMITS    a child that was started in the last instant before kill -9, before its line was written, is an orphan: its port is
//             left out, and said so. (A unit is found, and replaced, because nobody knows its command.) A port counts as ready when it accepts a connection; each probe is one connect and close.
