// leasehold-asset-cache
//
// PURPOSE     An S3 store on this node's disk, bounded, that evicts what is asked for least.
// ACCEPTS     the S3 API over HTTP/1.1 (docs/asset-cache.md lists the operations). control edge: show listeners, show process.
// SENDS       nothing unasked.
// HOLDS       in DIRECTORY: blobs by SHA-256, their index (SQLite), a lock; in memory the eviction's queues, rebuilt at the start.
// PRIVILEGES  writes its directory; listens; reads the files of its keys' secrets.
// SIGNALS     SIGTERM finishes the requests that run, at most `drain`, and stops; a second one stops at once. SIGHUP reads keys, names and
//             rights anew.
// WHEN IT FAILS   requests in flight are lost; every write that was acknowledged is there, whole, when its successor starts. Files that a
//             crash left without a name are removed at the next start, blobs that nothing refers to by the next scrub.
// WHEN THE DISK IS FULL   reads go on; writes are answered 507 InsufficientStorage.
// KNOWN LIMITS    One process for each directory. Eviction may take any object of a bucket that is not pinned. The figure that bounds the
//             store counts blobs in blocks of 4 KiB, not the index, nor bodies on their way in.
