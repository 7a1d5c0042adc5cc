// What the real watcher and pool-keeper do with a large cluster behind a test API server, as JSON lines. scripts/bench-kubernetes
// builds and runs it. The two processes share core 0; the API server and this program have the other cores.

import Foundation
import KubeTestServer
import TestKit

let quick = CommandLine.arguments.contains("--quick")
let slices = quick ? 100 : 1_000
let perSlice = 100

var failed = false
for protobuf in [true, false] {
    let bench = try ClusterBench(slices: slices, perSlice: perSlice, protobuf: protobuf)
    defer { bench.close() }
    try bench.begin()
    let snapshot = try bench.snapshot()
    snapshot.print()
    let change = try bench.changes(count: quick ? 100 : 1_000)
    change.print()
    let storm = try bench.storm(perSecond: 1_000, seconds: quick ? 3 : 30)
    storm.print()
    try bench.memory().print()
    if !quick { failed = failed || bench.misses(snapshot, change, storm) }
}
exit(failed ? 1 : 0)
