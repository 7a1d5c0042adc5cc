import Foundation
import Model
import TestKit
import Testing

/// The directory of manifests, as Kubernetes and people write them.
@Suite(.ownThread) struct DirectoryTests {
    @Test func aListInJSONAndAPortByItsNumber() throws {
        let configuration = """
            pools: [{ name: pods, service: shop/pods, port: 8080 }]
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
            """
        try Fleet.run(configuration) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            let list: [String: Any] = [
                "apiVersion": "v1", "kind": "List",
                "items": [
                    [
                        "apiVersion": "v1", "kind": "Service", "metadata": ["namespace": "shop", "name": "pods"],
                        "spec": ["ports": [["name": "web", "port": 8080, "targetPort": "http"], ["name": "other", "port": 9]]],
                    ],
                    [
                        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                        "metadata": ["namespace": "shop", "name": "pods-abc", "labels": ["kubernetes.io/service-name": "pods"]],
                        "addressType": "IPv4",
                        "ports": [["name": "other", "port": 1], ["name": "web", "port": Int(worker.address.port)]],
                        "endpoints": [
                            ["addresses": ["127.0.0.1"], "conditions": ["ready": true], "targetRef": ["kind": "Pod", "name": "a", "uid": "uid-a"]],
                            ["addresses": [], "conditions": ["ready": true]],
                        ],
                    ],
                ],
            ]
            try fleet.publish(String(decoding: JSONSerialization.data(withJSONObject: list), as: UTF8.self), as: "list.json")
            #expect(try fleet.fetch().status == 200)
            #expect(try fleet.endpoints().map(\.uid) == ["uid-a"])
        }
    }

    /// Two slices of one service name the same pod, as they do for a moment while the controller moves it.
    @Test func aPodInTwoSlicesIsOneEndpoint() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            try fleet.publish([Pod("a", at: worker.address)], as: "one.yaml")
            let again = Pod.manifest([Pod("a", at: worker.address)], of: "shop/pods").replacingOccurrences(of: "pods-0-ipv4", with: "pods-9-ipv4")
            try fleet.publish(again, as: "two.yaml")
            try fleet.waitCounter("files-read", of: .watcher, atLeast: 2)
            #expect(try fleet.fetch().status == 200)
            #expect(try fleet.pool("pods").total == 1)
            try fleet.unpublish("one.yaml")
            #expect(try fleet.fetch().status == 200)
            try fleet.unpublish("two.yaml")
            try fleet.waitPool("pods", "no endpoint") { $0.total == 0 }
        }
    }

    /// A ConfigMap's volume: files are links through `..data`, which is exchanged in one step.
    @Test func aConfigMapsVolumeIsUnderstood() throws {
        try Fleet.run(Setup.http()) { fleet in
            let one = fleet.own(try TestWorker(http: { _, _ in Reply.ok("one") }))
            let two = fleet.own(try TestWorker(http: { _, _ in Reply.ok("two") }))
            let directory = fleet.endpointsDirectory
            func version(_ name: String, _ pods: [Pod]) throws {
                try FileManager.default.createDirectory(atPath: "\(directory)/\(name)", withIntermediateDirectories: false)
                try Data(Pod.manifest(pods, of: "shop/pods").utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)/pods.yaml"))
                #expect(symlink(name, "\(directory)/..data_tmp") == 0)
                #expect(rename("\(directory)/..data_tmp", "\(directory)/..data") == 0)
            }
            try version("..2026_1", [Pod("a", at: one.address)])
            #expect(symlink("..data/pods.yaml", "\(directory)/pods.yaml") == 0)
            #expect(try fleet.fetch().text == "one")
            try version("..2026_2", [Pod("b", at: two.address)])
            try fleet[.poolKeeper].wait("the exchanged version") { try fleet.endpoints().map(\.uid) == ["b"] }
            #expect(try fleet.fetch().text == "two")
        }
    }

    @Test func hiddenAndForeignFilesAreNoManifests() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok() }))
            try fleet.publish("not yaml: [", as: ".hidden.yaml")
            try fleet.publish("not yaml: [", as: "notes.txt")
            try fleet.publish("not yaml: [", as: "endpoints.yaml~")
            try fleet.serve([Pod("a", at: worker.address)])
            struct Source: Decodable {
                var state: String
                var files: Int
                var problems: [String]
            }
            let source = try fleet.show("source", of: .watcher, as: Source.self)
            #expect(source.problems.isEmpty, "\(source.problems)")
            #expect(source.files == 1)
            #expect(source.state == "live")
        }
    }

    /// Pods from the source and local workers are one pool.
    @Test func endpointsFromTheSourceAndLocalWorkersAreMerged() throws {
        let ports = try FreePorts.take(2)
        let configuration = """
            pools:
              - name: pods
                service: shop/pods
                port: http
                workers:
                  command: [\(Fleet.executable("leasehold-example-worker")), --port, "{port}"]
                  ports: \(ports.lowerBound)-\(ports.upperBound)
                  min: 1
                  max: 1
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
            """
        try Fleet.run(configuration, Fleet.Process.node) { fleet in
            let worker = fleet.own(try TestWorker(http: { _, _ in Reply.ok("pod") }))
            try fleet.publish([Pod("a", at: worker.address)])
            try fleet.waitPool("pods", "both kinds") { $0.total == 2 && $0.free == 2 }
            #expect(try fleet.endpoints().filter(\.local).count == 1)
            var texts: Set<String> = []
            for _ in 0..<2 {
                try fleet.waitPool("pods", "both free") { $0.free == 2 }
                texts.insert(try fleet.fetch("/render?bytes=1").text)
            }
            #expect(texts.count == 2)
        }
    }

    /// `order: pack` keeps to the most recently used, so that the others stay idle.
    @Test func packedEndpointsAreUsedOneAfterTheOther() throws {
        try Fleet.run(Setup.http(pool: "order: pack")) { fleet in
            let workers = try (0..<3).map { _ in fleet.own(try TestWorker(http: { _, _ in Reply.ok() })) }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            for _ in 0..<8 {
                #expect(try fleet.fetch().status == 200)
                try fleet.waitPool("pods", "all free") { $0.free == 3 }
            }
            #expect(workers.map(\.jobs).sorted() == [0, 0, 8])
        }
    }
}
