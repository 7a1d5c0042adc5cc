// leasehold-watcher
//
// PURPOSE     Turns a source of endpoints (an API server, or a directory of manifests) and the scaler's local workers into one ordered feed.
// ACCEPTS     workers edge: the scaler's local workers. endpoints edge: subscribers, who say nothing. control edge: show source,
//             show process. The API server: lists and watches of EndpointSlices and Services, JSON or protobuf, over TLS. The
//             directory: the same as manifests, YAML or JSON.
// SENDS       endpoints edge: source health; a snapshot to everybody who connects; then every change.
// HOLDS       the last complete state on disk (STATE-DIRECTORY/watcher/endpoints), written within 0.2 s of a change and at most
//             every 5 s; in memory what was read of each object or file. Credentials for the time of one request.
// PRIVILEGES  reads the directory, or what gives access to the API server, and runs its credential plug-in; writes its state
//             directory. Network: the API server alone.
// SIGNALS     SIGTERM saves and stops; SIGHUP reads the configuration and the whole directory anew, and makes connections to the API
//             server anew.
// WHEN IT FAILS   consumers keep what they were told. The next one serves the saved state, marked stale, until the source is read.
// WITHOUT THE SCALER   the local workers that it named last stay in the feed.
// WITHOUT THE SOURCE   everything stays as it was, marked stale; with nothing saved the state is unknown, never empty: no
//             snapshot is given, and local workers are told one by one.
// KNOWN LIMITS    A change of a file that is written through a link which points out of the directory is found by a look through the
//             directory (every 5 s), not at once; so is everything on a file system without notifications. YAML files have at most
//             8 MiB, JSON files 256 MiB; reading one stops everything else for up to some seconds.
