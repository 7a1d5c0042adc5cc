import Glibc

/// A machine that finds itself broken traps, and takes the test process with it: then this names the seeds that were running.
enum LastWords {
    // One word for each strand, written by it alone; the handler reads them after everything has stopped.
    nonisolated(unsafe) private static let seeds: UnsafeMutablePointer<UInt64> = {
        let room = UnsafeMutablePointer<UInt64>.allocate(capacity: 16)
        room.initialize(repeating: 0, count: 16)
        for trap in [SIGILL, SIGTRAP] { signal(trap, speak) }
        return room
    }()

    static func begin(_ strand: UInt64, _ seed: UInt64) { seeds[Int(strand & 15)] = seed }
    static func end(_ strand: UInt64) { seeds[Int(strand & 15)] = 0 }

    private static let speak: @convention(c) (Int32) -> Void = { trap in
        for strand in 0..<16 where seeds[strand] != 0 {
            say("simulation: trapped, perhaps in this seed; replay with LEASEHOLD_SEED=")
            say(seeds[strand])
            say("\n")
        }
        signal(trap, SIG_DFL)
        raise(trap)
    }

    private static func say(_ text: StaticString) { _ = write(2, text.utf8Start, text.utf8CodeUnitCount) }

    private static func say(_ number: UInt64) {
        var divisor: UInt64 = 10_000_000_000_000_000_000
        var begun = false
        while divisor > 0 {
            var digit = UInt8(48 + number / divisor % 10)
            if digit != 48 || begun || divisor == 1 {
                begun = true
                _ = write(2, &digit, 1)
            }
            divisor /= 10
        }
    }
}
