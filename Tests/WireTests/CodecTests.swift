import Model
import Testing
import Wire

/// One of every message of every edge, with every optional field present and absent.
enum Samples {
    static let endpoint = Endpoint(
        id: EndpointID(uid: "501f3128-a6a3-46e7-8f3f-bbccdd36883c"), uid: "501f3128-a6a3-46e7-8f3f-bbccdd36883c", name: "browsers-0",
        addresses: [SocketAddress("10.244.0.10:8080")!, SocketAddress("[2001:db8::1]:8080")!], conditions: [.ready, .serving], node: "n0",
        zone: "zone-a", isLocal: true)
    static let lease = LeaseID(epoch: 1_795_240_476, counter: 7)
    static let pool = PoolID(name: "browsers")
    static let address = SocketAddress("127.0.0.1:21000")!

    static let endpoints: [EndpointsMessage] = [
        .source(SourceHealth(state: .stale, age: .seconds(3), detail: "the directory is away")), .snapshotBegin(generation: 4),
        .upsert(pool: pool, endpoint), .remove(pool: pool, endpoint.id), .snapshotEnd(generation: 4),
        .propagated(age: .milliseconds(12)),
    ]
    static let workers: [WorkersMessage] = [.snapshotBegin, .upsert(pool: pool, endpoint), .remove(pool: pool, endpoint.id), .snapshotEnd]
    static let requests: [LeasingRequest] = [
        .ticket(
            Ticket(
                id: TicketID(rawValue: 9), connection: caller, pool: pool, age: .milliseconds(5), budget: .seconds(30), urgency: .standard, tenant: "t",
                affinity: "k", bytes: 400, isRequeued: true)),
        .ticket(Ticket(id: TicketID(rawValue: .max), pool: pool)), .cancel(TicketID(rawValue: 9)), .unused(lease),
        .dialFailed(lease, .refused), .ending(lease), .release(lease, .served),
        .assertLease(AssertedLease(lease: lease, pool: pool, endpoint: endpoint.id, address: address, age: .seconds(1), isEnding: true)),
        .asserted,
    ] + escrow.map { .escrow($0) }
    static let caller = ConnectionID(slot: 3, generation: 41)
    static let escrowed = EscrowedWorker(lease: lease, caller: caller, worker: ConnectionID(slot: 5, generation: 2))
    static let escrow: [Escrow] = [.records, .pipes(index: 12), .caller(caller), .callerGone(caller), .worker(escrowed)]
    static let adoption: [Adoption] = [
        .records, .pipes(index: UInt32(Bounds.pipes - 1)), .caller(caller),
        .worker(
            escrowed, AssertedLease(lease: lease, pool: pool, endpoint: endpoint.id, address: address, age: .seconds(9), isEnding: true)),
        .end,
    ]
    static let replies: [LeasingReply] = [
        .grant(Grant(ticket: TicketID(rawValue: 9), lease: lease, pool: pool, endpoint: endpoint.id, address: address)),
        .grant(
            Grant(
                ticket: TicketID(rawValue: 9), lease: lease, pool: pool, endpoint: endpoint.id, address: address,
                alternate: SocketAddress("[::1]:21000"), dialBy: .milliseconds(1))),
        .refuse(Refusal(ticket: TicketID(rawValue: 9), reason: .queueFull, retryAfter: .seconds(2), queued: 10)),
        .refuse(Refusal(ticket: TicketID(rawValue: 9), reason: .holdTimeout, queued: 10, position: 4, oldestWait: .seconds(31))),
        .refuse(Refusal(ticket: TicketID(rawValue: 9), reason: .noEndpoints)),
        .probe(Probe(lease: lease, pool: pool, endpoint: endpoint.id, address: address, timeout: .seconds(1))), .revoke(lease),
    ] + adoption.map { .adopt($0) }
    static let states: [StateMessage] = {
        var state = PoolState(pool: pool)
        state.free = 3
        state.leases = 2
        state.queued = 5
        state.oldestWait = .milliseconds(12)
        state.queuedByUrgency = [0, 1, 2, 3, 4, 5, 6, 7]
        var shared = state
        shared.tenants = [TenantState(name: "default"), TenantState(name: "acme", queued: 4, leased: 2, oldestWait: .milliseconds(12))]
        shared.otherTenants = TenantState(name: "", queued: 1)
        return [.pool(state), .pool(shared), .poolGone(pool), .snapshotEnd, .cells(pool: pool, total: 9, states: [0, 1, 6]), .cells(pool: pool, total: 0, states: [])]
    }()
    static let scaling: [ScalingRequest] = [
        .drainIdle(pool: pool, idleFor: .seconds(30), most: 2), .drain(endpoint.id), .undrain(endpoint.id),
    ]
    static let drained: [ScalingReply] = [.drained(endpoint.id)]
    static let controls: [ControlRequest] = [
        .show("pools"), .drain(endpoint: "w0", pool: ""), .undrain(endpoint: "w0", pool: "p"),
        .quarantine(endpoint: "10.0.0.1:80", pool: "", duration: .seconds(5)), .pause(pool: "p", refuse: true), .resume(pool: "p"), .drainIdle(pool: "p", most: 3),
    ]
    static let vitals: [VitalsMessage] = {
        var histogram = LatencyHistogram()
        for milliseconds in [0, 3, 40, 7_200_000] { histogram.add(.milliseconds(milliseconds)) }
        var job = JobEnd(job: TicketID(rawValue: 9), pool: pool, result: .cut, tenant: "acme")
        let plain = job
        job.reason = .jobTimeout
        job.lease = lease
        job.endpoint = endpoint.id
        job.hold = .milliseconds(5)
        job.dial = .microseconds(80)
        job.session = .seconds(3)
        job.age = .milliseconds(250)
        job.requeues = 1
        job.bytesIn = 400
        job.bytesOut = 1 << 40
        job.trace = TraceContext(high: 1, low: .max, parent: 7, session: 8, isSampled: true)
        let event = VitalsEvent(
            level: .warning, text: "A link was refused, continuing without it", facts: [.init(name: "edge", value: "state")], age: .seconds(2))
        return [
            .begin(uptime: .seconds(12)), .number(.demand, labels: ["browsers"], 7), .number(.fenced, labels: [], 0),
            .number(.dialFailures, labels: ["browsers", "refused"], 1e15), .histogram(.hold, labels: ["browsers", "granted"], histogram), .end,
            .job(plain), .job(job), .event(event), .event(VitalsEvent(level: .critical, text: "")),
        ]
    }()
    static let wishes: [VitalsRequest] = [.sample(millionths: 10_000), .sample(millionths: 0), .now]
    static let answers: [ControlReply] = [.part("[]"), .part("ünïcödé"), .end(status: 69, message: "nothing matched")]
}

