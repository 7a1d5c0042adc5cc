import Foundation
import Kubernetes
import Model
import Testing

/// A recorded list followed by a recorded watch ends in the same place as the watch that carries its own list.
@Suite struct RecordingTests {
    private struct Event: Decodable {
        var type: String
        var object: Manifest
    }

    private static let pools = [
        pool("pages", service: "browsers", port: .number(80)), pool("debug", service: "browsers", port: .name("cdp")),
        pool("plain", service: "plain", port: .number(8080)), pool("manual", service: "manual", port: .name("http")),
    ]

    private func listed() throws -> EndpointMerge {
        var merge = EndpointMerge(pools: Self.pools)
        for slice in try JSONDecoder().decode(Manifest.self, from: fixture("endpointslices.list.json")).slices { merge.upsert(slice) }
        for service in try JSONDecoder().decode(Manifest.self, from: fixture("services.list.json")).services { merge.upsert(service) }
        return merge
    }

    private func apply(_ name: String, to merge: inout EndpointMerge, each: ([EndpointChange]) -> Void) throws {
        for line in try fixture(name).split(separator: UInt8(ascii: "\n")) {
            // A bookmark's object has no name.
            if line.prefix(24).contains(Data("BOOKMARK".utf8)) { continue }
            let event = try JSONDecoder().decode(Event.self, from: line)
            for slice in event.object.slices {
                if event.type == "DELETED" { merge.removeSlice(slice.key) } else { merge.upsert(slice) }
            }
            for service in event.object.services { merge.upsert(service) }
            each(merge.changes())
        }
    }

    @Test func aListIsMerged() throws {
        var merge = try listed()
        #expect(merge.newProblems().isEmpty)
        #expect(merge.table("pages").count == 130 && merge.table("debug").count == 130)
        #expect(merge.table("plain") == ["10.244.9.2:8080", "10.244.9.3:8080", "10.244.9.4:8080"])
        #expect(
            merge.table("manual") == [
                "10.90.0.1:8080", "10.90.0.1:9090", "10.90.0.2:8080 unready terminating", "10.90.0.3:9090", "[fd00:10::1]:8080",
            ])
    }

    @Test func aWatchMovesOneEndpointAtATime() throws {
        var merge = try listed()
        _ = merge.changes()
        var steps: [[EndpointChange]] = []
        try apply("endpointslices.watch.jsonl", to: &merge) { steps.append($0) }
        let replaced = EndpointID(uid: "eb4bce2a-dc81-490a-838c-4b991a9be92c")
        let successor = EndpointID(uid: "fc1f358e-31e2-440f-8671-1d4a679dbce3")
        // Two pools hear of each pod of `browsers`.
        #expect(steps.prefix(10).allSatisfy { $0.count == 2 })
        #expect(steps[8].allSatisfy { $0.kind == .remove(replaced) })
        #expect(
            steps[9].allSatisfy { if case .upsert(let pod) = $0.kind { pod.id == successor && pod.name == "browsers-1" } else { false } })
        #expect(steps[10].count == 2 && steps[11].count == 3)
        #expect(merge.table("plain").isEmpty)
        #expect(merge.table("manual") == ["10.90.0.1:8080", "10.90.0.2:8080 unready terminating", "[fd00:10::1]:8080"])

        var watched = EndpointMerge(pools: Self.pools)
        try apply("services.watchlist.jsonl", to: &watched) { _ in }
        try apply("endpointslices.watchlist.jsonl", to: &watched) { _ in }
        for pool in Self.pools { #expect(watched.endpoints(of: pool.pool) == merge.endpoints(of: pool.pool)) }
    }
}

extension Data {
    fileprivate func contains(_ other: Data) -> Bool { range(of: other) != nil }
}
