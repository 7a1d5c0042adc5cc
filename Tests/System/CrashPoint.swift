import Foundation
import Linux
import TestKit

/// A dispatcher that dies right behind one of its system calls (Tests/Fixtures/crash/crash-point.c), and the next one in its seat, for every
/// such call in turn.
final class CrashPoint {
    static let compiler: String? = ["/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang"].first { access($0, X_OK) == 0 }

    private let seat: Seat
    private let library: String
    /// Behind which call the next dispatcher dies, counted from the escrow of its first caller.
    private(set) var point = 0
    /// How many have died.
    private(set) var deaths = 0

    init(_ seat: Seat) throws {
        self.seat = seat
        library = seat.fleet.directory + "/crash-point.so"
        let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fixtures/crash/crash-point.c").path
        let run = try seat.fleet.spawn("cc", Self.compiler ?? "cc", ["-shared", "-fPIC", "-O", "-o", library, source])
        guard try run.waitForExit() == .status(0) else { throw TestFailure("crash-point.c: \(run.output)") }
    }

    /// Plays `scene` with a dispatcher that dies behind its first call, then one that dies behind its second, …, until it outlives the scene
    /// three times in a row. `next` is the point behind this one.
    func everywhere(next: (Int) -> Int = { $0 + 1 }, _ scene: (Int) throws -> Void) throws {
        point = 1
        try seat.kill(environment)
        var survived = 0
        while survived < 3 {
            let (here, before) = (point, deaths)
            point = next(here)
            do {
                try scene(here)
                try settle()
            } catch { throw TestFailure("\(error); died behind call \(here): \(lastWords)") }
            survived = deaths == before ? survived + 1 : 0
            if deaths == before { try seat.kill(environment) }
        }
        print("a dispatcher has died behind \(deaths) calls")
        guard deaths > 3 else { throw TestFailure("nobody has died: was \(library) loaded?") }
    }

    private var environment: [String: String] { ["LD_PRELOAD": library, "CRASH_AT": "\(point)"] }

    /// Begins with a dispatcher that dies behind the `point`-th call from the one that makes its first pipe; those behind it live.
    func once(_ point: Int) throws {
        try seat.kill(["LD_PRELOAD": library, "CRASH_AT": "\(point)", "CRASH_FROM": "pipe2"])
    }

    /// Which calls the dead have died behind.
    private var lastWords: String {
        guard let output = try? previous?.output else { return "nobody has died" }
        return output.split(separator: "\n").last { $0.hasPrefix("crash point") }.map(String.init) ?? "not by us"
    }
    private var previous: Daemon?

    /// A new one, if the last has died.
    func revive() throws {
        let last = try seat.fleet[.dispatcher]
        guard !last.isRunning else { return }
        previous = last
        deaths += 1
        try seat.sit(environment)
    }

    /// Waits for the end of all jobs, whoever dies meanwhile.
    private func settle() throws {
        let deadline = Patience.deadline()
        while true {
            try revive()
            let pool = try seat.fleet.pool("pods")
            if pool.leases == 0, pool.queued == 0, pool.free == pool.total { return }
            guard monotonicNow() < deadline else { throw TestFailure("no end of \(pool)") }
            _ = poll(nil, 0, 2)
        }
    }

    /// Reads until `isEnough`, or the connection's end, whoever dies meanwhile.
    func read(_ stream: RawStream, into all: inout [UInt8], _ isEnough: ([UInt8]) -> Bool) throws {
        let deadline = Patience.deadline()
        while !isEnough(all), stream.end == nil {
            var one = pollfd(fd: stream.descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&one, 1, 2) > 0 { all += try stream.receiveSome(atMost: 1 << 20) } else { try revive() }
            guard monotonicNow() < deadline else { throw TestFailure("nothing came behind \(all.count) bytes: \(all.suffix(200).debugText)") }
        }
    }
}