@Suite struct CodecTests {
    @Test func endpointsEdge() throws { try verify(Samples.endpoints) }
    @Test func workersEdge() throws { try verify(Samples.workers) }
    @Test func leasingEdgeTowardsTheKeeper() throws { try verify(Samples.requests) }
    @Test func leasingEdgeTowardsTheDispatcher() throws { try verify(Samples.replies) }
    @Test func stateEdge() throws { try verify(Samples.states) }
    @Test func leasesEdge() throws {
        try verify([
            LeasesMessage.snapshotBegin,
            .live(LiveLease(lease: LeaseID(epoch: 1_763_700_000, counter: 7), pool: PoolID(name: "browsers"), tenant: "ann")),
            .live(LiveLease(lease: LeaseID(epoch: .max, counter: .max), pool: PoolID(name: "browsers"), tenant: "")),
            .ended(LeaseID(epoch: 1, counter: 2)), .snapshotEnd,
        ])
    }
    @Test func ordersToTheAssetCache() throws {
        try verify([ControlRequest.assets("stats", []), .assets("warm", ["http://a/", "http://b/"])])
    }
    @Test func stateEdgeTowardsTheKeeper() throws { try verify([StateRequest.cells(true), .cells(false)]) }
    @Test func scalingEdgeTowardsTheKeeper() throws { try verify(Samples.scaling) }
    @Test func scalingEdgeTowardsTheScaler() throws { try verify(Samples.drained) }
    @Test func controlEdgeTowardsTheProcess() throws { try verify(Samples.controls) }
    @Test func controlEdgeTowardsTheOperator() throws { try verify(Samples.answers) }

    @Test func vitalsEdgeTowardsThePublisher() throws { try verify(Samples.vitals) }
    @Test func vitalsEdgeTowardsTheProcess() throws { try verify(Samples.wishes) }

    /// Alone, merged into one packet, cut at every byte, and with every byte changed: the same messages, or a named error.
    private func verify<Message: WireMessage>(_ messages: [Message]) throws {
        var packet = ByteWriter()
        var ends: [Int] = []
        for message in messages {
            var alone = ByteWriter()
            message.encode(into: &alone)
            let fits = !alone.overflowed
            #expect(fits)
            #expect(try decode(Message.self, [UInt8](alone.bytes)) == [message])
            message.encode(into: &packet)
            ends.append(packet.count)
        }
        let bytes = [UInt8](packet.bytes)
        #expect(try decode(Message.self, bytes) == messages)
        for cut in 0..<bytes.count {
            if let whole = cut == 0 ? 0 : ends.firstIndex(of: cut).map({ $0 + 1 }) {
                #expect(try decode(Message.self, Array(bytes[..<cut])).count == whole)
            } else {
                #expect(throws: WireError.self) { try decode(Message.self, Array(bytes[..<cut])) }
            }
        }
        for i in bytes.indices {
            for value in [UInt8(0), 1, 0x7f, 0x80, 0xff] where value != bytes[i] {
                var spoiled = bytes
                spoiled[i] = value
                // Either it still means something, or it is refused by name: it never traps and never reads past the end.
                _ = try? decode(Message.self, spoiled)
            }
        }
    }

