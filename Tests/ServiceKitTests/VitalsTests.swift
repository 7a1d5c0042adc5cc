import CLinux
import Foundation
import Linux
import Logging
import Model
import Synchronization
import TestKit
import Testing
import Wire

@testable import ServiceKit

@Suite struct JobEndQueueTests {
    private let job = JobEnd(job: TicketID(rawValue: 1), pool: PoolID(name: "a"), result: .served)

    @Test func nothingIsWantedWhileNobodyListens() {
        let queue = JobEndQueue()
        for result in JobEnd.Result.allCases { #expect(!queue.wants(result, nil)) }
        queue.listen(1_000_000)
        for result in JobEnd.Result.allCases { #expect(queue.wants(result, nil)) }
        queue.listen(nil)
        for result in JobEnd.Result.allCases { #expect(!queue.wants(result, nil)) }
    }

    @Test func ofASampleOfNothingWhatWasNotServedIsWantedAndWhatItsCallerKeeps() {
        let queue = JobEndQueue()
        queue.listen(0)
        #expect(!queue.wants(.served, nil))
        #expect(!queue.wants(.served, TraceContext(high: 1, low: 2, parent: 3, isSampled: false)))
        #expect(queue.wants(.served, TraceContext(high: 1, low: 2, parent: 3, isSampled: true)))
        for result in [JobEnd.Result.refused, .gone, .cut] { #expect(queue.wants(result, nil)) }
    }

    @Test(arguments: [UInt32(1), 10_000, 250_000, 999_999]) func aSampleIsAsLargeAsItWasOrdered(_ millionths: UInt32) {
        let queue = JobEndQueue()
        queue.listen(millionths)
        let count = (0..<1_000_000).count { _ in queue.wants(.served, nil) }
        #expect(abs(count - Int(millionths)) <= 10, "\(count)")
        #expect(queue.wants(.served, TraceContext(high: 1, low: 2, isSampled: true)))
    }

    @Test func whatFindsTheQueueFullIsCounted() {
        let queue = JobEndQueue()
        queue.listen(0)
        for i in 0..<(JobEndQueue.most + 7) { queue.add(job, at: Int64(i)) }
        #expect(queue.dropped == 7)
        let taken = queue.take(at: 5_000_000_000)
        #expect(taken.count == JobEndQueue.most)
        #expect(taken[0].age == .seconds(5))
        #expect(queue.take(at: 0).isEmpty)
    }
}

@Suite struct EventLogTests {
    private func log(_ count: Int) -> EventLog {
        let log = EventLog()
        for i in 0..<count { log.add(VitalsEvent(level: .notice, text: "\(i)"), at: Int64(i) * 1_000_000_000) }
        return log
    }

    @Test func oneWhoComesLaterHearsTheLastEventsWithTheirAges() {
        let (events, next, _) = log(3).since(0, at: 10_000_000_000)
        #expect(events.map(\.text) == ["0", "1", "2"])
        #expect(events.map(\.age) == [.seconds(10), .seconds(9), .seconds(8)])
        #expect(next == 3)
    }

    @Test func oneWhoWasAwayForTooLongMissesSomeAndIsToldHowMany() {
        let all = log(EventLog.most + 10)
        let (events, next, missed) = all.since(4, at: 0)
        #expect(events.count == EventLog.most)
        #expect(missed == 6)
        #expect(next == UInt64(EventLog.most) + 10)
        #expect(all.since(next, at: 0).events.isEmpty)
    }

    @Test func linesAtNoticeAndAboveAreKeptWithTheirFacts() {
        let events = EventLog()
        let logger = Logger(label: "t") { _ in EventTee(Silent(), events) }
        logger.info("An aside")
        logger.warning("A neighbour is away", metadata: ["reason": "gone", "message-id": "x"])
        let kept = events.since(0, at: monotonicNow()).events
        #expect(kept.map(\.text) == ["A neighbour is away"])
        #expect(kept[0].level == .warning)
        #expect(kept[0].facts == [VitalsEvent.Fact(name: "reason", value: "gone")])
    }

    private struct Silent: LogHandler {
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {}
    }
}

/// Both ends of the vitals edge on one loop.
@Suite struct VitalsEdgeTests {
    private final class Talk {
        let loop: Loop
        let outbox: Outbox
        let vitals: Vitals
        let client: LinkClient
        let directory: String
        let events = EventLog()
        var heard: [VitalsMessage] = []

        init() throws {
            directory = FileManager.default.temporaryDirectory.appending(path: "lh-\(UUID().uuidString.prefix(8))").path()
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            loop = try Loop()
            outbox = Outbox(loop: loop)
            let path = "\(directory)/scaler.sock"
            vitals = try Vitals(
                .scaler, path: path, listener: nil, hello: Hello(edge: .vitals, seat: "0", instance: 7), outbox: outbox, events: events,
                started: monotonicNow())
            client = LinkClient(path: path, hello: Hello(edge: .vitals, seat: "0", instance: 8), outbox: outbox)
            client.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
                var reader = ByteReader(packet)
                while !reader.isAtEnd { heard.append(try VitalsMessage.decode(from: &reader)) }
            }
        }

        deinit { try? FileManager.default.removeItem(atPath: directory) }

        func turn(until isDone: () -> Bool) throws {
            let end = monotonicNow() + 30_000_000_000
            while !isDone() {
                try #require(monotonicNow() < end, "it did not come to this in time")
                try loop.turn(maximumWait: 100_000_000)
            }
        }
    }

    @Test func oneThatConnectsHearsAWholeRoundAtOnce() throws {
        let talk = try Talk()
        talk.vitals.collect = { $0.count(.workerStarts, 3) }
        talk.events.add(VitalsEvent(level: .notice, text: "Ready"), at: monotonicNow())
        talk.client.start()
        try talk.turn { talk.heard.contains(.end) }
        #expect(talk.heard.contains(.number(.workerStarts, labels: [], 3)))
        #expect(talk.heard.contains { if case .event(let event) = $0 { event.text == "Ready" } else { false } })
        let names = talk.heard.compactMap { if case .number(let metric, let labels, _) = $0, labels == ["scaler"] { metric } else { nil } }
        #expect(Set(names) == [.processUptime, .processMemory, .processCPU, .processTurns])
    }

    @Test func jobEndsAreToldAsTheyWereOrdered() throws {
        let talk = try Talk()
        talk.client.start()
        try talk.turn { talk.client.link != nil && talk.vitals.jobs.wants(.cut, nil) }
        #expect(!talk.vitals.jobs.wants(.served, nil))
        talk.client.link?.send(VitalsRequest.sample(millionths: 1_000_000))
        try talk.turn { talk.vitals.jobs.wants(.served, nil) }
        talk.vitals.jobs.add(JobEnd(job: TicketID(rawValue: 9), pool: PoolID(name: "a"), result: .cut), at: monotonicNow())
        try talk.turn { talk.heard.contains { if case .job(let job) = $0 { job.job.rawValue == 9 } else { false } } }
        talk.client.link?.close()
        try talk.turn { !talk.vitals.jobs.wants(.cut, nil) }
    }

    /// A publisher that is stopped holds nobody up, makes nothing grow, and finds the count of what it missed.
    @Test func oneThatDoesNotReadMissesRoundsAndJobEnds() throws {
        let talk = try Talk()
        // More than a socket's buffer in each round.
        talk.vitals.collect = { round in for i in 0..<5_000 { round.count(.refused, "a-pool-with-a-long-name-of-its-own", "reason-\(i)", UInt64(i)) } }
        let socket = Descriptor(owning: Int32(try check(lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue)), "socket")))
        _ = try check(lh_connect_unix(socket.raw, "\(talk.directory)/scaler.sock"), "connect")
        var hello = ByteWriter()
        Hello(edge: .vitals, seat: "0", instance: 9).encode(into: &hello)
        _ = try check(lh_send(socket.raw, hello.bytes.baseAddress, hello.count, 0), "send")
        var wish = ByteWriter()
        VitalsRequest.now.encode(into: &wish)
        let before = talk.loop.turns
        for i in 0..<5 {
            talk.vitals.jobs.add(JobEnd(job: TicketID(rawValue: UInt64(i)), pool: PoolID(name: "a"), result: .cut), at: monotonicNow())
            _ = try check(lh_send(socket.raw, wish.bytes.baseAddress, wish.count, 0), "send")
            for _ in 0..<10 { try talk.loop.turn(maximumWait: 10_000_000) }
        }
        #expect(talk.loop.turns >= before + 50)
        // Now it reads.
        var missed = (rounds: 0.0, jobs: 0.0)
        var told = 0
        var buffer = [UInt8](repeating: 0, count: Bounds.packetBytes)
        let end = monotonicNow() + 30_000_000_000
        while missed.rounds == 0 || told + Int(missed.jobs) < 5 {
            try #require(monotonicNow() < end, "it was not told what it missed: \(missed), \(told) job ends told")
            try talk.loop.turn(maximumWait: 10_000_000)
            while true {
                let count = buffer.withUnsafeMutableBytes { lh_recv(socket.raw, $0.baseAddress, $0.count, 0) }
                guard count > 0 else { break }
                for message in messages(buffer[..<count]) {
                    switch message {
                    case .number(.vitalsDropped, let labels, let value) where labels[1] == "rounds": missed.rounds = value
                    case .number(.vitalsDropped, let labels, let value) where labels[1] == "jobs": missed.jobs = value
                    case .job: told += 1
                    case .begin, .number, .histogram, .end, .event: break
                    }
                }
            }
        }
        #expect(missed.jobs > 0)
        #expect(told + Int(missed.jobs) == 5)
    }

    private func messages(_ packet: ArraySlice<UInt8>) -> [VitalsMessage] {
        Array(packet).withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            var out: [VitalsMessage] = []
            // The hello is no message of the edge.
            while !reader.isAtEnd, let message = try? VitalsMessage.decode(from: &reader) { out.append(message) }
            return out
        }
    }
}
