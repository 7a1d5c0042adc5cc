// leasehold-asset-cache
//
// PURPOSE     Serve repeated assets and browser profiles from this node: an S3 store, an HTTP cache and profiles in one bounded directory.
// ACCEPTS     over HTTP/1.1: the S3 API, requests of a forward proxy, CONNECT, /fetch and /profiles; at addresses of their own, requests for
//             one origin each (docs/asset-cache.md). leases edge: live leases. control edge: show listeners, show process, and orders.
// SENDS       requests to origins: to addresses that were checked, or that the configuration names; signed ones to the store behind, if there is one.
// HOLDS       in DIRECTORY: blobs by SHA-256, their index with the queue of what the store behind is still to get (SQLite), a lock; in memory the eviction's queues, rebuilt at the start, small
//             responses, and which leases are live.
// PRIVILEGES  writes its directory; listens; connects to origins; reads the files of its keys' secrets.
// SIGNALS     SIGTERM finishes the requests that run, at most `drain`, and stops; a second one stops at once. SIGHUP reads keys, names and
//             rights anew.
// WHEN IT FAILS   requests in flight are lost; every write that was acknowledged is there, whole, when its successor starts. Files that a
//             crash left without a name are removed at the next start, blobs that nothing refers to by the next scrub.
// WHEN THE STORE BEHIND IS AWAY   what is here is served; what is not is 503; writes wait in the queue (write-back) or are 503 (write-through).
// WHEN THE DISK IS FULL   reads go on; writes are answered 507 InsufficientStorage; responses of origins are passed on and not kept.
// KNOWN LIMITS    One process for each directory. Eviction may take any object of a bucket that is not pinned. The figure that bounds the
//             store counts blobs in blocks of 4 KiB, not the index, nor bodies on their way in.