    private func decode<Message: WireMessage>(_: Message.Type, _ bytes: [UInt8]) throws -> [Message] {
        try bytes.withUnsafeBytes { raw in
            var reader = ByteReader(raw)
            var out: [Message] = []
            while !reader.isAtEnd { out.append(try Message.decode(from: &reader)) }
            return out
        }
    }

    /// The bytes of a version must not change by accident: two processes of one version may be of two builds.
    @Test(arguments: Golden.requests) func goldenFrames(_ message: LeasingRequest, _ hex: String) { #expect(bytes(message) == hex) }
    @Test(arguments: Golden.replies) func goldenReplies(_ message: LeasingReply, _ hex: String) { #expect(bytes(message) == hex) }

    private func bytes(_ message: some WireMessage) -> String {
        var writer = ByteWriter()
        message.encode(into: &writer)
        return writer.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// What a message carries is decided by what it is: nothing that a peer says can contradict it.
    @Test func everyMessageSaysHowManyDescriptorsComeWithIt() {
        #expect(Samples.escrow.map(\.descriptors) == [1, 2, 1, 0, 1])
        #expect(Samples.adoption.map(\.descriptors) == [1, 2, 1, 1, 0])
        #expect(Samples.requests.reduce(0) { $0 + $1.descriptors } == 5)
    }

    @Test func aPipeBeyondItsBoundIsRefused() {
        #expect(throws: WireError.tooLong(field: "pipe", count: Bounds.pipes)) {
            try decode(LeasingRequest.self, [9, 2, 0, 0, 1, 0])
        }
    }

    @Test func aMessageThatDoesNotFitIsRewoundAndWrittenAgain() throws {
        var writer = ByteWriter(capacity: 20)
        LeasingRequest.cancel(TicketID(rawValue: 1)).encode(into: &writer)
        let mark = writer.count
        LeasingRequest.release(LeaseID(epoch: 1, counter: 1), .served).encode(into: &writer)
        let overflows = writer.overflowed
        #expect(overflows)
        writer.rewind(to: mark)
        let fits = !writer.overflowed
        #expect(fits)
        #expect(try decode(LeasingRequest.self, [UInt8](writer.bytes)) == [.cancel(TicketID(rawValue: 1))])
    }
}

@Suite struct HelloTests {
    private func bytes(_ hello: Hello) -> [UInt8] {
        var writer = ByteWriter()
        hello.encode(into: &writer)
        return [UInt8](writer.bytes)
    }

    @Test func aHelloIsReadBack() throws {
        let hello = Hello(edge: .leasing, seat: "http@2", instance: 77, descriptorBudget: 1000)
        #expect(try bytes(hello).withUnsafeBytes { raw throws(WireError) in try Hello.decode(raw, edge: .leasing) } == hello)
    }

    @Test func anotherVersionIsRefusedByName() {
        var packet = bytes(Hello(edge: .leasing, seat: "0", instance: 1))
        packet[4] = 99
        #expect(throws: WireError.mismatch(field: "version", ours: UInt64(Bounds.version), theirs: 99)) {
            try packet.withUnsafeBytes { raw throws(WireError) in try Hello.decode(raw, edge: .leasing) }
        }
    }

    @Test func anotherEdgeIsRefusedByName() {
        let packet = bytes(Hello(edge: .state, seat: "0", instance: 1))
        #expect(throws: WireError.mismatch(field: "edge", ours: UInt64(Edge.leasing.rawValue), theirs: UInt64(Edge.state.rawValue))) {
            try packet.withUnsafeBytes { raw throws(WireError) in try Hello.decode(raw, edge: .leasing) }
        }
    }

    @Test func everyCutHelloIsRefused() {
        let packet = bytes(Hello(edge: .leasing, seat: "seat", instance: 1))
        for cut in 0..<packet.count {
            #expect(throws: WireError.self) {
                try Array(packet[..<cut]).withUnsafeBytes { raw throws(WireError) in try Hello.decode(raw, edge: .leasing) }
            }
        }
    }

    @Test func aRefusalCarriesItsReason() {
        var writer = ByteWriter()
        HelloRefusal(reason: "version is 9, expected 1").encode(into: &writer)
        #expect(HelloRefusal.decode(writer.bytes)?.reason == "version is 9, expected 1")
        #expect(HelloRefusal.decode(UnsafeRawBufferPointer(rebasing: writer.bytes[..<3])) == nil)
    }
}
