import Kubernetes
import Model
import Testing

@Suite struct EndpointMergeTests {
    struct Row: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var port: PortReference = .name("http")
        var slices: [EndpointSlice]
        var services: [Service] = []
        var expected: [String]
    }

    private static let twoPorts = [http(80), EndpointSlice.Port(name: "https", number: 443)]

    /// kube-proxy's cases for its slice cache, restated.
    private static let kubeProxy: [Row] = [
        Row(
            testDescription: "one slice, two ports, the first", slices: [slice("a", ports: twoPorts, [at("10.0.1.1"), at("10.0.1.2")])],
            expected: ["10.0.1.1:80", "10.0.1.2:80"]),
        Row(
            testDescription: "one slice, two ports, the second", port: .name("https"),
            slices: [slice("a", ports: twoPorts, [at("10.0.1.1"), at("10.0.1.2")])], expected: ["10.0.1.1:443", "10.0.1.2:443"]),
        Row(
            testDescription: "two slices with the same port are united",
            slices: [slice("a", [at("10.0.1.1"), at("10.0.1.2")]), slice("b", [at("10.0.2.1"), at("10.0.2.2")])],
            expected: ["10.0.1.1:8080", "10.0.1.2:8080", "10.0.2.1:8080", "10.0.2.2:8080"]),
        Row(
            testDescription: "what two slices share is listed once",
            slices: [
                slice("a", [at("10.0.1.1"), at("10.0.1.2"), at("10.0.1.3")]), slice("b", [at("10.0.1.2"), at("10.0.1.3"), at("10.0.1.4")]),
            ],
            expected: ["10.0.1.1:8080", "10.0.1.2:8080", "10.0.1.3:8080", "10.0.1.4:8080"]),
        Row(
            testDescription: "unready only if ready in no slice",
            slices: [
                slice("a", [at("10.0.1.1", ready: false), at("10.0.1.2", ready: false), at("10.0.1.3")]),
                slice("b", [at("10.0.1.1"), at("10.0.1.2", ready: false), at("10.0.1.3", ready: false)]),
            ],
            expected: ["10.0.1.1:8080", "10.0.1.2:8080 unready", "10.0.1.3:8080"]),
        Row(
            testDescription: "terminating only if every slice says so, and serving meanwhile",
            slices: [
                slice("a", [at("10.0.1.5", ready: false, terminating: true), at("10.0.1.6", ready: false, terminating: true)]),
                slice("b", [at("10.0.1.5", ready: false, terminating: true), at("10.0.1.6")]),
            ],
            expected: ["10.0.1.5:8080 unready terminating", "10.0.1.6:8080"]),
        Row(
            testDescription: "all unready stay listed",
            slices: [slice("a", [at("10.0.1.1", ready: false, serving: false), at("10.0.1.2", ready: false)])],
            expected: ["10.0.1.1:8080 unready not-serving", "10.0.1.2:8080 unready"]),
        Row(
            testDescription: "another Service is another's",
            slices: [slice("a", [at("10.0.1.1")]), slice("b", service: "other", [at("10.0.1.2")])], expected: ["10.0.1.1:8080"]),
        Row(
            testDescription: "another namespace is another's",
            slices: [slice("a", [at("10.0.1.1")]), slice("a", namespace: "other", [at("10.0.1.2")])], expected: ["10.0.1.1:8080"]),
        Row(
            testDescription: "a port without a number is no port", slices: [slice("a", ports: [http(nil)], [at("10.0.1.1")])], expected: []),
        Row(
            testDescription: "one address with two ports is two endpoints",
            slices: [slice("a", [at("10.0.1.1")]), slice("b", ports: [http(9090)], [at("10.0.1.1")])],
            expected: ["10.0.1.1:8080", "10.0.1.1:9090"]),
    ]

    /// KEDA's cases for its cache of ready endpoints, restated.
    private static let keda: [Row] = [
        Row(
            testDescription: "each slice has its own number for one port name",
            slices: [slice("a", ports: [http(8080)], [at("10.0.0.1")]), slice("b", ports: [http(9090)], [at("10.0.0.2")])],
            expected: ["10.0.0.1:8080", "10.0.0.2:9090"]),
        Row(testDescription: "a slice without ports is skipped", slices: [slice("a", ports: [], [at("10.0.0.1")])], expected: []),
        Row(
            testDescription: "a port without a number beside a good slice",
            slices: [slice("a", ports: [http(nil)], [at("10.0.0.1")]), slice("b", [at("10.0.0.2")])], expected: ["10.0.0.2:8080"]),
        Row(
            testDescription: "a pod that two slices list is one",
            slices: [slice("a", [at("10.0.0.1", uid: "u1")]), slice("b", [at("10.0.0.1", uid: "u1")])],
            expected: ["10.0.0.1:8080"]),
        Row(
            testDescription: "an endpoint without addresses is skipped", slices: [slice("a", [at(nil), at("10.0.0.2")])],
            expected: ["10.0.0.2:8080"]),
        Row(
            testDescription: "one of several ports by name", port: .name("admin"),
            slices: [slice("a", ports: [http(8080), .init(name: "admin", number: 9000)], [at("10.0.0.1")])], expected: ["10.0.0.1:9000"]),
        Row(
            testDescription: "the port without a name by its number", port: .number(80),
            slices: [slice("a", ports: [.init(number: 8080)], [at("10.0.0.1")])],
            services: [service([.init(number: 80)])], expected: ["10.0.0.1:8080"]),
        Row(
            testDescription: "the port without a name by no name", port: .name(""),
            slices: [slice("a", ports: [.init(number: 8080)], [at("10.0.0.1")])],
            expected: ["10.0.0.1:8080"]),
        Row(testDescription: "a name that no slice has", port: .name("grpc"), slices: [slice("a", [at("10.0.0.1")])], expected: []),
    ]

    private static let ours: [Row] = [
        Row(
            testDescription: "number to name through the Service", port: .number(80),
            slices: [slice("a", ports: twoPorts + [.init(name: "web", number: 8080)], [at("10.0.0.1")])],
            services: [service([.init(name: "web", number: 80), .init(name: "https", number: 443)])], expected: ["10.0.0.1:8080"]),
        Row(
            testDescription: "a number that its Service has as UDP and as TCP is the TCP one", port: .number(53),
            slices: [
                slice(
                    "a", ports: [.init(name: "dns", number: 53, transport: .other("UDP")), .init(name: "dns-tcp", number: 5353)],
                    [at("10.0.0.1")])
            ],
            services: [service([.init(name: "dns", number: 53, transport: .other("UDP")), .init(name: "dns-tcp", number: 53)])],
            expected: ["10.0.0.1:5353"]),
        Row(
            testDescription: "a number that the Service has not", port: .number(81), slices: [slice("a", [at("10.0.0.1")])],
            services: [service([.init(name: "http", number: 80)])], expected: []),
        Row(
            testDescription: "a number without a Service is the slices' own", port: .number(8080), slices: [slice("a", [at("10.0.0.1")])],
            expected: ["10.0.0.1:8080"]),
        Row(testDescription: "the only port, named", port: .only, slices: [slice("a", [at("10.0.0.1")])], expected: ["10.0.0.1:8080"]),
        Row(
            testDescription: "the only port that is TCP", port: .only,
            slices: [slice("a", ports: [.init(name: "dns", number: 53, transport: .other("UDP")), http(8080)], [at("10.0.0.1")])],
            expected: ["10.0.0.1:8080"]),
        Row(
            testDescription: "the only port of the Service, though the slice has more", port: .only,
            slices: [slice("a", ports: twoPorts, [at("10.0.0.1")])],
            services: [service([.init(name: "https", number: 443)])], expected: ["10.0.0.1:443"]),
        Row(
            testDescription: "the only port of several", port: .only, slices: [slice("a", ports: twoPorts, [at("10.0.0.1")])], expected: []),
        Row(
            testDescription: "the only port of a Service with several", port: .only, slices: [slice("a", [at("10.0.0.1")])],
            services: [service([.init(name: "http", number: 80), .init(name: "https", number: 443)])], expected: []),
        Row(
            testDescription: "UDP and SCTP are skipped",
            slices: [
                slice("a", ports: [.init(name: "http", number: 1, transport: .other("UDP"))], [at("10.0.0.1")]),
                slice("b", ports: [.init(name: "http", number: 1, transport: .other("SCTP"))], [at("10.0.0.2")]),
            ], expected: []),
        Row(
            testDescription: "the families of one pod are one endpoint, IPv4 first",
            slices: [slice("six", type: .ipv6, [at("fd00::1", uid: "u1")]), slice("four", [at("10.0.0.1", uid: "u1")])],
            expected: ["10.0.0.1:8080 [fd00::1]:8080"]),
        Row(
            testDescription: "without a UID the families are two endpoints",
            slices: [slice("six", type: .ipv6, [at("fd00::1")]), slice("four", [at("10.0.0.1")])],
            expected: ["10.0.0.1:8080", "[fd00::1]:8080"]),
        Row(
            testDescription: "one UID under two ports is one endpoint",
            slices: [slice("a", [at("10.0.0.1", uid: "u1")]), slice("b", ports: [http(9090)], [at("10.0.0.1", uid: "u1")])],
            expected: ["10.0.0.1:8080 10.0.0.1:9090"]),
        Row(
            testDescription: "an address that changed hands is two endpoints",
            slices: [slice("a", [at("10.0.0.1", uid: "old", ready: false, terminating: true), at("10.0.0.1", uid: "new")])],
            expected: ["10.0.0.1:8080", "10.0.0.1:8080 unready terminating"]),
        Row(
            testDescription: "an address that another slice knows by UID is not a second worker",
            slices: [slice("a", [at("10.0.0.1"), at("10.0.0.2")]), slice("b", [at("10.0.0.1", uid: "u1", ready: false)])],
            expected: ["10.0.0.1:8080 unready", "10.0.0.2:8080"]),
        Row(
            testDescription: "names of hosts are skipped", slices: [slice("a", type: .other("FQDN"), [at("pod.example.org")])], expected: []
        ),
        Row(
            testDescription: "the wrong family and no address at all are skipped",
            slices: [slice("a", [at("fd00::1"), at("nowhere"), at("10.0.0.300"), at("10.0.0.1")])], expected: ["10.0.0.1:8080"]),
        Row(
            testDescription: "loopback is an address", slices: [slice("a", [at("127.0.0.1")]), slice("b", type: .ipv6, [at("::1")])],
            expected: ["127.0.0.1:8080", "[::1]:8080"]),
        Row(testDescription: "no label, no pool", slices: [slice("a", service: nil, [at("10.0.0.1")])], expected: []),
    ]

    @Test(arguments: kubeProxy + keda + ours)
    func slicesMakeEndpoints(row: Row) {
        // In every order of arrival the same.
        for slices in [row.slices, row.slices.reversed()] {
            var merge = EndpointMerge([pool(port: row.port)], slices, row.services)
            _ = merge.changes()
            #expect(merge.table() == row.expected)
            var later = EndpointMerge(pools: [pool(port: row.port)])
            for service in row.services { later.upsert(service) }
            for slice in slices {
                later.upsert(slice)
                _ = later.changes()
            }
            #expect(later.table() == row.expected)
        }
    }

    @Test func twoPortsOfOnePodInTwoPoolsAreOneWorker() {
        var merge = EndpointMerge(
            [pool("pages", port: .name("http")), pool("debug", port: .name("cdp"))],
            [
                slice(
                    "a", ports: [http(8080), .init(name: "cdp", number: 9222)],
                    [at("10.0.0.1", uid: "501f3128-a6a3-46e7-8f3f-bbccdd36883c")])
            ])
        let changes = merge.changes()
        #expect(changes.count == 2)
        #expect(merge.endpoints(of: PoolID(name: "pages")).map(\.id) == merge.endpoints(of: PoolID(name: "debug")).map(\.id))
        #expect(merge.table("pages") == ["10.0.0.1:8080"])
        #expect(merge.table("debug") == ["10.0.0.1:9222"])
    }

    @Test func aRenumberedPortMovesTheEndpointAndKeepsItsIdentity() {
        var merge = EndpointMerge([pool()], [slice("a", [at("10.0.0.1", uid: "u1"), at("10.0.0.2")])])
        _ = merge.changes()
        merge.upsert(slice("a", ports: [http(9090)], [at("10.0.0.1", uid: "u1"), at("10.0.0.2")]))
        let changes = merge.changes()
        let address = SocketAddress("10.0.0.2:9090")!
        #expect(changes.count == 3, "the pod changes; what has no UID goes and comes anew")
        #expect(changes.contains { $0.kind == .remove(EndpointID(address: SocketAddress("10.0.0.2:8080")!)) })
        #expect(changes.contains { if case .upsert(let e) = $0.kind { e.id == EndpointID(address: address) } else { false } })
        #expect(
            changes.contains {
                if case .upsert(let e) = $0.kind { e.id == EndpointID(uid: "u1") && e.addresses[0].port == 9090 } else { false }
            })
    }

    @Test func aServiceThatRenumbersItsPortMovesItsEndpoints() {
        let both = [http(8080), EndpointSlice.Port(name: "admin", number: 9000)]
        var merge = EndpointMerge(
            [pool(port: .number(80))], [slice("a", ports: both, [at("10.0.0.1", uid: "u1")])],
            [service([.init(name: "http", number: 80), .init(name: "admin", number: 81)])])
        _ = merge.changes()
        #expect(merge.table() == ["10.0.0.1:8080"])
        merge.upsert(service([.init(name: "http", number: 81), .init(name: "admin", number: 80)]))
        #expect(merge.changes().count == 1)
        #expect(merge.table() == ["10.0.0.1:9000"])
        merge.upsert(service([.init(name: "http", number: 81), .init(name: "admin", number: 80)]))
        #expect(merge.changes().isEmpty)
        merge.removeService(key("web"))
        #expect(merge.changes() == [EndpointChange(pool: PoolID(name: "web"), kind: .remove(EndpointID(uid: "u1")))])
    }

    @Test func aSliceThatMovesToAnotherServiceMovesItsEndpoints() {
        var merge = EndpointMerge(
            [pool("one", service: "one"), pool("two", service: "two")], [slice("a", service: "one", [at("10.0.0.1", uid: "u")])])
        _ = merge.changes()
        merge.upsert(slice("a", service: "two", [at("10.0.0.1", uid: "u")]))
        #expect(merge.changes().count == 2)
        #expect(merge.table("one").isEmpty)
        #expect(merge.table("two") == ["10.0.0.1:8080"])
        merge.upsert(slice("a", service: "three", [at("10.0.0.1", uid: "u")]))
        #expect(merge.changes() == [EndpointChange(pool: PoolID(name: "two"), kind: .remove(EndpointID(uid: "u")))])
        #expect(merge.sliceCount == 0)
    }

    @Test func anEndpointThatMovesBetweenSlicesNeverVanishes() {
        var merge = EndpointMerge([pool()], [slice("a", [at("10.0.0.1", uid: "u")]), slice("b", [])])
        _ = merge.changes()
        merge.upsert(slice("a", []))
        merge.upsert(slice("b", [at("10.0.0.1", uid: "u")]))
        #expect(merge.changes().isEmpty)
        #expect(merge.table() == ["10.0.0.1:8080"])
    }

    @Test(arguments: [["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"], ["b", "c", "a"], ["c", "a", "b"], ["c", "b", "a"]])
    func deletionsInAnyOrderEndInNothing(order: [String]) {
        var merge = EndpointMerge(
            [pool()],
            [
                slice("a", [at("10.0.0.1", uid: "u1", ready: false), at("10.0.0.2")]),
                slice("b", [at("10.0.0.1", uid: "u1"), at("10.0.0.2", uid: "u2")]),
                slice("c", type: .ipv6, [at("fd00::1", uid: "u1")]),
            ])
        _ = merge.changes()
        var known: Set<EndpointID> = [EndpointID(uid: "u1"), EndpointID(uid: "u2")]
        for name in order {
            merge.removeSlice(key(name))
            for change in merge.changes() {
                switch change.kind {
                case .upsert(let endpoint): known.insert(endpoint.id)
                case .remove(let id): #expect(known.remove(id) != nil)
                }
            }
            #expect(merge.endpoints(of: PoolID(name: "web")).map(\.id) == known.sorted())
        }
        #expect(known.isEmpty && merge.sliceCount == 0 && merge.problems.isEmpty)
        merge.removeSlice(key("a"))
        #expect(merge.changes().isEmpty, "a deletion heard of twice")
    }

    @Test func anEndpointWithoutUIDReturnsWhenItsTwinWithOneGoes() {
        var merge = EndpointMerge([pool()], [slice("a", [at("10.0.0.1")]), slice("b", [at("10.0.0.1", uid: "u")])])
        _ = merge.changes()
        merge.removeSlice(key("b"))
        #expect(merge.changes().count == 2)
        #expect(merge.endpoints(of: PoolID(name: "web")).map(\.uid) == ["10.0.0.1:8080"])
        merge.upsert(slice("b", [at("10.0.0.1", uid: "u")]))
        #expect(merge.changes().count == 2)
        #expect(merge.endpoints(of: PoolID(name: "web")).map(\.uid) == ["u"])
    }

    @Test func namesZoneAndNodeComeFromTheFirstSliceThatHasThem() {
        var merge = EndpointMerge(
            [pool()],
            [
                slice("b", [at("10.0.0.1", uid: "u", node: "n-b", zone: "z-b")]), slice("a", [at("10.0.0.1", uid: "u", zone: "z-a")]),
            ])
        _ = merge.changes()
        let endpoint = merge.endpoints(of: PoolID(name: "web"))[0]
        #expect(endpoint.node == "n-b" && endpoint.zone == "z-a")
    }

    @Test func aSliceThatSaysTheSameChangesNothing() {
        let one = slice("a", [at("10.0.0.1", uid: "u"), at("10.0.0.2")])
        var merge = EndpointMerge([pool()], [one])
        #expect(merge.changes().count == 2)
        merge.upsert(one)
        #expect(merge.changes().isEmpty)
        merge.upsert(slice("a", [at("10.0.0.2"), at("10.0.0.1", uid: "u")]))
        #expect(merge.changes().isEmpty, "another order is the same set")
    }

    // MARK: Problems

    @Test func aProblemIsReportedOnceAndListedWhileItLasts() {
        var merge = EndpointMerge([pool()], [slice("a", ports: [http(nil)], [at("10.0.0.1")])])
        let problem = SourceProblem.portWithoutNumber(.name("http"), pool: "web", slice: key("a"))
        #expect(merge.newProblems() == [problem])
        merge.upsert(slice("a", ports: [http(nil)], [at("10.0.0.2")]))
        #expect(merge.newProblems() == [])
        #expect(merge.problems == [problem])
        merge.upsert(slice("a", [at("10.0.0.2")]))
        #expect(merge.problems == [])
    }

    @Test func aServiceReadAfterItsSlicesIsNoProblem() {
        var merge = EndpointMerge(pools: [pool(port: .number(80))])
        merge.upsert(slice("a", [at("10.0.0.1")]))
        merge.upsert(service([.init(name: "http", number: 80)]))
        #expect(merge.newProblems() == [])
        #expect(merge.table() == ["10.0.0.1:8080"])
    }

    @Test func aNumberThatNobodyTranslatesIsExplained() {
        var merge = EndpointMerge([pool(port: .number(80))], [slice("a", [at("10.0.0.1")])])
        #expect(
            merge.newProblems().map(\.description) == [
                "Pool web takes port 80 for the number in the EndpointSlices: no Service shop/web says which port it stands for",
                "EndpointSlice shop/a gives pool web nothing: it has no port 80 (it has http 8080)",
            ])
        merge.upsert(service([.init(name: "admin", number: 81)]))
        #expect(merge.newProblems().map(\.description) == ["Pool web gets nothing: Service shop/web has no TCP port 80 (it has 81 admin)"])
        merge.removeSlice(key("a"))
        _ = merge.changes()
        #expect(merge.problems.isEmpty)
    }

    @Test(
        arguments: [
            (slice("a", service: nil, []), "EndpointSlice shop/a is skipped: it has no label kubernetes.io/service-name"),
            (slice("a", type: .other("FQDN"), []), "EndpointSlice shop/a is skipped: addressType FQDN is neither IPv4 nor IPv6"),
            (
                slice("a", ports: [.init(name: "http", number: 1, transport: .other("UDP"))], []),
                "EndpointSlice shop/a gives pool web nothing: its port http is UDP, not TCP"
            ),
            (slice("a", [at(nil), at(nil)]), "EndpointSlice shop/a has endpoints without an address; they are skipped"),
            (slice("a", [at("x"), at("y")]), "EndpointSlice shop/a has endpoints that are skipped: \"x\" is not an IP address"),
            (slice("a", [at("::2")]), "EndpointSlice shop/a has endpoints that are skipped: ::2 does not fit its addressType"),
        ] as [(EndpointSlice, String)])
    func whatIsSkippedIsExplained(slice: EndpointSlice, sentence: String) {
        var merge = EndpointMerge([pool()], [slice])
        #expect(merge.newProblems().map(\.description) == [sentence])
        merge.upsert(slice)
        #expect(merge.newProblems().isEmpty)
    }
}
