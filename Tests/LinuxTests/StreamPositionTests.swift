import CLinux
import Linux
import TestKit
import Testing

/// What a successor takes from the kernel, and what the kernel does not say (rules 3, 4, 5 and 7 for descriptors that exist twice).
@Suite struct StreamPositionTests {
    private func duplicate(_ stream: RawStream) throws -> Int32 { Int32(try check(lh_duplicate(stream.descriptor), "fcntl")) }

    @Test func positionsCountTheStreamsBytesWhoeverMovedThem() throws {
        let pair = try TCPPair()
        let other = try duplicate(pair.near)
        defer { _ = lh_close(other) }
        try pair.far.send([UInt8](repeating: 1, count: 1000))
        try waitReady(other, POLLIN, "the bytes")
        _ = try pair.near.receive(1000)
        try pair.near.send([UInt8](repeating: 2, count: 300))
        let position = try StreamPosition(of: other)
        #expect(position.taken == 1000)
        #expect(position.given == 300)
        #expect(position.unread == 0)
        // From the other end: its SYN is counted, as it made the connection.
        let far = try StreamPosition(of: pair.far.descriptor)
        #expect(far.given == 1001)
    }

    @Test func whatTheOtherEndHasNotAcknowledgedIsGivenAllTheSame() throws {
        let pair = try TCPPair()
        let block = [UInt8](repeating: 3, count: 256 * 1024)
        var sent = 0
        while true {
            // Nobody reads: in the end nothing is taken.
            let count = block.withUnsafeBytes { pair.near.sendSome($0) }
            guard count > 0 else { break }
            sent += count
        }
        #expect(try StreamPosition(of: pair.near.descriptor).given == UInt64(sent))
    }

    @Test func bytesInAPipeAreBetweenTheTwoPositions() throws {
        let (source, sink) = (try TCPPair(), try TCPPair())
        var ends: (Int32, Int32) = (-1, -1)
        _ = try withUnsafeMutablePointer(to: &ends) { pointer in
            try pointer.withMemoryRebound(to: Int32.self, capacity: 2) { try check(lh_pipe($0), "pipe") }
        }
        defer {
            _ = lh_close(ends.0)
            _ = lh_close(ends.1)
        }
        try source.far.send([UInt8](repeating: 7, count: 5000))
        try waitReady(source.near.descriptor, POLLIN, "the bytes")
        let moved = lh_splice(source.near.descriptor, ends.1, 5000, LH_SPLICE_MOVE_NONBLOCK)
        #expect(moved > 0)
        let sent = lh_splice(ends.0, sink.near.descriptor, 1200, LH_SPLICE_MOVE_NONBLOCK)
        #expect(sent > 0)
        let (from, to) = (try StreamPosition(of: source.near.descriptor), try StreamPosition(of: sink.near.descriptor))
        #expect(from.taken == to.given + UInt64(lh_unread(ends.0)))
        #expect(from.taken == UInt64(moved) && to.given == UInt64(sent))
    }

    @Test func aFINCountsOneAndAResetNothing() throws {
        let ended = try TCPPair()
        try ended.far.send([1, 2, 3])
        ended.far.halfClose()
        _ = try ended.near.receiveToEnd()
        let end = try StreamPosition(of: ended.near.descriptor)
        #expect(end.state == .closeWait && end.taken == 4)

        let cut = try TCPPair()
        try cut.far.send([1, 2, 3])
        _ = try cut.near.receive(3)
        cut.far.reset()
        let (_, how) = try cut.near.receiveToEnd()
        #expect(how == .reset)
        // Somebody has read the reset: whoever reads next sees what looks like an end.
        var byte: UInt8 = 0
        #expect(lh_recv(cut.near.descriptor, &byte, 1, 0) == 0)
        let position = try StreamPosition(of: cut.near.descriptor)
        #expect(position.state == .close && position.taken == 3, "only the position tells it from an end")
    }

    @Test func aCloseSaysNothingWhileADuplicateLives() throws {
        let pair = try TCPPair()
        let other = try duplicate(pair.near)
        defer { _ = lh_close(other) }
        pair.near.close()
        #expect(!pair.far.receiveNow() && pair.far.end == nil)
        _ = lh_shutdown(other, Int32(SHUT_WR))
        #expect(try pair.far.expectEnd() == .fin)
    }

    @Test func aRegistrationThatIsNotRemovedOutlivesItsDescriptor() throws {
        let loop = try Loop()
        var events = 0
        let kind = loop.addKind { _, _ in events += 1 }
        for isRemoved in [true, false] {
            let pair = try TCPPair()
            let other = try duplicate(pair.near)
            _ = loop.add(pair.near.descriptor, LH_EPOLLIN | LH_EPOLLET, kind: kind, payload: 0)
            if isRemoved { loop.remove(pair.near.descriptor) }
            pair.near.close()
            try pair.far.send([1])
            try waitReady(other, POLLIN, "the byte")
            events = 0
            try loop.turn(maximumWait: 0)
            #expect(events == (isRemoved ? 0 : 1))
            _ = lh_close(other)
        }
    }

    @Test func recordsAreFoundAsTheyWereLeft() throws {
        let records = try SharedWords(name: "test", count: 4096)
        records.words[17] = 4711
        let copy = Descriptor(owning: Int32(try check(lh_duplicate(records.descriptor), "fcntl")))
        let found = try SharedWords(owning: copy, count: 4096)
        #expect(found.words[17] == 4711)
        #expect(found.isSame(as: records))
        #expect(try !SharedWords(name: "test", count: 4096).isSame(as: records))
        var isRefused = false
        do { _ = try SharedWords(owning: Descriptor(owning: Int32(try check(lh_duplicate(records.descriptor), "fcntl"))), count: 4097) } catch {
            isRefused = true
        }
        #expect(isRefused, "of another size")
    }
}
